"""Responses: the wire's names, and times that sort."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.reasons import Reason
from serve.api.answers import AlertsResponse, EventResponse, EventSummary, timestamp
from serve.api.session_answers import SessionResponse
from serve.domain.alert import AlertType
from serve.domain.callback import DeliveryAttempt
from serve.domain.session import State
from serve.ports import Page
from tests.helpers.records import NOW_MS, a_callback, a_session, an_alert

YEAR_9999_MS = 253_402_300_799_999


@given(st.integers(0, YEAR_9999_MS))
def test_a_time_is_rfc_3339_to_the_millisecond(ms: int) -> None:
    """UTC with exactly three decimals, and it reads back to the same millisecond."""
    text = timestamp(ms)
    assert len(text) == len("2026-01-31T12:00:00.000Z")
    read = datetime.fromisoformat(text)
    since = read - datetime(1970, 1, 1, tzinfo=UTC)
    assert since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000 == ms


def test_a_session_shows_what_its_tenant_needs() -> None:
    """Status, reasons and attempts, and neither token nor callback URL."""
    session = a_session(
        state=State.DECLINED, reasons=(Reason.FACE_MISMATCH,), failed_attempts=3, alert_id="alr_1"
    )
    shown = SessionResponse.of(session)
    assert (shown.status, shown.attempts, shown.retries_remaining) == ("declined", 3, 0)
    assert shown.reasons[0].description == Reason.FACE_MISMATCH.description
    assert shown.created_at == timestamp(NOW_MS)
    assert shown.alert_id == "alr_1"
    assert SessionResponse.of(a_session()).alert_id is None
    assert "token" not in shown.model_dump_json()
    assert "hook" not in shown.model_dump_json()


@pytest.mark.parametrize("cursor", ["", "next"])
def test_a_page_says_whether_there_is_more(cursor: str) -> None:
    """`has_more` is whether there is a cursor; the filter on the type leaves both alone."""
    alerts = (an_alert(number=1), an_alert(number=2, alert_type=AlertType.LOCKOUT))
    page = AlertsResponse.of(Page(alerts, cursor), AlertType.LOCKOUT)
    assert [item.id for item in page.data] == [alerts[1].id]
    assert (page.next_cursor, page.has_more) == (cursor, bool(cursor))
    assert len(AlertsResponse.of(Page(alerts, cursor), None).data) == 2


def test_a_callback_is_shown_with_its_attempts() -> None:
    """A list leaves out what is long; one callback has its body and its attempts."""
    attempt = DeliveryAttempt(at_ms=NOW_MS, duration_ms=12, status=None, error="timeout")
    event = a_callback(a_session(), attempts=(attempt,), next_attempt_at_ms=None)
    shown = EventResponse.of(event)
    assert shown.body == event.body
    assert shown.attempts[0].model_dump() == {
        "at": timestamp(NOW_MS),
        "duration_ms": 12,
        "status": None,
        "error": "timeout",
    }
    assert shown.next_attempt_at is None
    assert set(EventSummary.of(event).model_dump()) < set(shown.model_dump())
