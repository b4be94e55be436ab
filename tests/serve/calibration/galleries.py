"""Galleries whose people are known: what a sweep of them finds, and how often strangers match."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors
from serve.bench.search.templates import People
from serve.domain.ids import Mode
from serve.domain.sweeps.calibration import Calibration, calibrated
from serve.domain.sweeps.mates import Marks, Pair
from serve.domain.sweeps.sweep import FacePair, Sweep, SweepRequest

MODEL = "model.1"
MATCH_MIN = 0.914  # the default pack's threshold
NOTHING = Marks()
NOW_MS = 5


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep that is over, and all its pairs from `complete_from` on."""

    sweep: Sweep
    pairs: tuple[FacePair, ...]

    def calibrated(self, marks: Marks = NOTHING) -> Calibration:
        """What it says of chance."""
        return calibrated(self.sweep, self.pairs, marks, NOW_MS, MATCH_MIN)


def name(number: int) -> str:
    """The subject key of a customer."""
    return f"{number:032x}"


def pair(one: int, other: int, score: float) -> FacePair:
    """Customers with one face each, `one` < `other`."""
    return FacePair(
        subject_a=name(one), face_a=f"fac_{one}", subject_b=name(other), face_b=f"fac_{other}",
        score=score,
    )  # fmt: skip


def between(*numbers: int, score: float = 0.97) -> list[FacePair]:
    """Every two of these customers, equally alike."""
    return [pair(one, other, score) for one, other in combinations(sorted(numbers), 2)]


def ties(pairs: Iterable[FacePair]) -> frozenset[Pair]:
    """Whom they are of."""
    return frozenset((each.subject_a, each.subject_b) for each in pairs)


def told(faces: int, pairs: Iterable[FacePair], complete_from: float = 0.9) -> Swept:
    """What is told of a sweep of so many customers, one face each."""
    sweep = Sweep(
        id="swp_1",
        tenant_id="ten_a",
        mode=Mode.LIVE,
        request=SweepRequest(),
        model_id=MODEL,
        complete_from=complete_from,
        faces=faces,
        customers=faces,
        compared=faces * (faces - 1) // 2,
        created_at_ms=1,
    )
    return Swept(sweep, tuple(pairs))


def swept(templates: Vectors) -> Swept:
    """A sweep of these faces, a customer each, that keeps as many pairs as there are faces."""
    faces = len(templates)
    first, second = np.triu_indices(faces, 1)
    scores = (templates @ templates.T).astype(np.float64)[first, second]
    best = np.argpartition(-scores, faces)[:faces]
    places = zip(first[best].tolist(), second[best].tolist(), scores[best].tolist(), strict=True)
    return told(faces, (pair(*each) for each in places), float(scores[best].min()))


def strangers(faces: int, seed: int) -> tuple[People, Vectors]:
    """So many people, as the default pack sees them, and where more come from."""
    people = People(128, seed)
    return people, people.templates(faces)


def best_of(probes: Vectors, gallery: Vectors) -> NDArray[np.float32]:
    """The best score of each probe with anybody there."""
    best: NDArray[np.float32] = (probes @ gallery.T).max(axis=1)
    return best
