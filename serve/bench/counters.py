"""What a running service has counted: read at two instants, and the one subtracted from the other.

Metrics come in Prometheus' text format. A histogram there is a sum, a count, and for each upper
bound how many lie below it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

METRIC_OF_ENGINE_S = "limen_engine_cpu_seconds_total"
METRIC_OF_BATCHES = "limen_engine_batch_images"
METRIC_OF_ENVELOPES = "limen_engine_envelope_images"
METRIC_OF_REFUSALS = "limen_refusal_seconds"
METRIC_OF_FRAMES = "limen_stream_frames_total"
LABEL_OF_FRAMES = "fate"

_BOUND = re.compile(r'le="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Tally:
    """A histogram: how many, their sum, and how many up to each bound."""

    count: float = 0.0
    total: float = 0.0
    up_to: Mapping[float, float] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """None where nothing was counted."""
        return self.total / self.count if self.count else None

    def bound_of(self, part: float) -> float | None:
        """The least bound that at least `part` of all lie within, so at most too high; None where
        nothing was counted.
        """
        if not self.count:
            return None
        within = [bound for bound, number in self.up_to.items() if number >= part * self.count]
        return min(within, default=math.inf)

    def plus(self, other: "Tally", sign: int = 1) -> "Tally":
        """Both together; without the other where `sign` is -1."""
        bounds = self.up_to.keys() | other.up_to.keys()
        return Tally(
            self.count + sign * other.count,
            self.total + sign * other.total,
            {b: self.up_to.get(b, 0.0) + sign * other.up_to.get(b, 0.0) for b in sorted(bounds)},
        )


@dataclass(frozen=True, slots=True)
class Counters:
    """Processor seconds by process and in the threads of the models; images in each batch and in
    each envelope; seconds that refusals took; frames of streams by what became of them.
    """

    cpu_s: Mapping[str, float]
    engine_s: float = 0.0
    batches: Tally = Tally()
    envelopes: Tally = Tally()
    refusals: Tally = Tally()
    frames: Mapping[str, float] = field(default_factory=dict)

    def plus(self, other: "Counters", sign: int = 1) -> "Counters":
        """Both together; without the other where `sign` is -1. What is new began at nothing."""
        return Counters(
            _together(self.cpu_s, other.cpu_s, sign),
            self.engine_s + sign * other.engine_s,
            self.batches.plus(other.batches, sign),
            self.envelopes.plus(other.envelopes, sign),
            self.refusals.plus(other.refusals, sign),
            _together(self.frames, other.frames, sign),
        )

    def since(self, before: "Counters") -> "Counters":
        """What was counted in between."""
        return self.plus(before, -1)


def counters_of(text: str, cpu_s: Mapping[str, float]) -> Counters:
    """What the metrics in `text` say, beside the processor seconds of the processes."""
    return Counters(
        cpu_s,
        metric_sum(text, METRIC_OF_ENGINE_S),
        tally(text, METRIC_OF_BATCHES),
        tally(text, METRIC_OF_ENVELOPES),
        tally(text, METRIC_OF_REFUSALS),
        metric_by(text, METRIC_OF_FRAMES, LABEL_OF_FRAMES),
    )


def metric_sum(text: str, name: str) -> float:
    """The sum over all labels of one metric; 0 where it is absent."""
    return sum(value for _, value in _samples(text, name))


def metric_by(text: str, name: str, label: str) -> dict[str, float]:
    """The values of one metric by the values of one label, summed over all other labels."""
    found: dict[str, float] = {}
    wanted = re.compile(rf'\b{re.escape(label)}="([^"]*)"')
    for labels, value in _samples(text, name):
        said = wanted.search(labels)
        if said is not None:
            found[said[1]] = found.get(said[1], 0.0) + value
    return found


def tally(text: str, name: str) -> Tally:
    """A histogram, summed over all other labels."""
    up_to: dict[float, float] = {}
    for labels, value in _samples(text, f"{name}_bucket"):
        found = _BOUND.search(labels)
        if found is not None:
            bound = float(found[1])
            up_to[bound] = up_to.get(bound, 0.0) + value
    return Tally(metric_sum(text, f"{name}_count"), metric_sum(text, f"{name}_sum"), up_to)


def _together(one: Mapping[str, float], other: Mapping[str, float], sign: int) -> dict[str, float]:
    names = dict.fromkeys((*one, *other))
    return {name: one.get(name, 0.0) + sign * other.get(name, 0.0) for name in names}


def _samples(text: str, name: str) -> Iterator[tuple[str, float]]:
    """Labels and value of every line of exactly that name, with or without a time behind."""
    for line in text.splitlines():
        if not re.match(rf"{re.escape(name)}[ {{]", line):
            continue
        labels, brace, rest = line.removeprefix(name).rpartition("}")
        yield labels, float((rest if brace else line.removeprefix(name)).split()[0])
