"""A score as it is told beside a decision: rounded, and never across the line it was judged by."""

import math

DIGITS = 2  # of everything on the wire


def told_score(score: float, threshold: float, *, is_passed: bool, digits: int = DIGITS) -> float:
    """`score`, 0 to 1, to the nearest of so many digits on the side of `threshold` that it is on.

    So it is `threshold` or more exactly where it passed: what failed by a hair is told a step
    below, and NaN, which passes nothing, as 0.
    """
    if math.isnan(score):
        return 0.0
    nearest = round(score, digits)
    if is_passed:
        return max(nearest, threshold)
    return nearest if nearest < threshold else round(threshold - 10.0**-digits, digits)
