"""Buckets against a clock-by-clock model, what is told of them, and the order of shedding."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.ids import Mode
from serve.domain.quota import (
    SECOND_US,
    SHED_AT,
    Bucket,
    Cause,
    Policy,
    Quota,
    Standing,
    is_shed,
    shed_retry_after_s,
)

START_US = 1_763_700_000_000_000
PACES = st.floats(0.01, 5_000)
BURSTS = st.floats(0.1, 30)
GAPS_US = st.lists(
    st.one_of(st.just(0), st.integers(0, 5_000), st.integers(0, 5 * SECOND_US)), max_size=200
)


def admitted(bucket: Bucket, gaps_us: list[int], cost: int = 1) -> list[int]:
    """When requests were admitted, of those that came after these gaps."""
    now_us, empty_at_us, times = START_US, 0, []
    for gap_us in gaps_us:
        now_us += gap_us
        taken = bucket.taken(empty_at_us, now_us, cost)
        if taken.refused is None:
            empty_at_us = now_us + taken.ahead_us
            times.append(now_us)
    return times


@given(PACES, BURSTS, GAPS_US, st.integers(1, 3))
def test_no_window_holds_more_than_its_burst_and_its_pace(
    per_s: float, burst_s: float, gaps_us: list[int], cost: int
) -> None:
    """Between any two moments at most the burst and what the pace gives are admitted, by weight."""
    bucket = Bucket.of(per_s, burst_s)
    times = admitted(bucket, gaps_us, cost)
    for first in range(len(times)):
        for last in range(first, len(times)):
            window_us = times[last] - times[first]
            weight_us = (last - first + 1) * cost * bucket.step_us
            assert weight_us <= bucket.burst_us + window_us


@given(PACES, BURSTS, GAPS_US)
def test_a_bucket_is_what_a_leaking_pail_is(
    per_s: float, burst_s: float, gaps_us: list[int]
) -> None:
    """A pail that leaks microsecond by microsecond, and spills what does not fit, admits the same
    requests.
    """
    bucket = Bucket.of(per_s, burst_s)
    now_us, filled_us, times = START_US, 0, []
    for gap_us in gaps_us:
        now_us += gap_us
        filled_us = max(0, filled_us - gap_us)
        if filled_us + bucket.step_us <= bucket.burst_us:
            filled_us += bucket.step_us
            times.append(now_us)
    assert admitted(bucket, gaps_us) == times


@given(PACES, BURSTS, GAPS_US)
def test_what_is_told_is_so(per_s: float, burst_s: float, gaps_us: list[int]) -> None:
    """As many as `remaining` are admitted at once and no more; after `reset_s` all of the quota
    is there; after `retry_after_s` one is, and a second earlier none, where it is longer.
    """
    bucket = Bucket.of(per_s, burst_s)
    now_us, empty_at_us = START_US, 0
    for gap_us in gaps_us:
        now_us += gap_us
        taken = bucket.taken(empty_at_us, now_us)
        empty_at_us = now_us + taken.ahead_us
    standing = Standing("read", bucket, max(0, empty_at_us - now_us))
    assert 0 <= standing.remaining <= bucket.quota
    assert fits(bucket, empty_at_us, now_us, standing.remaining)
    assert not fits(bucket, empty_at_us, now_us, standing.remaining + 1)
    reset_us = now_us + standing.reset_s * SECOND_US
    assert fits(bucket, empty_at_us, reset_us, bucket.quota)
    wait_s = standing.retry_after_s()
    assert fits(bucket, empty_at_us, now_us + wait_s * SECOND_US, 1)
    if wait_s > 1:
        assert not fits(bucket, empty_at_us, now_us + (wait_s - 1) * SECOND_US, 1)


def fits(bucket: Bucket, empty_at_us: int, now_us: int, requests: int) -> bool:
    """Whether so many at once would be admitted."""
    return requests == 0 or bucket.taken(empty_at_us, now_us, requests).refused is None


@given(PACES, BURSTS)
def test_a_bucket_tells_its_policy(per_s: float, burst_s: float) -> None:
    """At least one request is always possible, never more than the settings say, and the window
    is that in which the quota is given out.
    """
    bucket = Bucket.of(per_s, burst_s)
    assert 1 <= bucket.quota <= max(1, math.floor(per_s * burst_s + 1e-6))
    assert bucket.quota * bucket.step_us <= bucket.window_s * SECOND_US


def test_a_pace_is_told_in_whole_numbers() -> None:
    """100 a second and 10 seconds of burst are 1,000 in 10 seconds."""
    bucket = Bucket.of(100, 10)
    assert (bucket.quota, bucket.window_s) == (1_000, 10)
    assert bucket.paced(bucket.step_us * 10).quota == 100
    refused = bucket.taken(START_US + bucket.burst_us, START_US)
    assert (refused.refused, refused.ahead_us) == (Cause.QUOTA, bucket.burst_us)


@pytest.mark.parametrize("quota", Quota)
def test_test_mode_has_its_share(quota: Quota) -> None:
    """A tenth of what live mode may, and only submissions are counted while under way."""
    policy = Policy()
    live, test = policy.rule(quota, Mode.LIVE), policy.rule(quota, Mode.TEST)
    assert live.bucket.quota == 10 * test.bucket.quota
    assert (live.inflight_max > 0) == (test.inflight_max > 0) == (quota is Quota.SUBMIT)
    assert live.inflight_max == 10 * test.inflight_max


ORDER = [
    {(Mode.TEST, Quota.OPEN), (Mode.TEST, Quota.LIVENESS)},
    {
        *((Mode.TEST, quota) for quota in (Quota.ENROL, Quota.SEARCH, Quota.SUBMIT)),
        (Mode.LIVE, Quota.LIVENESS),
    },
    {(Mode.LIVE, Quota.ENROL), (Mode.LIVE, Quota.SEARCH)},
    {(Mode.LIVE, Quota.OPEN)},
]
EVERYTHING = [(mode, quota) for mode in Mode for quota in Quota]


@given(st.floats(0, 100), st.floats(0.1, 29))
def test_what_is_shed_is_shed_in_order(wait_s: float, timeout_s: float) -> None:
    """Whatever is refused, all that stands before it in the order is refused as well; a live
    submission, a phone and a reader never are.
    """
    shed = {each for each in EVERYTHING if is_shed(each[1], each[0], wait_s, timeout_s)}
    stages = [set[tuple[Mode, Quota]]().union(*ORDER[:count]) for count in range(len(ORDER) + 1)]
    assert shed in stages
    assert (Mode.LIVE, Quota.SUBMIT) not in shed
    if wait_s >= timeout_s:
        assert shed == stages[-1]


@given(st.lists(st.floats(0, 40), min_size=2), st.floats(0.1, 29))
def test_more_waiting_never_lets_more_in(waits_s: list[float], timeout_s: float) -> None:
    """As the wait grows what is refused grows, and it begins to before an image would time out."""
    shed = [
        {each for each in EVERYTHING if is_shed(each[1], each[0], wait_s, timeout_s)}
        for wait_s in sorted(waits_s)
    ]
    assert all(before <= after for before, after in pairwise(shed))
    assert all(0 < share < 1 for share in SHED_AT.values())


@given(st.floats(0, 1_000))
def test_who_is_shed_is_told_when(wait_s: float) -> None:
    """Whole seconds, from 1 to 60, not before what waits is done."""
    told = shed_retry_after_s(wait_s)
    assert 1 <= told <= 60
    assert told >= min(wait_s, 60)
