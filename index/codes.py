"""Rows once more, in a byte a number: a first look at a full chunk that reads a quarter of it.

What rows have in common, their mean, is taken off; the rest is scaled and rounded, and so is a
probe. The products of codes are whole numbers, so faiss adds them exactly. How much rounding took
away is known, by its norm; the inequality of Cauchy and Schwarz makes of it a bound on how far a
row's score by its code can be from its true score. Whatever lies under a floor by more than this
`slack` needs no second look. It holds for every row, and leaves nothing to chance.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors
from index.vector import NORM_TOLERANCE

HIGHEST = 127
ZERO = 128
BLOCK_ROWS = 4_096
NORM_MAX = 1 + NORM_TOLERANCE

Wide = NDArray[np.float64]


class Codes:
    """The codes of rows that stay as they are, but for those that are wiped. The index of faiss
    below is never added to again, so that it may be searched in any thread.

    `error` is the bound on the error of a float32 score of these rows.
    """

    def __init__(self, rows: Vectors, error: float) -> None:
        count, dimension = rows.shape
        kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
        self._index = faiss.IndexScalarQuantizer(dimension, kind, faiss.METRIC_INNER_PRODUCT)
        self._error = 3 * error
        self._mean: Wide = rows.mean(axis=0, dtype=np.float64)
        blocks = [rows[start : start + BLOCK_ROWS] for start in range(0, count, BLOCK_ROWS)]
        highest = max(float(np.abs(self._rest(block)).max()) for block in blocks)
        self._scale = HIGHEST / max(highest, 1e-9)
        self._lost = self._norm = 0.0
        for block in blocks:
            rest = self._rest(block)
            rounded = np.rint(rest * self._scale)
            self._index.add(rounded.astype(np.float32))
            self._lost = max(self._lost, highest_norm(rest - rounded / self._scale))
            self._norm = max(self._norm, highest_norm(rounded / self._scale))
        self._bytes: NDArray[np.uint8] = faiss.rev_swig_ptr(
            self._index.codes.data(), count * dimension
        ).reshape(count, dimension)

    @property
    def size_bytes(self) -> int:
        """What they take in memory."""
        return self._bytes.nbytes

    def best(self, probes: Vectors, keep: int) -> tuple[NDArray[np.int64], Wide, Wide]:
        """The places (P, K) of the rows whose codes score best, best first, their scores (P, K)
        and for each probe the slack (P,). K is `keep`, or all rows where they are fewer.
        """
        wide = probes.astype(np.float64)
        scales = HIGHEST / np.abs(wide).max(axis=1, keepdims=True)
        rounded = np.rint(wide * scales)
        lost = np.linalg.norm(wide - rounded / scales, axis=1)
        coded, places = self._index.search(rounded.astype(np.float32), min(keep, len(self._bytes)))
        scores = coded.astype(np.float64) / (self._scale * scales) + (wide @ self._mean)[:, None]
        return places, scores, self._lost * NORM_MAX + self._norm * lost + self._error

    def wipe(self, rows: NDArray[np.intp]) -> None:
        """Leave nothing of these rows."""
        self._bytes[rows] = ZERO

    def _rest(self, rows: Vectors) -> Wide:
        """Rows less what they have in common; nothing of those that were wiped."""
        rest: Wide = rows - self._mean
        rest[~rows.any(axis=1)] = 0
        return rest


def highest_norm(rows: Wide) -> float:
    """The norm of the longest row; 0 where there is none."""
    return float(np.linalg.norm(rows, axis=1).max(initial=0.0))
