"""What the arena is measured against: faiss as its own documentation uses it, and a float64 oracle.

Nothing here may be searched while it changes: faiss does not survive that.
"""

from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors

Rows = NDArray[np.int64]
"""`(N, k)`: for each probe the rows most alike, best first; -1 where there are no more."""

Rival = Callable[[Vectors, int], Rows]
"""Searches for probes, `(N, D)`, and returns so many rows for each."""

BLAS_FROM = 128_000  # numbers in a batch of probes; faiss's own value
HNSW_NEIGHBOURS = 32
HNSW_LOOKED_AT = 128
ORACLE_ROWS = 16_384


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
