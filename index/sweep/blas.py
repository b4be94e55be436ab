"""Tiles by numpy: a matrix product in float32, piece by piece, each looked at while it is hot.

Scores that fit the cache cost little to look through once they are made: one comparison of all,
and a search of its bits.
"""

import numpy as np

from index import scan
from index.entry import Vectors
from index.sweep.kernel import Named, Scores, pieces, placed

PIECE = 512
"""Rows and columns of a piece: 1 MiB of scores, which stays in the second-level cache of a core."""


class BlasKernel:
    """float32 on processors. May be used by several threads at once."""

    name = "numpy float32"

    def load(self, vectors: Vectors) -> Vectors:
        """See `Kernel`."""
        return np.ascontiguousarray(vectors, np.float32)

    def margin(self, first: Vectors, second: Vectors) -> float:  # noqa: ARG002
        """See `Kernel`: rounding alone."""
        return scan.margin(first.shape[1])

    def above(
        self, first: Vectors, second: Vectors, low: float, *, is_diagonal: bool = False
    ) -> Named:
        """See `Kernel`."""
        room: Scores = np.empty(PIECE * PIECE, np.float32)
        reach = np.empty(PIECE * PIECE, np.bool_)
        for row, column in pieces(len(first), len(second), PIECE, is_diagonal=is_diagonal):
            rows, columns = first[row : row + PIECE], second[column : column + PIECE]
            size, width = len(rows) * len(columns), len(columns)
            np.matmul(rows, columns.T, out=room[:size].reshape(-1, width))
            np.greater_equal(room[:size], scan.below(low), out=reach[:size])
            found = np.flatnonzero(reach[:size])
            if len(found):
                sent = yield placed(found, room[found], width, (row, column))
                low = low if sent is None else sent
