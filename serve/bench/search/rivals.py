"""Those that are timed beside the arena: raw faiss, its graph index, and usearch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from time import perf_counter
from typing import Any

import numpy as np

from index import yardstick
from index.entry import Vectors
from index.yardstick import Rival, Rows

KNN, BLAS, FLAT = "faiss.knn", "faiss.knn, BLAS", "faiss IndexFlatIP"
GRAPHS = ("faiss HNSW", "usearch")
NOT_INSTALLED = "not installed"
BUILD_THREADS = 2


@dataclass(frozen=True, slots=True)
class Built:
    """A rival that holds a gallery; without `search` it could not be had, and `note` says why.

    `is_single` says whether it makes sense for one probe.
    """

    search: Rival | None
    build_s: float | None = None
    note: str = ""
    is_single: bool = True


def flat_rivals(templates: Vectors) -> dict[str, Built]:
    """Those that look at every row: faiss as it is, and where it is told to multiply matrices for
    batches of any size, and not only from a thousand probes of 128 numbers on.
    """
    return {
        KNN: Built(yardstick.knn(templates)),
        BLAS: Built(yardstick.knn(templates, blas_from=1), is_single=False),
        FLAT: _timed(lambda: yardstick.flat(templates)),
    }


def graph_rivals(templates: Vectors) -> dict[str, Built]:
    """Those that walk a graph, built with two threads."""
    before = yardstick.use_threads(BUILD_THREADS)
    try:
        faiss_graph = _timed(lambda: yardstick.hnsw(templates))
    finally:
        yardstick.use_threads(before)
    return dict(zip(GRAPHS, (faiss_graph, usearch_rival(templates)), strict=True))


def versions() -> Mapping[str, str]:
    """Of the libraries that are compared."""
    try:
        usearch = metadata.version("usearch")
    except metadata.PackageNotFoundError:
        usearch = NOT_INSTALLED
    return {"faiss": yardstick.version(), "numpy": np.__version__, "usearch": usearch}


def usearch_rival(templates: Vectors, module: str = "usearch.index") -> Built:
    """A graph of usearch, where `module` is there to make one."""
    try:
        library: Any = import_module(module)
    except ImportError:
        return Built(None, note=NOT_INSTALLED)

    def build() -> Rival:
        index = library.Index(ndim=templates.shape[1], metric="ip", dtype="f32")
        index.add(np.arange(len(templates)), templates, threads=BUILD_THREADS)

        def search(probes: Vectors, count: int) -> Rows:
            found = index.search(probes, count, threads=1)
            rows: Rows = found.keys.reshape(len(probes), -1).astype(np.int64)
            return rows

        return search

    return _timed(build)


def _timed(build: Callable[[], Rival]) -> Built:
    begun_s = perf_counter()
    search = build()
    return Built(search, build_s=perf_counter() - begun_s)
