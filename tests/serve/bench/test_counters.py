"""Reading what a service has counted: exact names, sums over labels, what came in between."""

import math

import pytest

from serve.bench.counters import Counters, Tally, counters_of, metric_by, metric_sum, tally

EXPOSED = """\
# HELP limen_engine_cpu_seconds_total Processor seconds.
# TYPE limen_engine_cpu_seconds_total counter
limen_engine_cpu_seconds_total 1.5
limen_engine_cpu_seconds_total{pid="7"} 2.25
limen_engine_cpu_seconds_total_created 9.0
limen_refusals_total{code="a b}"} 3.0 1700000000
limen_refusal_seconds_bucket{code="overloaded",le="0.002"} 90.0
limen_refusal_seconds_bucket{code="overloaded",le="0.005"} 98.0
limen_refusal_seconds_bucket{code="overloaded",le="+Inf"} 100.0
limen_refusal_seconds_bucket{code="not_found",le="0.002"} 0.0
limen_refusal_seconds_bucket{code="not_found",le="0.005"} 100.0
limen_refusal_seconds_bucket{code="not_found",le="+Inf"} 100.0
limen_refusal_seconds_count{code="overloaded"} 100.0
limen_refusal_seconds_count{code="not_found"} 100.0
limen_refusal_seconds_sum{code="overloaded"} 0.25
limen_refusal_seconds_sum{code="not_found"} 0.35
limen_engine_batch_images_count 4.0
limen_engine_batch_images_sum 24.0
"""
REFUSALS = tally(EXPOSED, "limen_refusal_seconds")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("limen_engine_cpu_seconds_total", 3.75),
        ("limen_refusals_total", 3.0),
        ("limen_engine_cpu_seconds", 0.0),
    ],
)
def test_a_metric_is_summed_over_its_labels(name: str, wanted: float) -> None:
    """Every line of exactly that name counts, whatever its labels and with or without a time."""
    assert metric_sum(EXPOSED, name) == wanted


def test_a_histogram_is_summed_over_its_labels_bound_by_bound() -> None:
    """Count, sum and what lies below each bound are those of all codes together."""
    assert REFUSALS.count == 200.0
    assert REFUSALS.total == pytest.approx(0.6)
    assert REFUSALS.up_to == {0.002: 90.0, 0.005: 198.0, math.inf: 200.0}
    assert REFUSALS.mean == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("part", "bound"), [(0.45, 0.002), (0.46, 0.005), (0.99, 0.005), (0.991, math.inf)]
)
def test_a_percentile_is_a_bound_that_holds(part: float, bound: float) -> None:
    """The least bound that at least so many lie within: never a guess between two bounds."""
    assert REFUSALS.bound_of(part) == bound


def test_nothing_counted_is_no_number() -> None:
    """An absent histogram has neither a mean nor a percentile."""
    absent = tally(EXPOSED, "limen_engine_envelope_images")
    assert (absent.mean, absent.bound_of(0.99)) == (None, None)


def test_counters_are_those_in_between() -> None:
    """What was counted before does not count, and a process that is new began at nothing."""
    before = Counters({"front door": 3.0, "redis": 1.0}, 2.0, Tally(2, 4, {1.0: 1, 4.0: 2}))
    after = Counters(
        {"front door": 12.0, "redis": 1.5, "worker": 0.5}, 10.5, Tally(5, 16, {1.0: 2, 4.0: 5})
    )
    spent = after.since(before)
    assert spent.cpu_s == {"front door": 9.0, "redis": 0.5, "worker": 0.5}
    assert spent.engine_s == 8.5
    assert spent.batches == Tally(3, 12, {1.0: 1, 4.0: 3})
    assert before.plus(spent).batches == after.batches


def test_the_engine_s_metrics_are_found_by_name() -> None:
    """Batches, envelopes, refusals and the models' seconds each have their metric."""
    found = counters_of(EXPOSED, {"redis": 1.0})
    assert (found.cpu_s, found.engine_s) == ({"redis": 1.0}, 3.75)
    assert (found.batches.mean, found.envelopes, found.refusals) == (6.0, Tally(), REFUSALS)


def test_a_metric_is_told_apart_by_a_label() -> None:
    """Values of one label, summed over the others; what comes between two readings."""
    before = 'limen_stream_frames_total{fate="examined",pid="7"} 2.0\n'
    after = (
        'limen_stream_frames_total{fate="examined",pid="7"} 5.0\n'
        'limen_stream_frames_total{pid="8",fate="examined"} 4.0\n'
        'limen_stream_frames_total{fate="dropped",pid="8"} 1.0\n'
    )
    assert metric_by(after, "limen_stream_frames_total", "fate") == {
        "examined": 9.0,
        "dropped": 1.0,
    }
    spent = counters_of(after, {}).since(counters_of(before, {}))
    assert spent.frames == {"examined": 7.0, "dropped": 1.0}
