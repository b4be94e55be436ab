"""When a callback is tried again: the schedule that Standard Webhooks gives as its example.

Ten attempts over 75 hours. Each delay runs from the failure before it and is varied by a tenth,
so that callbacks that failed together do not come back together.
"""

from collections.abc import Sequence

from serve.domain.callback import (
    ATTEMPTS_KEPT,
    CallbackEvent,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
)

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
DELAYS_MS = (
    0,
    5 * SECOND_MS,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
)
ATTEMPTS_MAX = len(DELAYS_MS)
JITTER = 0.1
RETRY_AFTER_MS_MAX = 12 * HOUR_MS
GONE = 410


def after_attempt(
    event: CallbackEvent, delivery: Delivery, now_ms: int, jitter: float
) -> CallbackEvent:
    """`event` after one more attempt; `jitter` is a random number from 0 to 1.

    An answer of 2xx delivers it, 410 ends it as disabled, and the tenth failure as exhausted.
    A `Retry-After` only puts the next attempt off, by at most 12 hours.
    """
    status = delivery.attempt.status
    attempted = event.model_copy(
        update={"attempts": _kept((*event.attempts, delivery.attempt)), "next_attempt_at_ms": None}
    )
    if status is not None and is_success(status):
        return attempted.model_copy(update={"state": DeliveryState.DELIVERED})
    failures = event.failures + 1
    failed = attempted.model_copy(update={"failures": failures})
    if status == GONE:
        return failed.model_copy(update={"state": DeliveryState.DISABLED})
    if failures >= ATTEMPTS_MAX:
        return failed.model_copy(update={"state": DeliveryState.EXHAUSTED})
    wished_ms = min((delivery.retry_after_s or 0) * SECOND_MS, RETRY_AFTER_MS_MAX)
    delay_ms = max(delay_after(failures, jitter), wished_ms)
    return failed.model_copy(
        update={"state": DeliveryState.PENDING, "next_attempt_at_ms": now_ms + delay_ms}
    )


def disabled(event: CallbackEvent) -> CallbackEvent:
    """`event`, not to be tried: its URL takes no callbacks any more."""
    return event.model_copy(update={"state": DeliveryState.DISABLED, "next_attempt_at_ms": None})


def is_success(status: int) -> bool:
    """Whether an HTTP status says that the callback was taken."""
    return 200 <= status < 300


def delay_after(failures: int, jitter: float) -> int:
    """Milliseconds from the last of `failures` (1 to 9) to the next attempt."""
    assert 0 < failures < ATTEMPTS_MAX
    assert 0.0 <= jitter <= 1.0
    return round(DELAYS_MS[failures] * (1 - JITTER + 2 * JITTER * jitter))


def _kept(attempts: Sequence[DeliveryAttempt]) -> tuple[DeliveryAttempt, ...]:
    """The first attempt and the latest ones."""
    if len(attempts) <= ATTEMPTS_KEPT:
        return tuple(attempts)
    return (attempts[0], *attempts[-(ATTEMPTS_KEPT - 1) :])
