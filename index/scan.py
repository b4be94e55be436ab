"""Scores of probes against rows in float32, and how far they can be from the truth."""

from typing import cast

import faiss

from index.entry import Vector, Vectors
from index.vector import NORM_TOLERANCE


def use_threads(count: int) -> None:
    """Let scans that this thread starts use `count` cores."""
    faiss.omp_set_num_threads(count)


def margin(dimension: int) -> float:
    """By how much a float32 dot product of two templates can be off, in any order of summation.

    The classical bound: gamma_d = d u / (1 - d u), with u = 2**-24, times both norms.
    """
    rounding = dimension * 2.0**-24
    return rounding / (1 - rounding) * (1 + NORM_TOLERANCE) ** 2


def scores(probe: Vector, rows: Vectors) -> Vector:
    """The dot product of `probe` with every row, in float32."""
    return cast("Vector", rows @ probe)
