"""Lists over 64 partitions: whole, in order, apart by tenant and mode."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from serve.domain.alert import AlertStatus
from serve.domain.change import Change
from serve.domain.ids import Mode, Prefix
from serve.errors import Code, ServeError
from serve.store.ledger import RedisLedger
from serve.store.listings import RedisListings
from serve.store.vault.keyring import Keyring
from tests.helpers.records import (
    TENANT,
    a_callback,
    a_customer,
    a_session,
    an_alert,
    an_id,
)

CUSTOMERS = 40


@pytest.fixture
def ledger(link: Redis, keyring: Keyring) -> RedisLedger:
    return RedisLedger(link, keyring, 64_000, backup_retention_days=7)


@pytest.fixture
def listings(link: Redis, keyring: Keyring) -> RedisListings:
    return RedisListings(link, keyring)


async def fill(
    ledger: RedisLedger, tenant: str = TENANT, mode: Mode = Mode.TEST, count: int = CUSTOMERS
) -> list[str]:
    """One customer each with an alert, a session and a callback; alert ids, newest first."""
    ids = []
    for number in range(count):
        subject = ledger.subject(tenant, mode, f"customer-{number}")
        snapshot = await ledger.snapshot(subject)
        at_ms = snapshot.now_ms - 10_000 + number // 2  # two of each millisecond
        alert = an_alert(subject.partition, number, tenant_id=tenant, mode=mode,
                         created_at_ms=at_ms)  # fmt: skip
        session = a_session(subject.partition, number, tenant_id=tenant, mode=mode,
                            created_at_ms=at_ms, updated_at_ms=at_ms,
                            expires_at_ms=at_ms + 600_000)  # fmt: skip
        change = Change(
            customer=a_customer(), alerts=(alert,), sessions=(session,),
            callbacks=(a_callback(session, number, created_at_ms=at_ms),),
            counts={"sessions.total": 1},
        )  # fmt: skip
        await ledger.commit(snapshot, change, f"fill-{tenant}-{mode}-{number}")
        ids.append((at_ms, alert.id))
    return [alert_id for _, alert_id in sorted(ids, reverse=True)]


@pytest.mark.parametrize("limit", [1, 7, CUSTOMERS, 100])
async def test_pages_together_are_the_list(
    ledger: RedisLedger, listings: RedisListings, limit: int
) -> None:
    """Following the cursor gives every alert once, newest first, whatever the page size."""
    expected = await fill(ledger)
    found: list[str] = []
    cursor = ""
    while True:
        page = await listings.alerts(TENANT, Mode.TEST, None, cursor, limit)
        assert len(page.items) <= limit
        found += [alert.id for alert in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert found == expected


async def test_a_new_entry_does_not_shift_the_next_page(
    ledger: RedisLedger, listings: RedisListings
) -> None:
    """What arrives while somebody pages is on no later page and pushes nothing out of one."""
    expected = await fill(ledger)
    first = await listings.alerts(TENANT, Mode.TEST, None, "", 10)
    subject = ledger.subject(TENANT, Mode.TEST, "late")
    snapshot = await ledger.snapshot(subject)
    late = an_alert(subject.partition, 99, created_at_ms=snapshot.now_ms)
    await ledger.commit(snapshot, Change(customer=a_customer(), alerts=(late,)), "late")
    second = await listings.alerts(TENANT, Mode.TEST, None, first.next_cursor, 10)
    assert [alert.id for alert in (*first.items, *second.items)] == expected[:20]


async def test_tenants_and_modes_are_apart(ledger: RedisLedger, listings: RedisListings) -> None:
    """No list, look-up or count of one shows anything of the other."""
    (mine, *_) = await fill(ledger, count=3)
    for tenant, mode in [("ten_b", Mode.TEST), (TENANT, Mode.LIVE)]:
        assert (await listings.alerts(tenant, mode, None, "", 100)).items == ()
        assert (await listings.events(tenant, mode, "", 100)).items == ()
        assert await listings.alert(tenant, mode, mine) is None
        assert not any((await listings.counts(tenant, mode)).values())
    found = await listings.alert(TENANT, Mode.TEST, mine)
    assert found is not None


async def test_a_status_lists_its_own(ledger: RedisLedger, listings: RedisListings) -> None:
    """An alert that is resolved moves from one status's list to the other, and is counted there."""
    await fill(ledger, count=4)
    page = await listings.alerts(TENANT, Mode.TEST, AlertStatus.OPEN, "", 100)
    resolved = page.items[0].model_copy(update={"status": AlertStatus.RESOLVED})
    for number in range(4):
        subject = ledger.subject(TENANT, Mode.TEST, f"customer-{number}")
        if subject.partition == int(resolved.id[4:6]):
            snapshot = await ledger.snapshot(subject)
            change = Change(customer=a_customer(), alerts=(resolved,))
            await ledger.commit(snapshot, change, "resolve")
            break
    opened = await listings.alerts(TENANT, Mode.TEST, AlertStatus.OPEN, "", 100)
    closed = await listings.alerts(TENANT, Mode.TEST, AlertStatus.RESOLVED, "", 100)
    assert (len(opened.items), [alert.id for alert in closed.items]) == (3, [resolved.id])
    counts = await listings.counts(TENANT, Mode.TEST)
    assert (counts["alerts.open"], counts["alerts.resolved"]) == (3, 1)
    assert counts["sessions.total"] == 4


async def test_a_customer_s_sessions_by_reference(
    ledger: RedisLedger, listings: RedisListings
) -> None:
    """Sessions are listed newest first, and by reference only those of it."""
    subject = ledger.subject(TENANT, Mode.TEST, "alice")
    for number, reference in enumerate(["order-1", "order-2", "order-1"]):
        snapshot = await ledger.snapshot(subject)
        at_ms = snapshot.now_ms + number
        session = a_session(subject.partition, number, reference=reference, created_at_ms=at_ms,
                            updated_at_ms=at_ms, expires_at_ms=at_ms + 1)  # fmt: skip
        change = Change(customer=a_customer(), sessions=(session,))
        await ledger.commit(snapshot, change, f"open-{number}")
    snapshot = await ledger.snapshot(subject)
    names = [an_id(Prefix.SESSION, subject.partition, number) for number in range(3)]
    every = await listings.sessions(snapshot, None, 10)
    assert [session.id for session in every] == names[::-1]
    some = await listings.sessions(snapshot, "order-1", 10)
    assert [session.id for session in some] == [names[2], names[0]]
    assert await listings.sessions(snapshot, "order-3", 10) == []


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(cursor=st.text(min_size=1, max_size=300))
async def test_no_cursor_of_anybody_s_making_breaks_a_list(
    listings: RedisListings, cursor: str
) -> None:
    """Any text but a cursor that was given out is refused by its code."""
    with pytest.raises(ServeError) as refused:
        await listings.alerts(TENANT, Mode.TEST, None, cursor, 10)
    assert refused.value.code is Code.CURSOR_INVALID
