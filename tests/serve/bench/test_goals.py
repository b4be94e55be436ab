"""Goals are ratios within a round, and their medians decide."""

from typing import Any

import pytest

from serve.bench.counters import Counters, Tally
from serve.bench.figures import Place, Point
from serve.bench.generator import Outcome
from serve.bench.goals import Goal, goals

FRAME = "1280x720"


def point(engine: str, load: float | None, number: int, per_s: int, **spent: Any) -> Point:
    """A second of `per_s` approvals; nine tenths of the processor's time in the models."""
    outcome = Outcome({"approved": per_s}, "", 1.0, 1.0, per_s, 0.0, 0.0, 0)
    counters = Counters(**{"cpu_s": {"front door": 1.0}, "engine_s": 0.9, **spent})
    offered = None if load is None else load * per_s
    return Point(Place(engine, FRAME, load, number), offered, outcome, counters, (10, 99, 100, 103))


def found(points: list[Point], engine: str) -> dict[str, Goal]:
    """An engine's goals by name."""
    return {goal.name: goal for goal in goals(points) if goal.engine == engine}


def test_speed_is_compared_within_a_round() -> None:
    """A round on a slow machine counts as much as one on a fast machine."""
    peaks = [("naive-serve", 10, 20), ("ray", 26, 50), ("local", 30, 100)]
    points = [point(name, None, n, by[n - 1]) for n in (1, 2) for name, *by in peaks]
    speed = found(points, "ray")["images/s over naive"]
    assert speed.values == (2.6, 2.5)
    assert speed.median == pytest.approx(2.55)
    assert speed.is_met
    assert found(points, "naive-serve") == {}


def test_a_ceiling_is_met_from_below() -> None:
    """Refusals and memory are to stay under their bounds, everything else is to reach them."""
    refusals = Tally(100, 0.2, {0.002: 98, 0.005: 99, 0.01: 100})
    points = [point("local", None, 1, 40), point("local", 1.5, 1, 39, refusals=refusals)]
    every = found(points, "local")
    refused = every["refusals' p99 in s, at 150 %"]
    assert (refused.values, refused.is_met) == ((0.005,), True)
    memory = every["memory, last quarter over before, at 150 %"]
    assert (memory.values, memory.is_met) == ((1.03,), True)
    goodput = every["goodput over peak, at 150 %"]
    assert (goodput.values, goodput.is_met) == ((0.975,), True)
    share = every["share in decode and models"]
    assert (share.values, share.is_met) == ((0.9,), False)
    assert refused.encode()["at_most"] == 0.005
    assert share.encode()["at_least"] == 0.95


def test_the_mean_batch_is_that_near_the_peak() -> None:
    """At 80 % of the peak, as a part of the largest batch."""
    points = [
        point("ray", None, 1, 40, batches=Tally(1, 16)),
        point("ray", 0.8, 1, 32, batches=Tally(2, 12)),
    ]
    goal = found(points, "ray")["mean batch over the largest, at 80 %"]
    assert (goal.values, goal.is_met) == ((6 / 16,), False)


def test_what_was_not_measured_is_no_goal() -> None:
    """No goal without a figure: without the naive engine, without an overload, without batches."""
    assert set(found([point("ray", None, 1, 40)], "ray")) == {"share in decode and models"}
