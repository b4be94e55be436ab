"""What arena and sweeps are measured against: faiss as its own documentation uses it, matrix
products with nothing beside them, and float64 oracles.

Nothing here may be searched while it changes: faiss does not survive that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors

Rows = NDArray[np.int64]
"""`(N, k)`: for each probe the rows most alike, best first; -1 where there are no more."""

Rival = Callable[[Vectors, int], Rows]
"""Searches for probes, `(N, D)`, and returns so many rows for each."""

Join = Callable[[Vectors, float], "Joined"]
"""Of probes, `(N, D)`, with all rows: every pair that scores so much, as far as it can tell."""

BLAS_FROM = 128_000  # numbers in a batch of probes; faiss's own value
HNSW_NEIGHBOURS = 32
HNSW_LOOKED_AT = 128
ORACLE_ROWS = 16_384
JOIN_ROWS = 1_024


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Pairs, `(P,)` each: the number of a probe, and the row that it is alike."""

    probes: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> "Joined":
        """Of pairs found part by part."""
        probes, rows = zip(*parts, strict=True)
        return cls(np.concatenate(probes), np.concatenate(rows))


def version() -> str:
    """Of faiss."""
    return str(faiss.__version__)


def use_threads(count: int) -> int:
    """Have faiss use so many threads of this process from now on; how many it used before."""
    before: int = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    return before


def knn(templates: Vectors, blas_from: int = BLAS_FROM) -> Rival:
    """`faiss.knn` over one block of memory; it multiplies matrices where a batch of probes has so
    many numbers or more.
    """

    def search(probes: Vectors, count: int) -> Rows:
        found: Rows = faiss.knn(probes, templates, count, faiss.METRIC_INNER_PRODUCT)[1]
        return found

    return _with_blas(blas_from, search)


def flat(templates: Vectors) -> Rival:
    """`IndexFlatIP`, which holds a copy."""
    index = faiss.IndexFlatIP(templates.shape[1])
    index.add(templates)
    return _with_blas(BLAS_FROM, _searching(index))


def hnsw(templates: Vectors) -> Rival:
    """`IndexHNSWFlat` of 32 neighbours, which looks at 128 candidates; it holds a copy."""
    index = faiss.IndexHNSWFlat(templates.shape[1], HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = HNSW_LOOKED_AT
    index.add(templates)
    return _searching(index)


def exact(templates: Vectors, probes: Vectors, count: int) -> tuple[Rows, NDArray[np.float64]]:
    """What float64 arithmetic over all rows finds, and the scores; ties by row."""
    wide = probes.astype(np.float64)
    rows = np.full((len(probes), 0), -1, np.int64)
    scores = np.empty((len(probes), 0))
    for start in range(0, len(templates), ORACLE_ROWS):
        block = templates[start : start + ORACLE_ROWS].astype(np.float64)
        found = wide @ block.T
        numbers = np.broadcast_to(np.arange(start, start + len(block)), found.shape)
        scores = np.concatenate([scores, found], axis=1)
        rows = np.concatenate([rows, numbers], axis=1)
        if scores.shape[1] > count:
            best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
            scores = np.take_along_axis(scores, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def range_join(templates: Vectors) -> Join:
    """`range_search` of `IndexFlatIP`, which holds a copy."""
    index = faiss.IndexFlatIP(templates.shape[1])
    index.add(templates)

    def join(probes: Vectors, low: float) -> Joined:
        radius = float(np.nextafter(np.float32(low), np.float32(-np.inf)))
        parts = []
        for start in range(0, len(probes), JOIN_ROWS):
            ends, _, rows = index.range_search(probes[start : start + JOIN_ROWS], radius)
            counts = np.diff(ends.astype(np.int64))
            parts.append((start + np.repeat(np.arange(len(counts)), counts), rows))
        return Joined.of(parts)

    return join


def knn_join(templates: Vectors, neighbours: int) -> Join:
    """Of each probe so many rows by `IndexFlatIP`: who has more that score enough loses some."""
    search = flat(templates)

    def join(probes: Vectors, low: float) -> Joined:
        parts = []
        for start in range(0, len(probes), JOIN_ROWS):
            some = probes[start : start + JOIN_ROWS]
            rows = search(some, neighbours)
            scores = np.einsum("nd,nkd->nk", some, templates[rows])
            own, places = np.nonzero(scores >= low)
            parts.append((start + own, rows[own, places]))
        return Joined.of(parts)

    return join


def plain_join(templates: Vectors, load: Callable[[Vectors], Any]) -> Join:
    """What one would write first: a matrix product, then a look at every score, in the numbers of
    a kernel of `index.sweep` that loads so. What these cannot tell is missed, or wrong.
    """
    rows = _rows(load(templates))

    def join(probes: Vectors, low: float) -> Joined:
        parts = []
        for start in range(0, len(probes), JOIN_ROWS):
            some = _rows(load(probes[start : start + JOIN_ROWS]))
            reach = some @ rows.T >= low
            own, alike = np.nonzero(reach if isinstance(reach, np.ndarray) else reach.numpy())
            parts.append((start + own, alike))
        return Joined.of(parts)

    return join


def product(first: Any, second: Any) -> Callable[[], object]:  # noqa: ANN401 (a kernel's own)
    """Multiplies two blocks as a kernel of `index.sweep` has loaded them, in its own numbers and
    memory: every score is written to one place, again and again, and nothing else is done.
    """
    rows, columns = _rows(first), _rows(second)
    if isinstance(rows, np.ndarray):
        out = np.empty((len(rows), len(columns)), np.float32)
        return lambda: np.matmul(rows, columns.T, out=out)
    scores = rows.new_empty((len(rows), len(columns)))

    def multiply() -> None:
        scores.addmm_(rows, columns.T, beta=0)
        float(scores[0, 0])  # a device answers once it is done

    return multiply


def _rows(loaded: Any) -> Any:  # noqa: ANN401
    """The numbers of a loaded block: an array, or a tensor of torch's."""
    return getattr(loaded, "rows", loaded)


def exact_join(templates: Vectors, low: float) -> tuple[Joined, NDArray[np.float64]]:
    """Every pair of rows, the lower first, that scores `low` or more in float64; and the scores."""
    wide = templates.astype(np.float64)
    parts, scores = [], []
    for start in range(0, len(wide), JOIN_ROWS):
        found = wide[start : start + JOIN_ROWS] @ wide[start:].T
        own, later = np.nonzero(found >= low)
        own, later = own[is_later := own < later], later[is_later]
        parts.append((start + own, start + later))
        scores.append(found[own, later])
    return Joined.of(parts), np.concatenate(scores)


def _with_blas(blas_from: int, search: Rival) -> Rival:
    """`search` under this setting, which belongs to the whole process and is put back after."""

    def set_and_search(probes: Vectors, count: int) -> Rows:
        before = faiss.cvar.distance_compute_blas_threshold
        faiss.cvar.distance_compute_blas_threshold = blas_from
        try:
            return search(probes, count)
        finally:
            faiss.cvar.distance_compute_blas_threshold = before

    return set_and_search


def _searching(index: faiss.Index) -> Rival:
    def search(probes: Vectors, count: int) -> Rows:
        found: Rows = index.search(probes, count)[1]
        return found

    return search
