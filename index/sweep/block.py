"""Part of a gallery, and what two of them were found to have in common."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """N faces. `vectors` (N, D) are float32 of unit norm; `owners` (N,) are numbers of customers,
    int64: the same customer has the same number in every block of a sweep.
    """

    vectors: Vectors = field(repr=False)
    owners: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.owners)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of faces of different customers. `rows` and `columns` (P,) are int32 places in the two
    blocks of a tile; `scores` (P,) their dot products as float64 arithmetic has them.
    """

    rows: NDArray[np.int32] = field(repr=False)
    columns: NDArray[np.int32] = field(repr=False)
    scores: NDArray[np.float64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one tile came to.

    `pairs` are all that score the threshold or more, and of those below it the best: every pair
    that scores `complete_from` or more is among them (`complete_from` <= threshold, unless more
    pairs reach that than a tile may come to). `compared` counts the pairs of different customers in
    the tile, `mates` those of one customer.
    """

    pairs: Pairs
    complete_from: float
    compared: int
    mates: int
