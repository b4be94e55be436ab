"""When a callback URL that only fails is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.delivery.outage import (
    OUTAGE_MS_MAX,
    SPREAD_MS,
    WINDOW_MS,
    Outage,
    after_failure,
)
from serve.domain.delivery.retry import HOUR_MS


def outage_of(*hours: float) -> Outage | None:
    """The outage after failures at these hours."""
    found = None
    for hour in hours:
        found = after_failure(found, round(hour * HOUR_MS))
    return found


@pytest.mark.parametrize(
    ("hours", "since_h"),
    [
        ((0,), None),
        ((0, 12), None),  # two are not several
        ((0, 1, 11.9), None),  # an evening
        ((0, 1, 12), 12),
        ((0, 0.1, 24), 24),
        ((0, 0.1, 24.1), None),  # a new window begins
        ((0, 20, 24.1, 30, 36.1), 36.1),
        ((0, 1, 12, 13, 119), 12),  # once started, it runs
    ],
)
def test_the_clock_starts_after_several_failures_in_a_day(
    hours: tuple[float, ...], since_h: float | None
) -> None:
    """Three failures within 24 hours, over at least 12 of them, start it; no less does."""
    found = outage_of(*hours)
    assert found is not None
    expected = None if since_h is None else round(since_h * HOUR_MS)
    assert found.since_ms == expected


def test_five_days_on_the_clock_are_too_long() -> None:
    """A URL is given up at the first failure 120 hours after the clock started, not before."""
    found = outage_of(0, 6, 12)
    assert found is not None
    started_ms = 12 * HOUR_MS
    assert not found.is_final(started_ms + OUTAGE_MS_MAX - 1)
    assert found.is_final(started_ms + OUTAGE_MS_MAX)


@given(st.lists(st.integers(0, 3 * WINDOW_MS), min_size=1, max_size=40))
def test_no_url_is_given_up_early(gaps_ms: list[int]) -> None:
    """Whatever fails when, nothing is final sooner than 12 + 120 hours after a first failure."""
    now_ms, found = 0, None
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        found = after_failure(found, now_ms)
        if found.is_final(now_ms):
            assert now_ms - gaps_ms[0] >= SPREAD_MS + OUTAGE_MS_MAX
