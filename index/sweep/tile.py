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

SAMPLE = 512
"""Rows and columns that are looked at first: so many, or up to twice as many."""

SAMPLE_LEAST = 16
"""So few pairs of a sample say nothing of how many of all pairs score as much."""

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
    tile = _Tile(kernel, first, second, is_diagonal, threshold, keep_below, found_max)
    compared, mates = tile.compared()
    found = tile.found(tile.hope(compared))
    if found is None:
        found = tile.found(-math.inf)
    assert found is not None
    pairs, reach, bound = found
    if len(pairs) == compared:
        complete_from = EVERYTHING
    elif len(pairs) == reach <= found_max:
        complete_from = math.inf
    else:
        complete_from = max(float(pairs.scores[-1]) + truth.SURE, bound)
    if threshold is not None and reach <= found_max:
        complete_from = min(complete_from, threshold)
    return Swept(pairs, complete_from, compared, mates)


@dataclass(frozen=True, slots=True)
class _Tile:
    """Two blocks that meet, by a kernel, and what is asked of them: see `sweep_tile`."""

    kernel: Kernel
    first: Loaded
    second: Loaded
    is_diagonal: bool
    threshold: float | None
    keep_below: int
    found_max: int

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

    def hope(self, compared: int) -> float:
        """A score that twice as many pairs below the threshold as are kept are likely to reach, by
        a sample of them: to begin at it saves naming all that score less. -inf where the pairs, or
        those in the sample, are too few to tell.
        """
        first, second = self.first.block, self.second.block
        rows, columns = (slice(None, None, len(one) // SAMPLE or 1) for one in (first, second))
        scores = first.vectors[rows] @ second.vectors[columns].T
        wanted = first.owners[rows, np.newaxis] != second.owners[columns]
        if self.threshold is not None:
            wanted &= scores < self.threshold
        seen = scores[wanted]
        rank = 2 * self.keep_below * len(seen) // max(1, compared) + SAMPLE_LEAST
        if 4 * rank > len(seen) or not self.keep_below:
            return -math.inf
        return float(np.partition(seen, -rank)[-rank])

    def found(self, hope: float) -> tuple[Pairs, int, float] | None:
        """The pairs that are kept, how many of them reach the threshold, and a score that no pair
        exceeds which was let go though the kernel scored it near the threshold. None where too few
        of those below it score `hope` or more.
        """
        rows, columns, bound = self._held(hope)
        scores = self._truth(rows, columns)
        reach = 0
        if self.threshold is not None:
            self._settle(scores, self.threshold, rows, columns)
            reach = int((scores >= self.threshold).sum())
        is_over = reach > self.found_max
        kept = self.found_max if is_over else reach + self.keep_below
        best = np.lexsort((columns, rows, -scores))[:kept]
        is_short = len(best) < kept or (kept > reach and scores[best[-1]] < hope)
        if hope > -math.inf and is_short and not is_over:
            return None
        return Pairs(rows[best], columns[best], scores[best]), reach, bound

    def _held(self, hope: float) -> tuple[Places, Places, float]:
        """Places of all pairs that may be among those kept, and the bound of `found`."""
        handles = self.first.handle, self.second.handle
        margin = self.kernel.margin(*handles)
        near = math.inf if self.threshold is None else self.threshold - margin
        found = Sieve(self.found_max + 1, margin, self._truth)  # one more shows that it is too many
        below = Sieve(self.keep_below, margin, self._truth, hope - margin)
        named = self.kernel.above(*handles, min(below.low, near), is_diagonal=self.is_diagonal)
        part = _next(named, None)
        while part is not None:
            rows, columns, scores = self._of_strangers(part)
            is_near = scores >= scan.below(near)
            found.add(rows[is_near], columns[is_near], scores[is_near])
            below.add(rows[~is_near], columns[~is_near], scores[~is_near])
            part = _next(named, max(found.low, min(below.low, near)))
        rows, columns = map(np.concatenate, zip(found.held(), below.held(), strict=True))
        return rows, columns, found.low + margin

    def _of_strangers(self, part: Candidates) -> Candidates:
        """Pairs of different customers, each once."""
        rows, columns, scores = part
        wanted = self.first.block.owners[rows] != self.second.block.owners[columns]
        if self.is_diagonal:
            wanted &= rows < columns
        return rows[wanted], columns[wanted], scores[wanted]

    def _truth(self, rows: Places, columns: Places) -> Truth:
        """True scores of pairs, but for the last bits."""
        return truth.scores(self.first.block.vectors, self.second.block.vectors, rows, columns)

    def _settle(self, scores: Truth, threshold: float, rows: Places, columns: Places) -> None:
        """Make certain which of these pairs reach the threshold."""
        for number in truth.unsure(scores, threshold):
            row = self.first.block.vectors[rows[number]]
            scores[number] = scan.exact(row, self.second.block.vectors[columns[number]])


def _next(named: Named, low: float | None) -> Candidates | None:
    """The next part; None when there is none."""
    try:
        return named.send(low)
    except StopIteration:
        return None
