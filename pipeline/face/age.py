"""Estimate age: a distribution over 100 years, its mean and its central interval."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Age, Detection, Pixels
from pipeline.face.batch import Buckets, run_batched
from pipeline.face.mesh import upright_crop
from pipeline.ports import Model

SIDE_PX = 224
CROP_FACTOR = 1.3  # crop side over the longer box side
COVERAGE = 0.8


def estimate_ages(
    model: Model, images: Sequence[Pixels], faces: Sequence[Detection], buckets: Buckets
) -> list[Age]:
    """The age of `faces[i]` in `images[i]`, `(H, W, 3)` uint8 RGB. Raises `device_error`."""
    crops = [
        upright_crop(pixels, face, CROP_FACTOR, SIDE_PX)[0]
        for pixels, face in zip(images, faces, strict=True)
    ]
    return [age_of(row) for row in run_batched(model, "image", crops, buckets)["age_probabilities"]]


def age_of(probabilities: NDArray[np.float32]) -> Age:
    """Mean and central interval of `(100,)` probabilities, class i standing for i + 0.5 years."""
    weights = probabilities.astype(np.float64)
    cumulative = np.cumsum(weights) / weights.sum()
    years = np.arange(weights.size) + 0.5
    tail = (1 - COVERAGE) / 2
    low, high = np.searchsorted(cumulative, [tail, 1 - tail])
    return Age(
        years=float(np.average(years, weights=weights)),
        low_years=float(low),
        high_years=float(min(high, weights.size - 1)) + 1,
        coverage=COVERAGE,
    )
