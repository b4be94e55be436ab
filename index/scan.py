"""Scores of probes against rows: in float32, fast, with a bound on the error; and the truth."""

import math
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from index.codes import Codes
from index.entry import Vector, Vectors
from index.vector import NORM_TOLERANCE

BATCH_MIN = 16
"""From so many probes on, a matrix product beats a dot product for each pair."""

KEEP_SCREENED = 128
"""So many rows of a chunk are looked at again after their codes, or four for each one kept: then
the kept are almost always certain to be the best. Where they are not, all rows are scored.
"""

BLOCK_NUMBERS = 1 << 19
"""So many numbers of rows, 2 MiB, stay in the cache while every probe meets them."""

# faiss takes the matrix product only from 128,000 numbers in a batch on; 64 probes of 128 would
# be scanned one by one, five times slower. This holds for the whole process.
faiss.cvar.distance_compute_blas_threshold = 1


def use_threads(count: int) -> None:
    """Let the batches that this very thread searches use `count` cores: OpenMP keeps the number
    by thread. A single probe always uses one.
    """
    faiss.omp_set_num_threads(count)


def margin(dimension: int) -> float:
    """By how much a float32 dot product of two templates can be off, in any order of summation.

    The classical bound: gamma_n = n u / (1 - n u), with u = 2**-24, times both norms; n is the
    dimension, and two for good measure.
    """
    rounding = (dimension + 2) * 2.0**-24
    return rounding / (1 - rounding) * (1 + NORM_TOLERANCE) ** 2


def below(score: float) -> np.float32:
    """A float32 that is at most `score`: what compares with it loses nothing to rounding."""
    return np.float32(np.nextafter(np.float32(score), np.float32(-np.inf)))


def exact(row: Vector, probe: Vector) -> float:
    """The dot product, rounded once: a product of float32 is exact in float64, and `fsum` adds
    exactly. So it is the same on every machine.
    """
    return math.fsum((row.astype(np.float64) * probe).tolist())


NOWHERE, NO_SCORES = np.empty(0, np.int64), np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Best:
    """For each of P probes the places of some rows and their `scores`, in no order. `tops` (P,)
    are the highest; a row that is not among them scores `bounds` (P,) at most.
    """

    places: list[NDArray[np.int64]]
    scores: list[NDArray[np.float32]]
    tops: NDArray[np.float32]
    bounds: NDArray[np.float32]

    def put(
        self, number: int, places: NDArray[np.int64], scores: NDArray[np.float32], cut: np.float32
    ) -> None:
        """Let these be the rows of a probe: all that score `cut` or more."""
        self.places[number], self.scores[number] = places, scores
        self.tops[number] = scores.max(initial=-np.inf)
        self.bounds[number] = np.nextafter(cut, np.float32(-np.inf))


def best(
    probes: Vectors,
    rows: Vectors,
    cuts: NDArray[np.float32],
    keep: int,
    codes: Codes | None = None,
) -> Best:
    """The rows most like each probe: `keep` of them, or all that score `cuts` (P,) or more.

    `codes`, if any, are of all these rows.
    """
    if len(probes) >= BATCH_MIN:
        return _multiplied(probes, rows, keep)
    found = Best([NOWHERE] * len(cuts), [NO_SCORES] * len(cuts), cuts.copy(), cuts.copy())
    left = np.arange(len(probes))
    if codes is not None:
        left = _screened(probes, rows, cuts, keep, codes, found)
    every = scores(probes[left], rows)
    for number, mine in zip(left.tolist(), every, strict=True):
        places = np.flatnonzero(mine >= cuts[number])
        crowded = len(places) > keep
        if crowded:
            places = places[np.argpartition(mine[places], -keep)[-keep:]]
        found.put(number, places, mine[places], cuts[number])
        if crowded:
            found.bounds[number] = mine[places].min()
    return found


def _multiplied(probes: Vectors, rows: Vectors, keep: int) -> Best:
    """A matrix product, and the `keep` best of it."""
    kept = min(keep, len(rows))
    found, places = faiss.knn(probes, rows, kept, metric=faiss.METRIC_INNER_PRODUCT)
    bounds = found[:, -1].copy()
    if kept == len(rows):
        bounds[:] = -np.inf
    return Best(list(places), list(found), found[:, 0].copy(), bounds)


def _screened(  # noqa: PLR0913, PLR0917 (what `best` was asked, and where it goes)
    probes: Vectors,
    rows: Vectors,
    cuts: NDArray[np.float32],
    keep: int,
    codes: Codes,
    found: Best,
) -> NDArray[np.int64]:
    """Look at the codes first, then at those rows alone that they do not rule out. Where these are
    many, the `keep` best do. Returns the probes for which that is not certain.
    """
    left = []
    screened = zip(probes, *codes.best(probes, max(KEEP_SCREENED, 4 * keep)), cuts, strict=True)
    for number, (probe, places, coded, slack, floor) in enumerate(screened):
        near, cut = coded + slack >= floor, floor
        is_crowded = near.all() and len(near) < len(rows)
        mine = places[near]
        [score] = scores(probe[np.newaxis], rows[mine])
        if is_crowded:
            cut = np.partition(score, -keep)[-keep] if keep < len(score) else cut
            if coded[-1] + slack >= cut:  # somebody who was not looked at may be as good
                left.append(number)
                continue
        reach = score >= cut
        found.put(number, mine[reach], score[reach], cut)
    return np.array(left, np.int64)


def scores(probes: Vectors, rows: Vectors) -> Vectors:
    """(P, N): every probe's dot product with every row, in float32. One pass over memory, one
    core.
    """
    found = np.empty((len(probes), len(rows)), np.float32)
    dimension = rows.shape[1]
    # Each call lets go of the interpreter, and waits for it after: one call where one will do.
    block = max(1, len(rows) if len(probes) == 1 else BLOCK_NUMBERS // dimension)
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        for number, probe in enumerate(probes):
            part = found[number, start : start + block]
            ends = map(faiss.swig_ptr, (part, probe, some))
            faiss.fvec_inner_products_ny(*ends, dimension, len(some))  # type: ignore[attr-defined]
    return found
