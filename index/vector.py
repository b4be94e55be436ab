"""What may be indexed or searched for: finite vectors of unit norm."""

import numpy as np
from numpy.typing import NDArray

from index.entry import Vector, Vectors
from index.errors import Code, VectorError

NORM_TOLERANCE = 1e-3
"""How far from 1 the norm of a template may be."""

SQUARE_MIN, SQUARE_MAX = (1 - NORM_TOLERANCE) ** 2, (1 + NORM_TOLERANCE) ** 2


def checked(vector: NDArray[np.floating], dimension: int | None = None) -> Vector:
    """The template as contiguous float32, (D,). Raises VectorError.

    Any dimension will do where none is given.
    """
    if vector.ndim != 1 or not len(vector):
        raise VectorError(Code.WRONG_DIMENSION, f"a template is (D,), not {vector.shape}")
    if dimension is not None and len(vector) != dimension:
        detail = f"a template here has {dimension} numbers, not {len(vector)}"
        raise VectorError(Code.WRONG_DIMENSION, detail)
    wide = vector.astype(np.float64)
    if not SQUARE_MIN <= wide.dot(wide) <= SQUARE_MAX:  # nor is NaN between them
        if not np.isfinite(wide).all():
            raise VectorError(Code.NOT_FINITE, "a template holds NaN or infinity")
        raise VectorError(Code.NOT_UNIT, f"the norm of a template is 1, within {NORM_TOLERANCE}")
    return np.ascontiguousarray(vector, dtype=np.float32)


def checked_rows(vectors: NDArray[np.floating], dimension: int) -> Vectors:
    """The templates as contiguous float32, (N, D). Raises VectorError for the first bad one."""
    if vectors.ndim != 2:
        raise VectorError(Code.WRONG_DIMENSION, f"templates are (N, D), not {vectors.shape}")
    for vector in vectors:
        checked(vector, dimension)
    return np.ascontiguousarray(vectors, dtype=np.float32)
