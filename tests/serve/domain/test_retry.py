"""When a callback is tried again, and when no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.callback import (
    ATTEMPTS_KEPT,
    CallbackEvent,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
)
from serve.domain.delivery.retry import ATTEMPTS_MAX, DELAYS_MS, HOUR_MS, after_attempt
from serve.domain.ids import Mode

NOW_MS = 1_800_000_000_000
MIDDLE = 0.5  # the random number that varies nothing


def event(**overrides: object) -> CallbackEvent:
    fields: dict[str, object] = {
        "id": "msg_07" + "a" * 22, "tenant_id": "t", "mode": Mode.LIVE, "session_id": "s",
        "sequence": 1, "url": "https://tenant.example/hook", "body": "{}",
        "created_at_ms": NOW_MS, "next_attempt_at_ms": NOW_MS,
    }  # fmt: skip
    return CallbackEvent.model_validate({**fields, **overrides})


def delivery(status: int | None, retry_after_s: int | None = None, at_ms: int = NOW_MS) -> Delivery:
    attempt = DeliveryAttempt(at_ms=at_ms, duration_ms=3, status=status)
    return Delivery(attempt, retry_after_s)


def test_the_schedule_is_the_one_of_standard_webhooks() -> None:
    """A receiver that never recovers is tried ten times, at the specification's times."""
    times_s = []
    now_ms, tried = NOW_MS, event()
    while tried.next_attempt_at_ms is not None:
        now_ms = tried.next_attempt_at_ms
        times_s.append((now_ms - NOW_MS) // 1000)
        tried = after_attempt(tried, delivery(500, at_ms=now_ms), now_ms, MIDDLE)
    clock = [f"{at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}" for at in times_s]
    assert clock == [
        "00:00:00", "00:00:05", "00:05:05", "00:35:05", "02:35:05",
        "07:35:05", "17:35:05", "31:35:05", "51:35:05", "75:35:05",
    ]  # fmt: skip
    assert (tried.state, tried.failures) == (DeliveryState.EXHAUSTED, ATTEMPTS_MAX)
    assert [attempt.at_ms for attempt in tried.attempts] == [NOW_MS + s * 1000 for s in times_s]


@given(st.integers(0, ATTEMPTS_MAX - 2), st.floats(0, 1))
def test_jitter_varies_a_delay_by_a_tenth(failures: int, jitter: float) -> None:
    """No random number moves an attempt by more than a tenth of its delay."""
    after = after_attempt(event(failures=failures), delivery(None), NOW_MS, jitter)
    assert after.next_attempt_at_ms is not None
    delay_ms = after.next_attempt_at_ms - NOW_MS
    assert abs(delay_ms - DELAYS_MS[failures + 1]) <= DELAYS_MS[failures + 1] / 10 + 1


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_delivers(status: int) -> None:
    """A 2xx ends the callback, and what failed before stays counted."""
    after = after_attempt(event(failures=3), delivery(status), NOW_MS, MIDDLE)
    assert (after.state, after.failures) == (DeliveryState.DELIVERED, 3)
    assert after.next_attempt_at_ms is None
    assert after.attempts[-1].status == status


@pytest.mark.parametrize("status", [None, 101, 199, 300, 302, 307, 400, 404, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    """No answer, a redirect and any other status are failures with a next attempt."""
    after = after_attempt(event(), delivery(status), NOW_MS, MIDDLE)
    assert (after.state, after.failures) == (DeliveryState.PENDING, 1)
    assert after.next_attempt_at_ms == NOW_MS + DELAYS_MS[1]


def test_gone_disables() -> None:
    """410 ends the callback at once: the receiver wants no more."""
    after = after_attempt(event(), delivery(410, retry_after_s=5), NOW_MS, MIDDLE)
    assert (after.state, after.next_attempt_at_ms) == (DeliveryState.DISABLED, None)


@pytest.mark.parametrize(
    ("wished_s", "delay_ms"),
    [
        (0, DELAYS_MS[1]),
        (2, DELAYS_MS[1]),  # never sooner than the schedule
        (120, 120_000),
        (12 * 3600, 12 * HOUR_MS),
        (10**9, 12 * HOUR_MS),  # nobody keeps a callback waiting for ever
    ],
)
def test_retry_after_puts_the_next_attempt_off(wished_s: int, delay_ms: int) -> None:
    """The receiver's wish is kept where it is later than the schedule, up to 12 hours."""
    after = after_attempt(event(), delivery(503, wished_s), NOW_MS, MIDDLE)
    assert after.next_attempt_at_ms == NOW_MS + delay_ms


def test_an_event_sent_again_by_hand_is_delivered_like_any_other() -> None:
    """Nothing of an exhausted or disabled past clings to a callback that is due again."""
    for past in (DeliveryState.EXHAUSTED, DeliveryState.DISABLED, DeliveryState.DELIVERED):
        failed = after_attempt(event(state=past), delivery(500), NOW_MS, MIDDLE)
        assert (failed.state, failed.failures) == (DeliveryState.PENDING, 1)


def test_the_first_attempt_and_the_latest_are_kept() -> None:
    """However often it is tried, the record stays bounded and shows how it began and ended."""
    tried = event()
    for number in range(ATTEMPTS_KEPT + 10):
        again = tried.model_copy(update={"failures": 0})
        tried = after_attempt(again, delivery(500, at_ms=number), NOW_MS, MIDDLE)
    kept = [attempt.at_ms for attempt in tried.attempts]
    assert kept == [0, *range(11, ATTEMPTS_KEPT + 10)]
    assert CallbackEvent.model_validate_json(tried.dump()) == tried
