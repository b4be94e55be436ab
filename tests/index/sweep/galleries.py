"""Galleries that are swept, the kernels on hand, and what looking at every pair would find."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from index import scan
from index.entry import Vectors
from index.sweep.blas import BlasKernel
from index.sweep.block import Block, Swept
from index.sweep.choose import blas_threads
from index.sweep.grid import Tile, all_pairs
from index.sweep.kernel import Kernel
from index.sweep.tile import Loaded, load, sweep_tile
from index.sweep.torch_tiles import CudaKernel, TorchKernel

KERNELS: dict[str, Callable[[], Kernel]] = {
    "numpy float32": BlasKernel,
    "torch bfloat16": TorchKernel,
    "torch float32": lambda: TorchKernel(torch.float32),
    "as on a GPU": lambda: CudaKernel("cpu"),
}
ROWS_AT_ONCE = 1_000

Triples = list[tuple[int, int, float]]


@dataclass(frozen=True, slots=True)
class Gallery:
    """(N, D) faces and whose they are."""

    vectors: Vectors = field(repr=False)
    owners: NDArray[np.int64] = field(repr=False)

    def cut(self, sizes: Sequence[int]) -> list[Block]:
        """Blocks of these sizes, one after another."""
        ends = np.cumsum(sizes)
        return [
            Block(self.vectors[end - size : end], self.owners[end - size : end])
            for size, end in zip(sizes, ends, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Oracle:
    """All pairs of different owners that score `low` or more, by float64 arithmetic: `first` <
    `second` are places in the gallery; sorted by these.
    """

    gallery: Gallery
    low: float
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, gallery: Gallery, low: float) -> "Oracle":
        """By looking at every pair."""
        parts = []
        wide = gallery.vectors.astype(np.float64)
        for start in range(0, len(wide), ROWS_AT_ONCE):
            scores = wide[start : start + ROWS_AT_ONCE] @ wide[start:].T
            row, column = np.nonzero(scores >= low - 1e-9)
            wanted = row < column
            wanted &= gallery.owners[start + row] != gallery.owners[start + column]
            row, column = row[wanted], column[wanted]
            parts.append((row + start, column + start, scores[row, column]))
        return cls(gallery, low, *map(np.concatenate, zip(*parts, strict=True)))

    def at(self, threshold: float) -> NDArray[np.int64]:
        """(P, 2): places of the pairs that score so much, certain at the threshold itself."""
        assert threshold >= self.low
        reach = self.scores >= threshold
        for number in np.flatnonzero(np.abs(self.scores - threshold) < 1e-10):
            row = self.gallery.vectors[self.first[number]]
            reach[number] = scan.exact(row, self.gallery.vectors[self.second[number]]) >= threshold
        return np.stack((self.first[reach], self.second[reach]), axis=1)


def swept(
    kernel: Kernel,
    blocks: Sequence[Block],
    tiles: Iterable[Tile] | None = None,
    *,
    threshold: float | None,
    keep_below: int = 0,
) -> list[tuple[Tile, Swept]]:
    """What each tile of a grid came to, of all pairs if none is given."""
    loaded: list[Loaded] = [load(kernel, block) for block in blocks]
    found = []
    with blas_threads(1):  # two cores are shared with whatever else runs
        for tile in all_pairs(len(blocks)) if tiles is None else tiles:
            both = loaded[tile.row], loaded[tile.column]
            on_it = tile.is_diagonal
            one = sweep_tile(
                kernel, *both, threshold=threshold, keep_below=keep_below, is_diagonal=on_it
            )
            found.append((tile, one))
    return found


def places(
    blocks: Sequence[Block], found: Iterable[tuple[Tile, Swept]], low: float = -np.inf
) -> NDArray[np.int64]:
    """(P, 2): the pairs of these tiles that score `low` or more as places in the gallery, sorted;
    one that was told twice is there twice.
    """
    begins = np.cumsum([0, *map(len, blocks)])
    parts = [np.empty((0, 2), np.int64)]
    for tile, each in found:
        reach = each.pairs.scores >= low
        rows = each.pairs.rows[reach] + begins[tile.row]
        parts.append(np.stack((rows, each.pairs.columns[reach] + begins[tile.column]), axis=1))
    every = np.concatenate(parts)
    return every[np.lexsort((every[:, 1], every[:, 0]))]


def told(each: Swept) -> Triples:
    """The pairs of one tile, as they stand."""
    columns = each.pairs.rows, each.pairs.columns, each.pairs.scores
    return list(zip(*(column.tolist() for column in columns), strict=True))
