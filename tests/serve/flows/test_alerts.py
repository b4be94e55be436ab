"""Alerts as a fraud team works through them, on a real store."""

import asyncio

from serve.domain.alert import Alert, AlertPatch, AlertStatus, AlertType
from serve.domain.ids import Prefix
from serve.errors import Code
from serve.flows import alerts
from serve.flows.customers import erase
from serve.flows.sessions import overview
from serve.flows.transact import new_operation
from tests.helpers.records import an_id
from tests.helpers.service import Service, refusal, repeatable, stranger

SEEN = AlertPatch(status=AlertStatus.IN_REVIEW)


async def raised(service: Service, *customers: str) -> list[Alert]:
    """Alerts of customers whose retries ran out, the newest first."""
    for customer_id in customers:
        await service.enrolled(customer_id)
        token = (await service.opened(customer_id)).token
        for number in range(3):
            await service.submitted(token, f"face {60 + number}")
    found = await alerts.page(service.deps, service.live, None, "", 100)
    return list(found.items)


async def test_an_alert_tells_whom_to_look_at(service: Service) -> None:
    """It names customer, session and reference, and is open at first."""
    (alert,) = await raised(service, "alice")
    assert (alert.customer_id, alert.reference) == ("alice", "order-1")
    assert alert.session_id == (await service.only_session()).id
    assert alert.alert_type is AlertType.RETRY_LIMIT_EXCEEDED
    assert alert.status is AlertStatus.OPEN


async def test_a_change_moves_it_between_the_lists(service: Service) -> None:
    """It is found under its new status alone, and counted there."""
    (alert,) = await raised(service, "alice")
    changed = await alerts.change(
        service.deps, service.live, alert.id, SEEN, new_operation(service.deps)
    )
    assert changed.status is AlertStatus.IN_REVIEW
    assert await alerts.alert(service.deps, service.live, alert.id) == changed
    for status in AlertStatus:
        page = await alerts.page(service.deps, service.live, status, "", 10)
        assert list(page.items) == ([changed] if status is changed.status else [])
    counts = await overview(service.deps, service.live)
    assert (counts["alerts.open"], counts["alerts.in_review"]) == (0, 1)


async def test_a_repeat_is_answered_as_it_was_then(service: Service) -> None:
    """Asked for again after somebody else's change it changes nothing and shows its own."""
    (alert,) = await raised(service, "alice")
    seen = await alerts.change(service.deps, service.live, alert.id, SEEN, repeatable("seen"))
    closed = AlertPatch(status=AlertStatus.DISMISSED)
    last = await alerts.change(service.deps, service.live, alert.id, closed, repeatable("closed"))
    again = await alerts.change(service.deps, service.live, alert.id, SEEN, repeatable("seen"))
    assert again == seen
    assert await alerts.alert(service.deps, service.live, alert.id) == last


async def test_concurrent_changes_both_count(service: Service) -> None:
    """One changes the status and another the type: neither is lost."""
    (alert,) = await raised(service, "alice")
    typed = AlertPatch(alert_type=AlertType.DUPLICATE_FACE)
    await asyncio.gather(
        alerts.change(service.deps, service.live, alert.id, SEEN, new_operation(service.deps)),
        alerts.change(service.deps, service.live, alert.id, typed, new_operation(service.deps)),
    )
    after = await alerts.alert(service.deps, service.live, alert.id)
    assert (after.status, after.alert_type) == (AlertStatus.IN_REVIEW, AlertType.DUPLICATE_FACE)


async def test_pages_join_to_the_whole(service: Service) -> None:
    """Page by page, newest first, every alert comes once."""
    whole = await raised(service, "alice", "bob", "carol")
    assert [alert.customer_id for alert in whole] == ["carol", "bob", "alice"]
    found: list[Alert] = []
    cursor = ""
    while True:
        page = await alerts.page(service.deps, service.live, None, cursor, 1)
        found += page.items
        cursor = page.next_cursor
        if not cursor:
            break
    assert found == whole
    wrong = alerts.page(service.deps, service.live, None, "nonsense", 1)
    assert await refusal(wrong) == Code.CURSOR_INVALID


async def test_foreign_and_unknown_alerts_are_not_found(service: Service) -> None:
    """Another tenant, the other mode, ids of nobody, and those of an erased customer."""
    (alert,) = await raised(service, "alice")
    for principal in (stranger(), service.test):
        assert await refusal(alerts.alert(service.deps, principal, alert.id)) == Code.NOT_FOUND
        call = alerts.change(service.deps, principal, alert.id, SEEN, new_operation(service.deps))
        assert await refusal(call) == Code.NOT_FOUND
        assert (await alerts.page(service.deps, principal, None, "", 10)).items == ()
    for unknown in (an_id(Prefix.ALERT, 7), "alr_", ""):
        assert await refusal(alerts.alert(service.deps, service.live, unknown)) == Code.NOT_FOUND
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    gone = alerts.change(service.deps, service.live, alert.id, SEEN, new_operation(service.deps))
    assert await refusal(gone) == Code.NOT_FOUND
