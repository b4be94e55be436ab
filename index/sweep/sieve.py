"""The best of what a kernel names, in bounded memory, though it names them in no order.

A kernel's score is off by `margin` at most. So whoever truly is among the best `keep` has a
kernel's score of the keep-th best less two margins. That cut rises while pairs come in. Where too
many lie above it, as many faces being alike, true scores decide.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index import scan
from index.sweep.kernel import Candidates, Scores
from index.sweep.truth import Places, Truth

SPARE = 1 << 16
"""So many pairs beyond twice those kept are held before some are let go."""


class Sieve:
    """Keeps at least the best `keep` of the pairs added, by their true scores, which `truth`
    tells, and ties by place. Between additions it holds twice `keep` pairs and SPARE at most.
    """

    def __init__(
        self,
        keep: int,
        margin: float,
        truth: Callable[[Places, Places], Truth],
        low: float = -np.inf,
    ) -> None:
        self._keep, self._margin, self._truth = keep, margin, truth
        self._room = 2 * keep + SPARE
        self.low = low if keep else np.inf
        """Pairs that a kernel scores less are wanted no more."""
        self._rows: Places = np.empty(0, np.int32)
        self._columns: Places = np.empty(0, np.int32)
        self._scores: Scores = np.empty(0, np.float32)
        self._added: list[Candidates] = []
        self.size = 0
        """Pairs held."""

    def add(self, rows: Places, columns: Places, scores: Scores) -> None:
        """Pairs, and the kernel's scores of them."""
        if not self._keep:
            return
        self._added.append((rows, columns, scores))
        self.size += len(rows)
        if self.size > self._room:
            self._shrink()

    def held(self) -> tuple[Places, Places]:
        """The pairs, in no order: the best, and perhaps others."""
        if self.size > self._keep:
            self._shrink()
        self._gather()
        return self._rows, self._columns

    def _gather(self) -> None:
        parts = [(self._rows, self._columns, self._scores), *self._added]
        self._rows, self._columns, self._scores = map(np.concatenate, zip(*parts, strict=True))
        self._added.clear()

    def _shrink(self) -> None:
        """Let go of pairs that cannot be among the best, until there is room for as many again."""
        self._gather()
        lowest = float(np.partition(self._scores, -self._keep)[-self._keep])
        self.low = max(self.low, lowest - 2 * self._margin)
        self._retain(self._scores >= scan.below(self.low))
        if self.size > self._keep + SPARE // 4 * 3:
            self._decide()

    def _decide(self) -> None:
        """Keep as many as are asked for, by their true scores: a pair that a kernel scores less
        than the last of them less one margin is truly no better.
        """
        truth = self._truth(self._rows, self._columns)
        best = np.lexsort((self._columns, self._rows, -truth))[: self._keep]
        self.low = max(self.low, float(truth[best].min()) - self._margin)
        self._retain(best)

    def _retain(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> None:
        self._rows, self._columns = self._rows[which], self._columns[which]
        self._scores = self._scores[which]
        self.size = len(self._scores)
