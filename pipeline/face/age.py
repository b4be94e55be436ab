"""Estimate age: a distribution over 100 years, its mean and its central interval."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Age, Detection, Pixels
from pipeline.face.mesh import roll_rad
from pipeline.image.geometry import rotated_square_crop
from pipeline.ports import Model

SIDE_PX = 224
CROP_FACTOR = 1.3  # crop side over the longer box side
COVERAGE = 0.8
BATCH_MAX = 8


def estimate_ages(model: Model, images: Sequence[Pixels], faces: Sequence[Detection]) -> list[Age]:
    """The age of `faces[i]` in `images[i]`, `(H, W, 3)` uint8 RGB. Raises `device_error`."""
    ages: list[Age] = []
    for start in range(0, len(images), BATCH_MAX):
        stop = start + BATCH_MAX
        crops = [
            _crop(pixels, face)
            for pixels, face in zip(images[start:stop], faces[start:stop], strict=True)
        ]
        outputs = model.run({"image": np.stack(crops)})
        ages.extend(age_of(row) for row in outputs["age_probabilities"])
    return ages


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


def _crop(pixels: Pixels, face: Detection) -> Pixels:
    box = face.box
    centre = ((box.left_px + box.right_px) / 2, (box.top_px + box.bottom_px) / 2)
    size_px = CROP_FACTOR * max(box.width_px, box.height_px)
    return rotated_square_crop(pixels, centre, size_px, roll_rad(face), SIDE_PX)[0]
