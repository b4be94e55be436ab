"""Rings in a society where the truth is known: as Limen grows them, and as connected components.

The thresholds are those at which chance ties so many strangers to a face; at each the service's own
rules are applied, found by calibration from the sweep's own pairs, with the threshold as the lowest
bar.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.rings.edges import Edge, Evidence, Grown
from index.rings.grow import grow
from index.sweep.kernel import Kernel
from serve.bench.search.gallery import Say
from serve.bench.sweeps.crowd import Crowd, Places
from serve.bench.sweeps.society import Society, pairs_within, society
from serve.bench.sweeps.speed import Job, all_threads
from serve.domain.ids import Mode
from serve.domain.sweeps.bars import bars
from serve.domain.sweeps.calibration import calibrated
from serve.domain.sweeps.mates import Marks
from serve.domain.sweeps.sweep import FacePair, Sweep, SweepRequest, SweepStatus

CHANCES = (5.0, 1.0, 0.1, 0.01, 0.001)
"""Strangers that chance ties to a face, one after another: N times the false match rate."""

SPARE = 3  # times as many pairs are kept as the lowest threshold has
MODEL = "bench.1"


@dataclass(frozen=True, slots=True)
class Clusters:
    """Groups of two or more accounts. Of their pairs `precision` are of one person, and of all
    pairs of one person `recall` are in them; `largest` counts accounts.
    """

    groups: int
    largest: int
    precision: float
    recall: float

    @classmethod
    def of(cls, groups: Sequence[Sequence[int]], people: NDArray[np.int64]) -> "Clusters":
        """Of groups of rows, and whose each row is."""
        told = pairs_within([len(group) for group in groups])
        right = sum(pairs_within(np.unique(people[list(g)], return_counts=True)[1]) for g in groups)
        mates = pairs_within(np.bincount(people))
        largest = max(map(len, groups), default=0)
        return cls(len(groups), largest, right / told if told else 1.0, right / mates)


@dataclass(frozen=True, slots=True)
class AtBar:
    """What comes of one threshold. `strong` and `weak` are the service's bars there."""

    threshold: float
    chance: float
    strong: float
    weak: float
    limen: Clusters
    components: Clusters
    quarantined: int


@dataclass(frozen=True, slots=True)
class RingsFound:
    """A society of `faces`; `largest` accounts of one person, the most that any ring may have."""

    faces: int
    dimension: int
    largest: int
    mates: int
    bars: Sequence[AtBar]

    def encode(self) -> dict[str, Any]:
        """For a JSON report."""
        return {
            "faces": self.faces,
            "dimension": self.dimension,
            "largest_true_ring": self.largest,
            "pairs_of_one_person": self.mates,
            "at": [_rounded(asdict(each)) for each in self.bars],
        }


def measure_rings(kernel: Kernel, faces: int, dimension: int, seed: int, say: Say) -> RingsFound:
    """Make a society, sweep it, and grow its rings at each threshold."""
    say(f"{faces:,} x {dimension}: sweep a society for its rings")
    made = society(faces, dimension, seed)
    pairs, scores, sweep = _swept(kernel, made)
    is_chance = made.people[pairs[:, 0]] != made.people[pairs[:, 1]]
    is_chance &= made.is_plain[pairs].all(axis=1)
    strangers = -np.sort(-scores[is_chance])
    found = []
    for chance in CHANCES:
        place = max(1, round(chance * (faces - 1) / 2)) - 1
        if place >= len(strangers) or strangers[place] < sweep.complete_from:
            continue
        say(f"grow rings where chance ties {chance:g} strangers to a face")
        found.append(_at(made, (pairs, scores), sweep, float(strangers[place]), chance))
    return RingsFound(faces, dimension, made.largest, made.mates, found)


def _swept(kernel: Kernel, made: Society) -> tuple[Places, NDArray[np.float64], Sweep]:
    """The best pairs, their scores, and the sweep as the service would have it written down."""
    nobody = np.empty((0, 2), np.int64)
    job = Job.of(kernel, Crowd(made.templates, nobody, nobody, nobody))
    wanted = SPARE * max(CHANCES) * len(made) / 2 + made.mates
    keep = int(wanted / len(job.tiles)) + 1
    results = job.sweep(all_threads(), None, keep=keep)
    scores = np.concatenate([swept.pairs.scores for _, swept in results])
    sweep = Sweep(
        id="", tenant_id="", mode=Mode.LIVE, request=SweepRequest(), model_id=MODEL,
        status=SweepStatus.DONE, created_at_ms=0, faces=len(made), customers=len(made),
        compared=sum(swept.compared for _, swept in results),
        complete_from=max(swept.complete_from for _, swept in results),
    )  # fmt: skip
    return job.found(results, -1.0), scores, sweep


def _at(
    made: Society,
    found: tuple[Places, NDArray[np.float64]],
    sweep: Sweep,
    threshold: float,
    chance: float,
) -> AtBar:
    """By the service's rules at a threshold, and without any."""
    pairs, scores = found
    marks = Marks(
        apart=frozenset((_name(a), _name(b)) for a, b in made.apart.tolist()),
        signals={_name(row): kinds for row, kinds in made.signals.items()},
    )
    known = [
        FacePair.model_construct(
            subject_a=_name(a), face_a=_name(a), subject_b=_name(b), face_b=_name(b), score=score
        )
        for (a, b), score in zip(pairs.tolist(), scores.tolist(), strict=True)
    ]
    rules = bars(sweep, calibrated(sweep, known, marks, 0, threshold), threshold)
    edges = tuple(
        Edge(pair.subject_a, pair.subject_b, pair.score)
        for pair in known
        if pair.score >= rules.weak
    )
    grown = grow(Evidence(edges, marks.signals, marks.apart), rules)
    return AtBar(
        threshold,
        chance,
        rules.strong,
        rules.weak,
        Clusters.of(_members(grown), made.people),
        Clusters.of(components(pairs[scores >= threshold].tolist()), made.people),
        len(grown.quarantined),
    )


def components(pairs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Rows that are tied to each other in any number of steps."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for first, second in pairs:
        parent[root(first)] = root(second)
    groups: dict[int, list[int]] = {}
    for row in list(parent):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def _members(grown: Grown) -> list[list[int]]:
    return [[int(member) for member in ring.members] for ring in grown.rings]


def _name(row: int) -> str:
    """Of as many digits as others', so that names are in the order of rows."""
    return f"{row:08d}"


def _rounded(found: Mapping[str, Any]) -> dict[str, Any]:
    """For people to read."""
    return {
        name: _rounded(value)
        if isinstance(value, Mapping)
        else (round(value, 5) if isinstance(value, float) else value)
        for name, value in found.items()
    }
