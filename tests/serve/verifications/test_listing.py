"""The tenant's list of sessions, which verifications are listed from: bounded, and gone in time."""

from typing import Any

from redis.asyncio import Redis

from serve.domain.change import Change, Snapshot
from serve.domain.ids import Mode, Prefix, Subject
from serve.domain.session import REVIEW_MS_MAX
from serve.errors import Code
from serve.store import names
from serve.store.changes import DAY_MS
from serve.store.ledger import RedisLedger
from serve.store.search.verifications import RedisVerifications
from serve.store.vault.keyring import Keyring
from tests.helpers.records import TENANT, a_customer, a_session, an_id
from tests.helpers.service import refusal

RETENTION_DAYS = 3
KEPT_MS = RETENTION_DAYS * DAY_MS + REVIEW_MS_MAX + DAY_MS
MINUTE_MS = 60_000


async def opened(link: Redis, keyring: Keyring, number: int = 1) -> tuple[Snapshot, Subject]:
    """A session of alice's, opened now."""
    ledger = RedisLedger(link, keyring, 64_000, backup_retention_days=7)
    subject = ledger.subject(TENANT, Mode.TEST, "alice")
    snapshot = await ledger.snapshot(subject)
    now_ms = snapshot.now_ms
    session = a_session(
        subject.partition, number, created_at_ms=now_ms, updated_at_ms=now_ms,
        expires_at_ms=now_ms + 600_000, retention_days=RETENTION_DAYS,
    )  # fmt: skip
    change = Change(snapshot.customer or a_customer(), sessions=(session,))
    await ledger.commit(snapshot, change, f"open-{number}")
    return snapshot, subject


def list_of(subject: Subject) -> str:
    """The list's key."""
    return names.listing(subject.partition, "sessions", TENANT, Mode.TEST)


async def test_a_session_leaves_the_list_once_no_record_can_be_left(
    link: Redis, keyring: Keyring
) -> None:
    """After its retention, and the month that a reviewer has before that begins."""
    snapshot, subject = await opened(link, keyring)
    now_ms = snapshot.now_ms
    older, old = (an_id(Prefix.SESSION, subject.partition, number) for number in (8, 9))
    await link.zadd(list_of(subject), {older: now_ms - KEPT_MS - MINUTE_MS})
    await link.zadd(list_of(subject), {old: now_ms - KEPT_MS + MINUTE_MS})
    await opened(link, keyring, 2)
    members: Any = await link.zrange(list_of(subject), 0, -1)
    left = {member.decode() for member in members}
    assert left == {old, *(an_id(Prefix.SESSION, subject.partition, each) for each in (1, 2))}


async def test_the_list_of_a_tenant_who_opens_none_goes_as_a_whole(
    link: Redis, keyring: Keyring
) -> None:
    """It has a date, which each new session puts off."""
    _, subject = await opened(link, keyring)
    for number in (2, 3):
        life_ms = await link.pttl(list_of(subject))
        assert KEPT_MS - MINUTE_MS < life_ms <= KEPT_MS
        await link.pexpire(list_of(subject), MINUTE_MS)
        await opened(link, keyring, number)


async def test_a_session_is_listed_once_however_often_it_moves(
    link: Redis, keyring: Keyring
) -> None:
    """Only its opening puts it there."""
    _, subject = await opened(link, keyring)
    ledger = RedisLedger(link, keyring, 64_000, backup_retention_days=7)
    await link.zrem(list_of(subject), an_id(Prefix.SESSION, subject.partition, 1))
    snapshot = await ledger.snapshot(subject)
    session = await ledger.session(snapshot, an_id(Prefix.SESSION, subject.partition, 1))
    assert session is not None
    assert snapshot.customer is not None
    moved = session.model_copy(update={"updated_at_ms": snapshot.now_ms + 1})
    await ledger.commit(snapshot, Change(snapshot.customer, sessions=(moved,)), "move")
    assert await link.zcard(list_of(subject)) == 0


async def test_a_token_is_looked_up_by_its_digest(link: Redis, keyring: Keyring) -> None:
    """What has no token's shape is refused before anything is asked."""
    known = RedisVerifications(link, keyring)
    assert await known.identified("rid_07" + "A" * 43) is None
    for wrong in ("", "st_07" + "A" * 43, "rid_64" + "A" * 43, "rid_07" + "A" * 42):
        assert await refusal(known.identified(wrong)) == Code.NOT_FOUND
