"""What the counters of one measured point amount to: rates, percentiles, processor seconds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from hdrh.histogram import HdrHistogram

from serve.bench.counters import Counters
from serve.bench.generator import APPROVED, DIGITS, LATENCY_US_MAX, Outcome

PERCENTILES = (50, 95, 99)
REFUSED = 0.99  # the part of all refusals whose time is asked for


@dataclass(frozen=True, slots=True)
class Place:
    """What was measured: `load` is the part of what saturates, None where that was found out.

    Rounds count from 1; 0 are all of them together.
    """

    engine: str
    frame: str
    load: float | None
    round: int = 1

    def __str__(self) -> str:
        return "saturated" if self.load is None else f"{100 * self.load:.0f} %"


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point. `offered_per_s` is None where the server set the pace.

    `rss_bytes` are the resident bytes of the whole service, over time; `lost` names its parts that
    died, `others` is the part of the machine that something else took.
    """

    place: Place
    offered_per_s: float | None
    outcome: Outcome
    spent: Counters
    rss_bytes: tuple[int, ...] = ()
    lost: tuple[str, ...] = ()
    others: float = 0.0

    @property
    def approved(self) -> int:
        """Submissions that came back as they should."""
        return self.outcome.answers.get(APPROVED, 0)

    @property
    def errors(self) -> dict[str, int]:
        """Every other answer, by status or code."""
        return {name: n for name, n in self.outcome.answers.items() if name != APPROVED}

    @property
    def images_per_s(self) -> float:
        """Approved submissions over the time they took; in an open loop those that were approved
        while requests were still leaving, so that no backlog worked off later counts.
        """
        outcome = self.outcome
        if self.offered_per_s is None:
            return self.approved / outcome.wall_s
        return outcome.approved_by_then / outcome.sent_s

    @property
    def share(self) -> float | None:
        """Of the server's processor seconds, the part spent in decoding and models; 0 to 1.

        None where no image was approved: work on what was refused is no measure.
        """
        total_s = sum(self.spent.cpu_s.values())
        return self.spent.engine_s / total_s if self._has_cost and total_s > 0 else None

    @property
    def cpu_ms(self) -> dict[str, float]:
        """Processor milliseconds for each approved image, by process; none without one, nor
        where a process took what it had spent along.
        """
        if not self._has_cost:
            return {}
        return {name: 1000 * seconds / self.approved for name, seconds in self.spent.cpu_s.items()}

    @property
    def engine_ms(self) -> float | None:
        """Of them those in decoding and models; None as above."""
        return 1000 * self.spent.engine_s / self.approved if self._has_cost else None

    @property
    def refusal_s(self) -> float | None:
        """The bound that 99 % of refusals stayed within, by the server's clock; None without."""
        return self.spent.refusals.bound_of(REFUSED)

    @property
    def growth(self) -> float | None:
        """The most resident bytes in the last quarter of the time over the most before it."""
        start = len(self.rss_bytes) * 3 // 4
        return max(self.rss_bytes[start:]) / max(self.rss_bytes[:start]) if start else None

    @property
    def _has_cost(self) -> bool:
        return self.approved > 0 and not self.lost

    def latency_ms(self) -> dict[str, float]:
        """Percentiles of approvals, from the scheduled arrival to the last byte of the answer."""
        histogram = HdrHistogram.decode(self.outcome.histogram)
        found = {f"p{p}": histogram.get_value_at_percentile(p) / 1000 for p in PERCENTILES}
        return {**found, "max": histogram.get_max_value() / 1000}

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report. Latency is reported where arrivals were scheduled."""
        is_open = self.offered_per_s is not None
        refusals = self.spent.refusals
        return {
            "engine": self.place.engine,
            "frame": self.place.frame,
            "load": self.place.load,
            "round": self.place.round or None,
            "offered_per_s": _rounded(self.offered_per_s, 2),
            "images": self.approved,
            "images_per_s": _rounded(self.images_per_s, 2),
            "errors": self.errors,
            "latency_ms": _all_rounded(self.latency_ms()) if is_open else None,
            "mean_batch": _rounded(self.spent.batches.mean, 2),
            "mean_envelope": _rounded(self.spent.envelopes.mean, 2),
            "envelopes": int(self.spent.envelopes.count),
            "cpu_ms_per_image": _all_rounded(self.cpu_ms),
            "engine_cpu_ms_per_image": _rounded(self.engine_ms, 3),
            "share_in_decode_and_models": _rounded(self.share, 4),
            "refusals": int(refusals.count),
            "refusals_p99_ms_at_most": _milliseconds(self.refusal_s),
            "rss_mib": [round(size / 2**20) for size in self.rss_bytes],
            "lost": list(self.lost),
            "others_share_of_machine": _rounded(self.others, 3),
            "generator_late_ms": _rounded(self.outcome.late_ms, 2) if is_open else None,
            "generator_cpu_s": _rounded(self.outcome.cpu_s, 2),
            "callbacks": self.outcome.callbacks,
        }


def pooled_by_place(points: Sequence[Point]) -> list[Point]:
    """The rounds taken together: a point for each engine, frame and load, in order."""
    places: dict[Place, list[Point]] = {}
    for point in points:
        places.setdefault(replace(point.place, round=0), []).append(point)
    return [pooled(found) for found in places.values()]


def pooled(points: Sequence[Point]) -> Point:
    """Points of the same place in several rounds, as if they had been one; without memory, which
    is each service's own.
    """
    place = replace(points[0].place, round=0)
    rates = [point.offered_per_s for point in points if point.offered_per_s is not None]
    return Point(
        place,
        sum(rates) / len(rates) if rates else None,
        _one_outcome([point.outcome for point in points]),
        reduce(Counters.plus, (point.spent for point in points)),
        lost=tuple(part for point in points for part in point.lost),
        others=sum(point.others for point in points) / len(points),
    )


def _one_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    histogram = HdrHistogram(1, LATENCY_US_MAX, DIGITS)
    answers: Counter[str] = Counter()
    for outcome in outcomes:
        histogram.decode_and_add(outcome.histogram)
        answers.update(outcome.answers)
    return Outcome(
        answers=dict(answers),
        histogram=histogram.encode().decode(),
        wall_s=sum(outcome.wall_s for outcome in outcomes),
        sent_s=sum(outcome.sent_s for outcome in outcomes),
        approved_by_then=sum(outcome.approved_by_then for outcome in outcomes),
        late_ms=max(outcome.late_ms for outcome in outcomes),
        cpu_s=sum(outcome.cpu_s for outcome in outcomes),
        callbacks=sum(outcome.callbacks for outcome in outcomes),
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _all_rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)
