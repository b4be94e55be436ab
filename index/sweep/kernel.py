"""What a kernel promises: to name every pair that may score enough, and few that do not."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors

Candidates = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
"""Places in the first and the second block, and the kernel's own scores of those pairs."""


class Kernel(Protocol):
    """Multiplies blocks. `name` says with what, as in "numpy float32"."""

    name: str

    def margin(self, dimension: int) -> float:
        """By how much its score of two templates can differ from float64 arithmetic, at most."""
        ...

    def load(self, vectors: Vectors) -> Any:  # noqa: ANN401 (each kernel has its own)
        """A block where the kernel needs it: (N, D) float32 of unit norm."""
        ...

    def above(self, first: Any, second: Any, low: float) -> Iterator[Candidates]:  # noqa: ANN401
        """Every pair that the kernel scores `low` or more, part by part; first and second as
        `load` has returned them. A generator: `send` may be given a higher `low` from then on.
        """
        ...
