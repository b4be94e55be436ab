"""One tile: every pair of two blocks that scores enough, by true scores, and the best of the rest.

A kernel names candidates down to the threshold less its margin, so it misses none; they are scored
again in float64, and at the threshold itself without any rounding before the last. What comes out
is the same whatever kernel was asked, to the last bit.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from index import scan
from index.sweep import truth
from index.sweep.block import Block, Pairs, Swept
from index.sweep.kernel import Candidates, Kernel, Named
from index.sweep.sieve import Sieve
from index.sweep.truth import Places, Truth

FOUND_MAX = 1 << 21
"""Pairs at the threshold that one tile may come to. A threshold that more reach is none."""

EVERYTHING = -1.0
"""What a tile is complete from of which no pair was left out."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A block, and what a kernel has made of it."""

    block: Block
    handle: Any = field(repr=False)


def load(kernel: Kernel, block: Block) -> Loaded:
    """A block made ready for a kernel; good for any number of tiles."""
    return Loaded(block, kernel.load(block.vectors))


def sweep_tile(  # noqa: PLR0913 (each is one thing that is asked of a tile)
    kernel: Kernel,
    first: Loaded,
    second: Loaded,
    *,
    threshold: float | None,
    keep_below: int,
    is_diagonal: bool,
    found_max: int = FOUND_MAX,
) -> Swept:
    """All pairs of different customers that score `threshold` or more, and of those that score
    less the best `keep_below`; of all, where there is no threshold. Best first, ties by place.
    `is_diagonal`: first and second are one block.

    A tile in which more than `found_max` reach the threshold keeps the best `found_max` alone, and
    is complete only from a score above the threshold.
    """
    tile = _Tile(kernel, first, second, is_diagonal)
    rows, columns, bound = tile.held(threshold, keep_below, found_max)
    scores = tile.truth(rows, columns)
    if threshold is not None:
        tile.settle(scores, threshold, rows, columns)
    compared, mates = tile.compared()
    reach = 0 if threshold is None else int((scores >= threshold).sum())
    kept = reach + keep_below if reach <= found_max else found_max
    best = np.lexsort((columns, rows, -scores))[:kept]
    if len(best) == compared:
        complete_from = EVERYTHING
    elif kept == reach:
        complete_from = math.inf
    else:
        complete_from = max(float(scores[best[-1]]) + truth.SURE, bound)
    if threshold is not None and reach <= found_max:
        complete_from = min(complete_from, threshold)
    pairs = Pairs(rows[best], columns[best], scores[best])
    return Swept(pairs, complete_from, compared, mates)


@dataclass(frozen=True, slots=True)
class _Tile:
    """Two blocks that meet, by a kernel."""

    kernel: Kernel
    first: Loaded
    second: Loaded
    is_diagonal: bool

    def held(
        self, threshold: float | None, keep_below: int, found_max: int
    ) -> tuple[Places, Places, float]:
        """Places of all pairs that may be among those kept; and a score that no pair exceeds which
        was let go though the kernel scored it near the threshold.
        """
        handles = self.first.handle, self.second.handle
        margin = self.kernel.margin(*handles)
        near = math.inf if threshold is None else threshold - margin
        found = Sieve(found_max + 1, margin, self.truth)  # one more shows that they are too many
        below = Sieve(keep_below, margin, self.truth)
        low = min(below.low, near)
        named = self.kernel.above(*handles, low, is_diagonal=self.is_diagonal)
        part = _next(named, None)
        while part is not None:
            rows, columns, scores = self._of_strangers(part)
            is_near = scores >= scan.below(near)
            found.add(rows[is_near], columns[is_near], scores[is_near])
            below.add(rows[~is_near], columns[~is_near], scores[~is_near])
            part = _next(named, max(found.low, min(below.low, near)))
        rows, columns = map(np.concatenate, zip(found.held(), below.held(), strict=True))
        return rows, columns, found.low + margin

    def truth(self, rows: Places, columns: Places) -> Truth:
        """True scores of pairs, but for the last bits."""
        return truth.scores(self.first.block.vectors, self.second.block.vectors, rows, columns)

    def settle(self, scores: Truth, threshold: float, rows: Places, columns: Places) -> None:
        """Make certain which of these pairs reach the threshold."""
        for number in truth.unsure(scores, threshold):
            row = self.first.block.vectors[rows[number]]
            scores[number] = scan.exact(row, self.second.block.vectors[columns[number]])

    def compared(self) -> tuple[int, int]:
        """How many pairs of different customers there are, and how many of one customer."""
        owners, faces = np.unique(self.first.block.owners, return_counts=True)
        if self.is_diagonal:
            size, mates = len(self.first.block), int((faces * (faces - 1) // 2).sum())
            return size * (size - 1) // 2 - mates, mates
        others, theirs = np.unique(self.second.block.owners, return_counts=True)
        _, mine, same = np.intersect1d(owners, others, assume_unique=True, return_indices=True)
        mates = int((faces[mine] * theirs[same]).sum())
        return len(self.first.block) * len(self.second.block) - mates, mates

    def _of_strangers(self, part: Candidates) -> Candidates:
        """Pairs of different customers, each once."""
        rows, columns, scores = part
        wanted = self.first.block.owners[rows] != self.second.block.owners[columns]
        if self.is_diagonal:
            wanted &= rows < columns
        return rows[wanted], columns[wanted], scores[wanted]


def _next(named: Named, low: float | None) -> Candidates | None:
    """The next part; None when there is none."""
    try:
        return named.send(low)
    except StopIteration:
        return None
