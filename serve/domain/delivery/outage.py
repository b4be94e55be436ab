"""When a callback URL that only fails is given up: after five days without one success.

The clock starts once at least three attempts failed within 24 hours, the last of them 12 hours or
more after the first: a receiver that is down for an evening is not on it. Any success ends the
outage. What happens to a URL that was given up is what happens to one that answered 410.
"""

from dataclasses import dataclass

from serve.domain.delivery.retry import HOUR_MS
from serve.domain.document import Document

FAILURES_MIN = 3
WINDOW_MS = 24 * HOUR_MS
SPREAD_MS = 12 * HOUR_MS
OUTAGE_MS_MAX = 120 * HOUR_MS
OUTAGE_KEPT_MS = 2 * WINDOW_MS + OUTAGE_MS_MAX  # without a failure in so long it is forgotten


class Outage(Document):
    """Failures of a URL since its last success. `since_ms` is when the clock started, if it has.

    `window_ms` is when the first of the last 24 hours' `failures` was.
    """

    window_ms: int
    failures: int = 1
    since_ms: int | None = None

    def is_final(self, now_ms: int) -> bool:
        """Whether the URL is given up."""
        return self.since_ms is not None and now_ms - self.since_ms >= OUTAGE_MS_MAX


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a callback URL; `is_gone` if it answered 410 or was given up."""

    is_gone: bool = False
    outage: Outage | None = None


def after_failure(outage: Outage | None, now_ms: int) -> Outage:
    """The outage with one more failure; None was before the first."""
    if outage is None or (outage.since_ms is None and now_ms - outage.window_ms > WINDOW_MS):
        return Outage(window_ms=now_ms)
    failures = outage.failures + 1
    is_several = failures >= FAILURES_MIN and now_ms - outage.window_ms >= SPREAD_MS
    since_ms = now_ms if outage.since_ms is None and is_several else outage.since_ms
    return outage.model_copy(update={"failures": failures, "since_ms": since_ms})
