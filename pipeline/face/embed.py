"""Chips to templates: one graph call per batch, then unit norm."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.evidence import Pixels, Template
from pipeline.face.batch import Buckets, run_batched
from pipeline.ports import Model

NORM_MIN = 1e-3  # a raw template this short carries no direction


def make_templates(model: Model, chips: Sequence[Pixels], buckets: Buckets) -> list[Template]:
    """One template per `(S, S, 3)` uint8 RGB chip, in order. Raises `device_error`."""
    raw = run_batched(model, "chips", chips, buckets)["embedding"]
    return [Template(model.model_id, vector) for vector in unit_rows(raw)]


def unit_rows(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(N, D)` float32 rows scaled to norm 1. Raises `device_error` for a row that has none.

    Each row is normalised by itself, so its bytes do not depend on its neighbours.
    """
    norms = np.array([np.sqrt(np.dot(row, row)) for row in raw.astype(np.float64)])
    bad = np.flatnonzero(~(norms > NORM_MIN))  # NaN is bad too
    if bad.size > 0:
        raise PipelineError(Code.DEVICE_ERROR, f"row {bad[0]} has norm {norms[bad[0]]}")
    return np.asarray(raw / norms[:, None], np.float32)
