"""Scores as float64 has them, of many pairs at once, the same on every machine."""

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors

Places = NDArray[np.int32]
Truth = NDArray[np.float64]

NUMBERS_AT_ONCE = 1 << 17
SURE = 1e-12
"""A score is off by far less than this."""


def scores(first: Vectors, second: Vectors, rows: Places, columns: Places) -> Truth:
    """The dot product of each pair of places, (P,). Products of float32 are exact in float64, and
    are added by halves, so that the order hangs on no machine: two workers agree to the last bit.
    """
    found = np.empty(len(rows), np.float64)
    step = max(1, NUMBERS_AT_ONCE // first.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        products = first[rows[part]].astype(np.float64)
        products *= second[columns[part]]
        found[part] = _added(products)
    return found


def unsure(truth: Truth, threshold: float) -> list[int]:
    """Which scores lie so near the threshold that rounding may have put them on either side."""
    return np.flatnonzero(np.abs(truth - threshold) <= SURE).tolist()


def _added(products: Truth) -> Truth:
    """The sum of each row, (P,); `products` is used up."""
    count = products.shape[1]
    while count > 1:
        half = count // 2
        products[:, :half] += products[:, count - half : count]
        count -= half
    return products[:, 0]
