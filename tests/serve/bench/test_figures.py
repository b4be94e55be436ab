"""The arithmetic of the HTTP benchmark, on counters made by hand."""

from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from serve.bench.figures import Point, Spent
from serve.bench.generator import DIGITS, LATENCY_US_MAX, Outcome

BEFORE = Spent({"front door": 3.0, "redis": 1.0}, engine_s=2.0)
AFTER = Spent({"front door": 12.0, "redis": 1.5, "worker": 0.5}, engine_s=10.5)


def histogram(*milliseconds: float) -> str:
    """Latencies as the generator hands them over."""
    made = HdrHistogram(1, LATENCY_US_MAX, DIGITS)
    for value in milliseconds:
        made.record_value(round(1000 * value))
    return str(made.encode().decode())


def point(**overrides: Any) -> Point:
    """Ninety of a hundred submissions approved within 3 s, for what lies between the counters."""
    answers = {"approved": 90, "overloaded": 9, "no_answer": 1}
    outcome = Outcome(answers, histogram(*range(1, 101)), wall_s=3.0, late_ms=0.4, callbacks=90)
    fields = {"frame": "12Mpx", "offered_per_s": 35.0, "outcome": outcome}
    return Point(**{**fields, "spent": AFTER.since(BEFORE), **overrides})


def test_processor_seconds_are_those_in_between() -> None:
    """What was spent before does not count, and a process that is new began at nothing."""
    spent = AFTER.since(BEFORE)
    assert spent.by_process == {"front door": 9.0, "redis": 0.5, "worker": 0.5}
    assert spent.engine_s == 8.5


def test_the_share_is_of_all_processes() -> None:
    """The models' seconds are divided by those of every server process, not of one."""
    assert point().share == pytest.approx(0.85)
    assert point(spent=Spent({}, 0.0)).share is None


def test_only_approvals_are_images() -> None:
    """Refusals make no throughput and bear no cost: they are listed as errors."""
    measured = point()
    assert measured.approved == 90
    assert measured.images_per_s == pytest.approx(30.0)
    assert measured.errors == {"overloaded": 9, "no_answer": 1}
    assert measured.cpu_ms["front door"] == pytest.approx(100.0)


def test_latencies_are_percentiles_of_an_open_loop_only() -> None:
    """Where the server set the pace no latency is reported; where it did not, HDR percentiles."""
    found = point().encode()
    assert found["loop"] == "open"
    assert found["latency_ms"] == pytest.approx(
        {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}, rel=1e-3
    )
    saturated = point(offered_per_s=None).encode()
    assert saturated["loop"] == "saturated"
    assert saturated["latency_ms"] is None


def test_a_point_without_approvals_is_still_a_point() -> None:
    """When everything failed the figures are zeros and errors, not an exception."""
    nothing = Outcome({"no_answer": 5}, histogram(), 1.0, 0.0, 0)
    found = point(outcome=nothing).encode()
    assert (found["images"], found["images_per_s"], found["errors"]) == (0, 0.0, {"no_answer": 5})


def test_work_on_what_was_refused_is_no_figure() -> None:
    """Where no image was approved, cost and share are unknown, not enormous."""
    outcome = Outcome({"capture_unfit": 100}, histogram(), wall_s=3.0, late_ms=0.0, callbacks=0)
    refused = point(outcome=outcome)
    assert (refused.share, refused.share_of_door, refused.cpu_ms) == (None, None, {})
    assert refused.encode()["engine_cpu_ms_per_image"] is None
    assert refused.errors == {"capture_unfit": 100}
