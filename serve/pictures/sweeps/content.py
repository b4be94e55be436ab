"""What a report of a sweep tells, and at most how much of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from serve.api.sweeps.answers import EdgeResponse, PairResponse, RingResponse, SweepResponse
from serve.domain.ids import Mode
from serve.domain.sweeps.calibration import bin_of, edge_of
from serve.flows.sweeps.export import Floats

RINGS_DRAWN_MAX = 40
RINGS_LISTED_MAX = 500
MEMBERS_LISTED_MAX = 60
PAIRS_LISTED_MAX = 200
LOOSE_LISTED_MAX = 20
LOOSE_MIN = 3  # of somebody's pairs: fewer stand out nowhere
CHIPS_BYTES_MAX = 8 * 2**20
STEPS = 100  # bars of the histogram from similarity 0 to 1


class Bar(NamedTuple):
    """Pairs whose similarity is `place` / 100 or more and less than the next."""

    place: int
    below: int
    found: int


class Loose(NamedTuple):
    """How many pairs of customers are in no ring together, and who is in most of them, each with
    the number: a face that is like everybody's is in no ring, and in many pairs.
    """

    pairs: int
    most: tuple[tuple[str, int], ...]


class CurvePoint(NamedTuple):
    """The similarity that keeps an error rate in a gallery of `size` faces; `is_supported` says
    that ten errors or more stand behind it.
    """

    size: int
    similarity: float
    is_supported: bool


class Curve(NamedTuple):
    """Thresholds over the size of the gallery, for one share of searches that show a stranger."""

    target: float
    points: tuple[CurvePoint, ...]


class Suggested(NamedTuple):
    """The lowest similarity with enough evidence for `target`; None where there is not enough.
    `rate` is what was seen there, `low` to `high` its 95 % interval.
    """

    target: float
    similarity: float | None
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Chance:
    """What the tenant's own strangers say of the threshold, by the calibration of `sweep_id`.

    `rate` of the faces have a stranger at or above the threshold, `low` to `high` is the 95 %
    interval; `impostors` of `pairs` of strangers are, and one search is expected to show
    `expected` of them, at most `expected_max`.
    """

    sweep_id: str
    gallery_size: int
    expires_at_size: int
    pairs: int
    impostors: int
    rate: float | None
    low: float
    high: float
    expected: float | None
    expected_max: float | None
    confirmed: int
    presumed: int
    unreviewed: int
    suggested: tuple[Suggested, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of one done sweep. `pairs` may be all or the best alone, `sweep.found` counts
    them. `links` has for a ring, by its id, the pairs of members that are alike, the strong ones
    first. `chips` are JPEGs by customer. `tail_from` is the similarity from which on pairs below
    the threshold are counted too, None where none are.
    """

    tenant: str
    mode: Mode
    made_at: str
    sweep: SweepResponse
    pairs: tuple[PairResponse, ...] = field(repr=False)
    rings: tuple[RingResponse, ...] = field(repr=False)
    links: Mapping[str, tuple[EdgeResponse, ...]] = field(repr=False)
    loose: Loose = field(default=Loose(0, ()), repr=False)
    bars: tuple[Bar, ...] = ()
    tail_from: float | None = None
    chance: Chance | None = None
    chips: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def loose_of(pairs: Iterable[tuple[str, str]], rings: Iterable[RingResponse]) -> Loose:
    """What all pairs of customers, each in one order or the other, come to beside `rings`."""
    ring_of = {member: ring.id for ring in rings for member in ring.members}
    apart = {
        (min(one, other), max(one, other))
        for one, other in pairs
        if one not in ring_of or ring_of[one] != ring_of.get(other)
    }
    counted = Counter(end for pair in apart for end in pair)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    most = [item for item in ranked[:LOOSE_LISTED_MAX] if item[1] >= LOOSE_MIN]
    return Loose(len(apart), tuple(most))


def bars_of(
    found: Iterable[float], below: Floats, similarity: Callable[[float], float]
) -> tuple[Bar, ...]:
    """Similarities `found` and native scores `below` the threshold, (T,) float64, counted by bars;
    those between the first and the last, empty ones among them.
    """
    upper = Counter(map(_place, found))
    lower: Counter[int] = Counter()
    middle = np.round(below, 9)
    for score, count in zip(*np.unique(_middles(middle), return_counts=True), strict=True):
        lower[_place(similarity(float(score)))] += int(count)
    places = upper.keys() | lower.keys()
    if not places:
        return ()
    return tuple(
        Bar(place, lower[place], upper[place]) for place in range(min(places), max(places) + 1)
    )


def _middles(scores: Floats) -> Floats:
    """Each score as the middle of its bin of a calibration: a million have few of them."""
    width = edge_of(1) - edge_of(0)
    places = np.floor((scores + 1) / width)
    return np.asarray((places + 0.5) * width - 1, np.float64)


def _place(similarity: float) -> int:
    return max(0, min(STEPS - 1, int(similarity * STEPS + 1e-6)))


assert bin_of(edge_of(1)) == 1  # what `_middles` reckons with
