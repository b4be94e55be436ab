"""The trail on a real Redis: with its change or not at all, in order, page by page, kept a year."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from serve.domain.audit import OPERATOR, Action, Actor, ActorKind, AuditEntry, AuditRecord, Concern
from serve.domain.change import Change, Job, JobHeader
from serve.domain.ids import Mode, Prefix
from serve.domain.tenancy.tenant import SigningSecret
from serve.errors import Code, ServeError
from serve.store import names
from serve.store.audit import EXAMINED_MAX, RedisAudit, added_at, fields_of
from serve.store.directory import RedisDirectory
from serve.store.ledger import RedisLedger
from serve.store.scripts import Argument
from serve.store.vault.keyring import Keyring
from tests.helpers.records import NOW_MS, TENANT, a_customer, an_alert, an_id, subjects_apart
from tests.serve.audit.trail import actions, raw_trail
from tests.serve.store.test_directory import a_key, a_tenant
from tests.serve.store.test_ledger import a_receipt

KEY = Actor(ActorKind.KEY, "key-1")
DONE = AuditEntry(Action.ALERT_CHANGED, KEY, "alr_1", "resolved")
DAY_MS = 24 * 3_600_000


@pytest.fixture
def ledger(link: Redis, keyring: Keyring) -> RedisLedger:
    return RedisLedger(link, keyring, 64_000, backup_retention_days=7)


@pytest.fixture
def audit(link: Redis) -> RedisAudit:
    return RedisAudit(link)


def paired(fields: list[Argument]) -> dict[Any, Any]:
    """Name, value, … as a mapping."""
    return dict(zip(fields[::2], fields[1::2], strict=True))


async def whole(
    audit: RedisAudit, limit: int, tenant: str = TENANT, mode: Mode = Mode.TEST
) -> list[AuditRecord]:
    """The trail page by page, newest first."""
    found: list[AuditRecord] = []
    cursor = ""
    while True:
        page = await audit.page(tenant, mode, None, cursor, limit)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if not cursor:
            return found


async def test_an_entry_comes_with_its_change_once(ledger: RedisLedger, audit: RedisAudit) -> None:
    """What was committed is in the trail with its customer; the same operation adds nothing."""
    subject = ledger.subject(TENANT, Mode.TEST, "alice")
    snapshot = await ledger.snapshot(subject)
    change = Change(customer=a_customer(), audit=(DONE,))
    for _ in range(2):
        await ledger.commit(snapshot, change, "op")
    (record,) = await whole(audit, 10)
    assert (record.entry, record.concern) == (DONE, Concern.of(subject))
    assert abs(record.at_ms - snapshot.now_ms) < 60_000


async def test_a_commit_that_was_refused_leaves_no_entry(
    ledger: RedisLedger, audit: RedisAudit
) -> None:
    """Neither after a conflict nor where the queue is full is there a word of what did not be."""
    subject = ledger.subject(TENANT, Mode.TEST, "alice")
    first = await ledger.snapshot(subject)
    await ledger.commit(first, Change(customer=a_customer()), "op-1")
    with pytest.raises(ServeError) as refused:
        await ledger.commit(first, Change(customer=a_customer(), audit=(DONE,)), "op-2")
    assert refused.value.code is Code.VERSION_CONFLICT
    job_id = an_id(Prefix.JOB, subject.partition)
    header = JobHeader(id=job_id, session_id="ses", op_id="op", accepted_at_ms=0)
    too_much = Change(customer=a_customer(), jobs=(Job(header, bytes(2_000)),), audit=(DONE,))
    with pytest.raises(ServeError) as refused:
        await ledger.commit(await ledger.snapshot(subject), too_much, "op-3")
    assert refused.value.code is Code.OVERLOADED
    assert await whole(audit, 10) == []


async def test_the_trail_outlives_the_customer(ledger: RedisLedger, audit: RedisAudit) -> None:
    """An erasure writes its entry in the one script that erases, and takes none away."""
    subject = ledger.subject(TENANT, Mode.TEST, "alice")
    alert = an_alert(subject.partition)
    change = Change(customer=a_customer(), alerts=(alert,), audit=(DONE,))
    await ledger.commit(await ledger.snapshot(subject), change, "op")
    erased = AuditEntry(Action.CUSTOMER_ERASED, KEY, "era_1")
    snapshot = await ledger.snapshot(subject)
    for _ in range(2):
        await ledger.erase(snapshot, a_receipt(subject.partition), "op-erase", (erased,))
    assert [record.entry for record in await whole(audit, 10)] == [erased, DONE]
    page = await audit.page_of(subject, None, "", 10)
    assert [record.entry for record in page.items] == [erased, DONE]


async def test_tenants_worlds_and_customers_are_apart(
    ledger: RedisLedger, audit: RedisAudit
) -> None:
    """Each entry is seen by its own tenant in its own world; of both worlds, in both."""
    alice, bob = (ledger.subject(TENANT, Mode.TEST, name) for name in ("alice", "bob"))
    concerns = {
        "alice": Concern.of(alice),
        "bob": Concern.of(bob),
        "test": Concern(TENANT, Mode.TEST),
        "live": Concern(TENANT, Mode.LIVE),
        "both": Concern(TENANT),
        "other": Concern("ten_b", Mode.TEST),
        "others": Concern.of(ledger.subject("ten_b", Mode.TEST, "alice")),
        "install": Concern(),
    }
    for name, concern in concerns.items():
        await audit.add(concern, AuditEntry(Action.AUDIT_READ, OPERATOR, name))

    def seen(records: list[AuditRecord]) -> set[str]:
        assert all(record.concern == concerns[record.entry.target] for record in records)
        return {record.entry.target for record in records}

    assert seen(await whole(audit, 10)) == {"alice", "bob", "test", "both"}
    assert seen(await whole(audit, 10, mode=Mode.LIVE)) == {"live", "both"}
    assert seen(await whole(audit, 10, tenant="ten_b")) == {"other", "others"}
    assert seen(list((await audit.page_of(alice, None, "", 10)).items)) == {"alice"}
    of_tenant = await audit.page_of_tenant(TENANT, "", 100)
    assert seen(list(of_tenant.items)) == {"alice", "bob", "test", "live", "both"}
    of_install = await audit.page_of_install([TENANT, "ten_b"], "", 100)
    assert seen(list(of_install.items)) == {"test", "live", "both", "other", "install"}


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_pages_together_are_the_trail(
    ledger: RedisLedger, audit: RedisAudit, limit: int
) -> None:
    """Following the cursor gives every entry once, newest first, ids unlike one another."""
    for number in range(40):
        subject = ledger.subject(TENANT, Mode.TEST, f"customer-{number % 9}")
        concern = Concern.of(subject) if number % 5 else Concern(TENANT, Mode.TEST)
        await audit.add(concern, AuditEntry(Action.SESSION_READ, KEY, count=number))
    found = await whole(audit, limit)
    assert sorted(record.entry.count or 0 for record in found) == list(range(40))
    assert all(later.at_ms >= earlier.at_ms for later, earlier in pairwise(found))
    assert len({record.id for record in found}) == 40


moves = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 5), st.integers(1, 4)),  # entries of one stream and millisecond
        st.none(),  # the next page
    ),
    max_size=30,
)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(moves=moves, limit=st.integers(1, 20))
async def test_what_is_written_while_somebody_pages_moves_no_page(
    ledger: RedisLedger, audit: RedisAudit, moves: list[tuple[int, int] | None], limit: int
) -> None:
    """Of all that was there at the first page, every entry comes once and in order, whatever was
    added in between, of the same millisecond as well.
    """
    await ledger.link.flushall()
    subjects = subjects_apart(ledger.subject, 6)
    number = 0

    async def write(stream: int, times: int, at_ms: int) -> None:
        nonlocal number
        subject = subjects[stream]
        key = names.audit(subject.partition, subject.tenant_id, subject.mode)
        for _ in range(times):
            entry = AuditEntry(Action.SESSION_READ, KEY, count=number)
            fields = fields_of(Concern.of(subject), entry)
            await ledger.link.xadd(key, paired(fields), f"{at_ms}-{number}")
            number += 1

    for stream in range(6):
        await write(stream, 4 * stream, 1_000 + stream % 2)
    before = set(range(number))
    page = await audit.page(TENANT, Mode.TEST, None, "", limit)
    found = list(page.items)
    for move in moves:
        if move is not None:
            await write(*move, 1_001)
        elif page.next_cursor:
            page = await audit.page(TENANT, Mode.TEST, None, page.next_cursor, limit)
            found += page.items
    while page.next_cursor:
        page = await audit.page(TENANT, Mode.TEST, None, page.next_cursor, limit)
        found += page.items
    counts = [record.entry.count for record in found]
    assert before <= set(counts)
    assert len(counts) == len(set(counts))
    assert all(later.at_ms >= earlier.at_ms for later, earlier in pairwise(found))


async def test_a_filter_reads_no_more_than_its_share(
    ledger: RedisLedger, audit: RedisAudit
) -> None:
    """What is picked comes in pages that may be short, empty ones with a cursor among them, and
    together are all of it.
    """
    wanted = AuditEntry(Action.KEY_REVOKED, OPERATOR, "key")
    await audit.add(Concern(TENANT, Mode.TEST), wanted)
    for number in range(EXAMINED_MAX + 20):
        await audit.add(Concern(TENANT), AuditEntry(Action.SESSION_READ, KEY, count=number))
    first = await audit.page(TENANT, Mode.TEST, Action.KEY_REVOKED, "", 5)
    assert first.items == ()
    assert first.next_cursor
    second = await audit.page(TENANT, Mode.TEST, Action.KEY_REVOKED, first.next_cursor, 5)
    assert [record.entry for record in second.items] == [wanted]
    assert second.next_cursor == ""
    alice, bob = (ledger.subject(TENANT, Mode.TEST, name) for name in ("alice", "bob"))
    await audit.add(Concern.of(alice), wanted)
    await audit.add(Concern.of(bob), wanted)
    mine = await audit.page_of(alice, Action.KEY_REVOKED, "", 5)
    assert [record.concern for record in mine.items] == [Concern.of(alice)]
    assert (await audit.page_of(alice, Action.KEY_CREATED, "", 5)).items == ()


async def test_entries_are_kept_for_a_year(audit: RedisAudit, ledger: RedisLedger) -> None:
    """Entries of 364 days stay with the next that is added, those beyond a year go in blocks, and
    a stream that nobody adds to goes as a whole.
    """
    subject = ledger.subject(TENANT, Mode.TEST, "alice")
    key = names.audit(subject.partition, TENANT, Mode.TEST)
    pairs = paired(fields_of(Concern.of(subject), DONE))
    seconds, _ = await ledger.link.time()
    now_ms = seconds * 1000
    for age_days, number in ((366, 250), (364, 50)):
        for place in range(number):
            at = f"{now_ms - age_days * DAY_MS}-{place}"
            await ledger.link.xadd(key, pairs, at)
    for write in ("look", "commit"):
        if write == "look":
            await audit.add(Concern.of(subject), DONE)
        else:
            snapshot = await ledger.snapshot(subject)
            await ledger.commit(snapshot, Change(customer=a_customer(), audit=(DONE,)), "op")
        rows = (await raw_trail(ledger.link))[key]
        ages = [(now_ms - int(entry_id.split(b"-")[0])) // DAY_MS for entry_id, _ in rows]
        assert sum(age == 364 for age in ages) == 50
        assert sum(age > 365 for age in ages) <= 100
        assert 0 < await ledger.link.pttl(key) <= names.AUDIT_KEPT_MS + 60_000
    assert added_at(now_ms, [])[2] == now_ms - 365 * DAY_MS


async def test_too_few_replicas_are_no_durable_entry(link: Redis) -> None:
    """Where replicas must hold it and do not, whoever looks is told so instead."""
    with pytest.raises(ServeError) as refused:
        await RedisAudit(link, (1, 10)).add(Concern(TENANT), DONE)
    assert refused.value.code is Code.DURABILITY_UNAVAILABLE


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(cursor=st.text(min_size=1, max_size=300))
async def test_no_cursor_of_anybody_s_making_breaks_the_trail(
    audit: RedisAudit, cursor: str
) -> None:
    """Any text but a cursor that was given out is refused by its code."""
    with pytest.raises(ServeError) as refused:
        await audit.page(TENANT, Mode.TEST, None, cursor, 10)
    assert refused.value.code is Code.CURSOR_INVALID


async def test_an_entry_of_the_directory_comes_with_its_change(
    link: Redis, keyring: Keyring, audit: RedisAudit
) -> None:
    """A tenant, key or secrets written leave theirs; a tenant that moved on meanwhile does not."""
    directory = RedisDirectory(link, keyring)
    tenant = a_tenant(0, updated_at_ms=NOW_MS)

    def told(action: Action, tenant_id: str = tenant.id) -> tuple[Concern, AuditEntry]:
        return Concern(tenant_id), AuditEntry(action, OPERATOR)

    assert await directory.put_tenant(tenant, None, told(Action.TENANT_CREATED))
    newer = a_tenant(0, updated_at_ms=NOW_MS + 1)
    assert await directory.put_tenant(newer, NOW_MS, told(Action.TENANT_CHANGED))
    assert not await directory.put_tenant(newer, NOW_MS, told(Action.TENANT_CHANGED))
    assert not await directory.put_tenant(newer, None, told(Action.TENANT_CREATED))
    await directory.put_key(a_key(), told(Action.KEY_CREATED))
    secret = SigningSecret(secret=f"whsec_{'A' * 32}", created_at_ms=NOW_MS)
    await directory.put_secrets(tenant.id, [secret], told(Action.SECRET_ROTATED))
    page = await audit.page_of_tenant(tenant.id, "", 10)
    assert actions(list(page.items))[::-1] == [
        Action.TENANT_CREATED, Action.TENANT_CHANGED, Action.KEY_CREATED, Action.SECRET_ROTATED,
    ]  # fmt: skip
