"""What the benchmark is to show, and whether it did: ratios within a round, medians over rounds.

A machine that is slow today is slow for all engines of a round, so only ratios are goals.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from serve.bench.figures import Place, Point
from serve.inference.room import BATCH_MAX
from serve.settings import EngineKind

SHARES = {EngineKind.RAY: 0.88, EngineKind.LOCAL: 0.95}
NEAR_PEAK = 0.8
BATCH_FILL_MIN = 0.5
OVER_NAIVE_MIN = 2.5
GOODPUT_MIN = 0.95
REFUSAL_S_MAX = 0.005
GROWTH_MAX = 1.05

Ratio = Callable[[Point, Point], float | None]  # of a point and the saturated one of its round


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal of one engine on one frame: a value for each round that has one."""

    name: str
    engine: str
    frame: str
    wanted: float
    values: tuple[float, ...]
    is_ceiling: bool = False

    @property
    def median(self) -> float:
        """Over rounds."""
        return median(self.values)

    @property
    def is_met(self) -> bool:
        """Whether the median reaches what is wanted, or stays below where that is a ceiling."""
        return self.median <= self.wanted if self.is_ceiling else self.median >= self.wanted

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        return {
            "goal": self.name,
            "engine": self.engine,
            "frame": self.frame,
            "at_most" if self.is_ceiling else "at_least": self.wanted,
            "median": round(self.median, 4),
            "lowest": round(min(self.values), 4),
            "highest": round(max(self.values), 4),
            "rounds": len(self.values),
            "met": self.is_met,
        }


def goals(points: Sequence[Point]) -> list[Goal]:
    """Every goal that these points have figures for; the naive engine is what others are
    measured against, and has none.
    """
    kinds = dict.fromkeys((point.place.engine, point.place.frame) for point in points)
    found = [
        goal
        for engine, frame in kinds
        if engine != EngineKind.NAIVE_SERVE
        for goal in _goals_of(points, engine, frame)
    ]
    return [goal for goal in found if goal.values]


def _goals_of(points: Sequence[Point], engine: str, frame: str) -> Iterator[Goal]:
    def goal(
        name: str, wanted: float, load: float | None, ratio: Ratio, *, is_ceiling: bool = False
    ) -> Goal:
        own = [p for p in points if (p.place.engine, p.place.frame) == (engine, frame)]
        pairs = [(p, _saturated(points, p.place)) for p in own if p.place.load == load]
        values = (ratio(point, peak) for point, peak in pairs if peak is not None)
        kept = tuple(value for value in values if value is not None)
        return Goal(name, engine, frame, wanted, kept, is_ceiling)

    def over_naive(point: Point, _peak: Point) -> float | None:
        place = point.place
        naive = _saturated(points, Place(EngineKind.NAIVE_SERVE, frame, None, place.round))
        return point.images_per_s / naive.images_per_s if naive and naive.approved else None

    if engine in SHARES:
        wanted = SHARES[EngineKind(engine)]
        yield goal("share in decode and models", wanted, None, lambda p, _: p.share)
    yield goal("images/s over naive", OVER_NAIVE_MIN, None, over_naive)
    yield goal("mean batch over the largest, at 80 %", BATCH_FILL_MIN, NEAR_PEAK, _fill)
    for load in sorted({p.place.load for p in points if p.place.load and p.place.load > 1}):
        at = f"at {100 * load:.0f} %"
        yield goal(f"goodput over peak, {at}", GOODPUT_MIN, load, _over_peak)
        yield goal(
            f"refusals' p99 in s, {at}", REFUSAL_S_MAX, load, lambda p, _: p.refusal_s,
            is_ceiling=True,
        )  # fmt: skip
        yield goal(
            f"memory, last quarter over before, {at}", GROWTH_MAX, load, lambda p, _: p.growth,
            is_ceiling=True,
        )  # fmt: skip


def _saturated(points: Sequence[Point], place: Place) -> Point | None:
    wanted = Place(place.engine, place.frame, None, place.round)
    return next((point for point in points if point.place == wanted), None)


def _fill(point: Point, _peak: Point) -> float | None:
    mean = point.spent.batches.mean
    return None if mean is None else mean / BATCH_MAX


def _over_peak(point: Point, peak: Point) -> float | None:
    return point.images_per_s / peak.images_per_s if peak.approved else None
