"""By how much a score may be off that was not made of the templates themselves.

A kernel may narrow templates, x to x^ and y to y^, and adds their products in float32. What was
lost by narrowing is known: r = |x - x^|, measured in float64. By the inequality of Cauchy and
Schwarz

    |<x, y> - <x^, y^>| = |<x - x^, y> + <x^, y - y^>| <= r_x |y| + |x^| r_y

and whatever hardware adds in float32, in any order, is off by a small multiple of `scan.margin`.
So whoever looks at all pairs down to a threshold less this bound has missed none at or above it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from index import scan
from index.codes import NORM_MAX, highest_norm
from index.entry import Vectors

ROWS_AT_ONCE = 4_096
MEASURED = 1 + 2.0**-40
"""A norm measured in float64 is too small by less than this."""

LOOSE = 4.0
"""Units that multiply matrices align and cut the numbers they add, where `scan.margin` is about
rounding to the nearest: each addition is off by at most a unit in the last place, not by half of
one, and by twice that where the partial sums of one step are cut one by one.
"""

BFLOAT16_ROUNDING = 2.0**-8
"""A number rounded to bfloat16 is off by at most this share of it."""


class Loss(NamedTuple):
    """The most that any row of a block has lost by narrowing, and the longest narrowed row."""

    lost: float
    norm: float

    @classmethod
    def of(cls, rows: Vectors, narrowed: Callable[[Vectors], Vectors]) -> "Loss":
        """Of (N, D) rows, each of which `narrowed` makes what a kernel has of it, as float32."""
        lost = norm = 0.0
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            wide = narrowed(part).astype(np.float64)
            lost, norm = max(lost, highest_norm(part - wide)), max(norm, highest_norm(wide))
        return cls(lost * MEASURED, norm * MEASURED)


def margin(first: Loss, second: Loss, dimension: int, rounding: float = 0.0) -> float:
    """The bound for every pair of two blocks. `rounding` is the share of a score that goes where
    scores are narrowed as well.
    """
    narrowed = first.lost * NORM_MAX + first.norm * second.lost
    added = LOOSE * scan.margin(dimension) * first.norm * second.norm
    return narrowed + added + rounding * (NORM_MAX**2 + narrowed + added)
