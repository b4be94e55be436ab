"""What the counters of one measured point amount to: rates, percentiles, processor seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

from serve.bench.generator import APPROVED, Outcome

DOOR = "front door"
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of a running service: in all by process, and in the models' threads."""

    by_process: Mapping[str, float]
    engine_s: float

    def since(self, before: "Spent") -> "Spent":
        """What was spent in between; a process that is new began at nothing."""
        spent = {
            name: seconds - before.by_process.get(name, 0.0)
            for name, seconds in self.by_process.items()
        }
        return Spent(spent, self.engine_s - before.engine_s)


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point. `offered_per_s` is None where the server set the pace."""

    frame: str
    offered_per_s: float | None
    outcome: Outcome
    spent: Spent

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
        """Approved submissions over the time they took."""
        return self.approved / self.outcome.wall_s

    @property
    def share(self) -> float | None:
        """Of the server's processor seconds, the part spent in decoding and models; 0 to 1.

        None where no image was approved: work on what was refused is no measure.
        """
        total_s = sum(self.spent.by_process.values())
        return self.spent.engine_s / total_s if self.approved and total_s > 0 else None

    @property
    def share_of_door(self) -> float | None:
        """The same of the front door's own processor seconds: without Redis and the worker."""
        door_s = self.spent.by_process.get(DOOR, 0.0)
        return self.spent.engine_s / door_s if self.approved and door_s > 0 else None

    @property
    def cpu_ms(self) -> dict[str, float]:
        """Processor milliseconds for each approved image, by process; none without one."""
        if not self.approved:
            return {}
        return {
            name: 1000 * seconds / self.approved for name, seconds in self.spent.by_process.items()
        }

    def latency_ms(self) -> dict[str, float]:
        """Percentiles of approvals, from the scheduled arrival to the last byte of the answer."""
        histogram = HdrHistogram.decode(self.outcome.histogram)
        found = {f"p{p}": histogram.get_value_at_percentile(p) / 1000 for p in PERCENTILES}
        return {**found, "max": histogram.get_max_value() / 1000}

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report. Latency is reported where arrivals were scheduled."""
        is_open = self.offered_per_s is not None
        return {
            "frame": self.frame,
            "loop": "open" if is_open else "saturated",
            "offered_per_s": round(self.offered_per_s, 2) if self.offered_per_s else None,
            "images": self.approved,
            "images_per_s": round(self.images_per_s, 2),
            "errors": self.errors,
            "latency_ms": _rounded(self.latency_ms()) if is_open else None,
            "cpu_ms_per_image": _rounded(self.cpu_ms),
            "engine_cpu_ms_per_image": _rounded_or_none(
                1000 * self.spent.engine_s / self.approved if self.approved else None
            ),
            "share_in_decode_and_models": _rounded_or_none(self.share),
            "share_of_front_door": _rounded_or_none(self.share_of_door),
            "generator_late_ms": round(self.outcome.late_ms, 2) if is_open else None,
            "callbacks": self.outcome.callbacks,
        }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def _rounded_or_none(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
