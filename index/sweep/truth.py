"""Scores as float64 has them, of many pairs at once, the same on every machine."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors
from index.sweep.kernel import Scores

Places = NDArray[np.int32]
Truth = NDArray[np.float64]

NUMBERS_AT_ONCE = 1 << 16
SURE = 1e-12
"""A score is off by far less than this."""


def scores(first: Vectors, second: Vectors, rows: Places, columns: Places) -> Truth:
    """The dot product of each pair of places, (P,). Products of float32 are exact in float64, and
    are added by halves, so that the order hangs on no machine: two workers agree to the last bit.
    """
    found = np.empty(len(rows), np.float64)
    for part in _parts(len(rows), first.shape[1]):
        products = first.take(rows[part], axis=0).astype(np.float64)
        products *= second.take(columns[part], axis=0)
        found[part] = _added(products)
    return found


def rough(first: Vectors, second: Vectors, rows: Places, columns: Places) -> Scores:
    """The same in float32, off by `scan.margin` at most, in a quarter of the time."""
    found = np.empty(len(rows), np.float32)
    for part in _parts(len(rows), first.shape[1]):
        mine, theirs = first.take(rows[part], axis=0), second.take(columns[part], axis=0)
        np.einsum("pd,pd->p", mine, theirs, out=found[part])
    return found


def unsure(truth: Truth, threshold: float) -> list[int]:
    """Which scores lie so near the threshold that rounding may have put them on either side."""
    return np.flatnonzero(np.abs(truth - threshold) <= SURE).tolist()


def _parts(count: int, dimension: int) -> Iterator[slice]:
    """So many pairs at a time that what is made of them stays in the cache."""
    step = max(1, NUMBERS_AT_ONCE // dimension)
    yield from (slice(start, start + step) for start in range(0, count, step))


def _added(products: Truth) -> Truth:
    """The sum of each row, (P,); `products` is used up."""
    count = products.shape[1]
    while count > 1:
        half = count // 2
        products[:, :half] += products[:, count - half : count]
        count -= half
    return products[:, 0]
