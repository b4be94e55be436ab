"""What may be indexed or searched for: finite float32 vectors of unit norm."""

import numpy as np
from numpy.typing import NDArray

from index.entry import Vector, Vectors
from index.errors import Code, VectorError

NORM_TOLERANCE = 1e-3
"""How far from 1 the norm of a template may be."""


def checked(vector: NDArray[np.floating], dimension: int | None = None) -> Vector:
    """The template as contiguous float32, (D,). Raises VectorError.

    Any dimension will do where none is given.
    """
    if vector.ndim != 1:
        raise VectorError(Code.WRONG_DIMENSION, f"a template has one axis, not {vector.ndim}")
    row: Vector = checked_rows(vector[np.newaxis], dimension)[0]
    return row


def checked_rows(vectors: NDArray[np.floating], dimension: int | None = None) -> Vectors:
    """The templates as contiguous float32, (N, D). Raises VectorError for the first bad one."""
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise VectorError(Code.WRONG_DIMENSION, f"templates are (N, D), not {vectors.shape}")
    if dimension is not None and vectors.shape[1] != dimension:
        detail = f"a template here has {dimension} numbers, not {vectors.shape[1]}"
        raise VectorError(Code.WRONG_DIMENSION, detail)
    if not np.isfinite(vectors).all():
        raise VectorError(Code.NOT_FINITE, "a template holds NaN or infinity")
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    if (np.abs(norms - 1) > NORM_TOLERANCE).any():
        raise VectorError(Code.NOT_UNIT, f"the norm of a template is 1, within {NORM_TOLERANCE}")
    return np.ascontiguousarray(vectors, dtype=np.float32)
