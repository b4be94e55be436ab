"""The arithmetic of the HTTP benchmark, on counters made by hand."""

from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from serve.bench.counters import Counters, Tally
from serve.bench.figures import Place, Point, pooled_by_place
from serve.bench.generator import DIGITS, LATENCY_US_MAX, Outcome

SPENT = Counters(
    {"front door": 9.0, "redis": 0.5, "worker": 0.5},
    engine_s=8.5,
    batches=Tally(30, 90),
    refusals=Tally(9, 0.02, {0.002: 5, 0.005: 9}),
)
PLACE = Place("local", "12Mpx", 0.5)


def histogram(*milliseconds: float) -> str:
    """Latencies as the generator hands them over."""
    made = HdrHistogram(1, LATENCY_US_MAX, DIGITS)
    for value in milliseconds:
        made.record_value(round(1000 * value))
    return str(made.encode().decode())


def outcome(answers: dict[str, int], *milliseconds: float, **overrides: Any) -> Outcome:
    """Three seconds of requests, two of which were approved only afterwards."""
    approved = answers.get("approved", 0)
    fields: dict[str, Any] = {
        "wall_s": 4.0,
        "sent_s": 3.0,
        "approved_by_then": max(0, approved - 2),
    }
    fields |= {"late_ms": 0.4, "cpu_s": 0.2, "callbacks": approved, **overrides}
    return Outcome(answers, histogram(*milliseconds), **fields)


def point(**overrides: Any) -> Point:
    """Ninety-two of a hundred submissions approved, for what lies between the counters."""
    answers = {"approved": 92, "overloaded": 7, "no_answer": 1}
    fields: dict[str, Any] = {"place": PLACE, "offered_per_s": 35.0, "spent": SPENT}
    return Point(**{**fields, "outcome": outcome(answers, *range(1, 101)), **overrides})


def test_the_share_is_of_all_processes() -> None:
    """The models' seconds are divided by those of every server process, not of one."""
    assert point().share == pytest.approx(0.85)
    assert point(spent=Counters({})).share is None


def test_only_approvals_are_images() -> None:
    """Refusals make no throughput and bear no cost: they are listed as errors."""
    measured = point()
    assert measured.approved == 92
    assert measured.errors == {"overloaded": 7, "no_answer": 1}
    assert measured.cpu_ms["front door"] == pytest.approx(9000 / 92)


def test_a_backlog_makes_no_throughput() -> None:
    """In an open loop only what was approved while requests were leaving counts as done; where
    the server set the pace, all of it over the whole time.
    """
    assert point().images_per_s == pytest.approx(90 / 3.0)
    assert point(offered_per_s=None).images_per_s == pytest.approx(92 / 4.0)


def test_latencies_are_percentiles_of_an_open_loop_only() -> None:
    """Where the server set the pace no latency is reported; where it did not, HDR percentiles."""
    found = point().encode()
    assert found["latency_ms"] == pytest.approx(
        {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}, rel=1e-3
    )
    saturated = point(offered_per_s=None).encode()
    assert (saturated["offered_per_s"], saturated["latency_ms"]) == (None, None)


def test_a_point_without_approvals_is_still_a_point() -> None:
    """When everything failed the figures are zeros and errors, not an exception."""
    found = point(outcome=outcome({"no_answer": 5})).encode()
    assert (found["images"], found["images_per_s"], found["errors"]) == (0, 0.0, {"no_answer": 5})


def test_work_on_what_was_refused_is_no_figure() -> None:
    """Where no image was approved, cost and share are unknown, not enormous."""
    refused = point(outcome=outcome({"capture_unfit": 100}))
    assert (refused.share, refused.engine_ms, refused.cpu_ms) == (None, None, {})
    assert refused.encode()["engine_cpu_ms_per_image"] is None
    assert refused.errors == {"capture_unfit": 100}


def test_batches_refusals_and_memory_are_reported() -> None:
    """Mean images in a batch, the bound of 99 % of refusals, growth over the last quarter of the
    time; without envelopes no mean of them.
    """
    measured = point(rss_bytes=tuple(size * 2**20 for size in (1, 5, 4, 4, 4, 3, 6, 5)))
    assert measured.growth == pytest.approx(6 / 5)
    assert point(rss_bytes=(2**20,)).growth is None
    found = measured.encode()
    assert (found["mean_batch"], found["mean_envelope"]) == (3.0, None)
    assert (found["refusals"], found["refusals_p99_ms_at_most"]) == (9, 5.0)
    assert found["rss_mib"] == [1, 5, 4, 4, 4, 3, 6, 5]


def test_a_part_that_died_leaves_no_cost() -> None:
    """It took its seconds along: what the others spent is no figure, and its name is told."""
    died = point(lost=("replica",))
    assert (died.share, died.cpu_ms, died.engine_ms) == (None, {}, None)
    assert died.approved == 92
    (pooled,) = pooled_by_place([point(), died])
    assert (pooled.lost, pooled.share) == (("replica",), None)


def test_rounds_are_pooled_by_place() -> None:
    """Points of one engine, frame and load count as one: answers, seconds and latencies add up."""
    first = point(place=Place("local", "12Mpx", 0.5, round=1), outcome=outcome({"approved": 1}, 10))
    again = point(place=Place("local", "12Mpx", 0.5, round=2), outcome=outcome({"approved": 9}, 90))
    other = point(place=Place("ray", "12Mpx", 0.5, round=1))
    local, ray = pooled_by_place([first, other, again])
    assert (local.place, ray.place.engine) == (Place("local", "12Mpx", 0.5, round=0), "ray")
    assert local.approved == 10
    assert local.outcome.wall_s == pytest.approx(8.0)
    assert local.spent.batches == Tally(60, 180)
    assert local.latency_ms()["p50"] == pytest.approx(10.0, rel=1e-3)
    assert local.latency_ms()["max"] == pytest.approx(90.0, rel=1e-3)
    assert local.encode()["round"] is None
