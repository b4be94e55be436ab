"""What a kernel promises: to name every pair that may score enough, and few that do not."""

from collections.abc import Generator, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors

Scores = NDArray[np.float32]

Candidates = tuple[NDArray[np.int32], NDArray[np.int32], Scores]
"""Places in the first and the second block, and the kernel's own scores of those pairs."""

Named = Generator[Candidates, float | None, None]
"""Candidates, part by part; whoever takes them may `send` a higher score to go on from."""


class Kernel(Protocol):
    """Multiplies blocks. `name` says with what, as in "numpy float32"."""

    name: str

    def load(self, vectors: Vectors) -> Any:  # noqa: ANN401 (each kernel has its own)
        """A block where the kernel needs it: (N, D) float32 of unit norm."""
        ...

    def margin(self, first: Any, second: Any) -> float:  # noqa: ANN401
        """By how much its score of a pair of these two can differ from the true one, at most;
        first and second as `load` has returned them.
        """
        ...

    def above(
        self,
        first: Any,  # noqa: ANN401
        second: Any,  # noqa: ANN401
        low: float,
        *,
        is_diagonal: bool = False,
    ) -> Named:
        """Every pair that the kernel scores `low` or more, and few others. Where the tile is
        diagonal, first and second are the same, and a pair is named with the lower place as its
        row; perhaps the other way round as well, and perhaps a face with itself.
        """
        ...


def pieces(rows: int, columns: int, side: int, *, is_diagonal: bool) -> Iterator[tuple[int, int]]:
    """Where the squares of `side` begin that a product of (`rows`, `columns`) is cut into; of a
    diagonal tile none that lies below the diagonal.
    """
    for row in range(0, rows, side):
        for column in range(row if is_diagonal else 0, columns, side):
            yield row, column


def placed(
    found: NDArray[np.intp], scores: Scores, width: int, begin: tuple[int, int]
) -> Candidates:
    """What was found in a piece that begins at `begin` and has rows of `width` numbers: `found` are
    places in it as one run of numbers.
    """
    rows, columns = np.divmod(found, width)
    row, column = begin
    return (rows + row).astype(np.int32), (columns + column).astype(np.int32), scores
