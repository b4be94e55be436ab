"""Light and sharpness of a face, from the luma of its aligned chip.

The chip is what the embedder sees: 150 px, about 100 of them face. Measuring there makes the
result independent of the size of the photo: a blur that the chip does not show harms nothing. The
region is the inner face, brows to chin and cheek to cheek, which holds little hair and background
for every head that is not turned far; the standard has the hull of the landmarks instead.

Luma is the weighted sum of the sRGB values as they are. The standard counts in linear light,
where its dark range [0, 25] reaches up to 89 in sRGB: that calls 85 % of a well-lit dark face
under-exposed (measured), and would refuse people for their skin. In luma the same face has 4 %.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Measure, Pixels, Quality
from pipeline.image.rating import rated, sigmoid, unassessed

Luma = NDArray[np.float32]  # (H, W) float32, 0 to 255

INNER_ROWS, INNER_COLUMNS = slice(40, 125), slice(35, 115)  # of the chip
_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, of R, G, B
DARK_MAX, BRIGHT_MIN = 25, 247
# Steps (rows, columns) between compared pixels: along x, y and both diagonals, because a moving
# hand blurs one direction only. Three pixels, because one would measure the sensor's noise.
_FINE = ((0, 3), (3, 0), (2, 2), (2, -2))
_COARSENESS = 3  # coarse steps over fine ones
_CHANGE_MIN = 1.0  # mean squared change of luma that a structure has, in levels


def inner_luma(chip: Pixels) -> Luma:
    """Luma of the inner face, `(85, 80)` float32, from a `(150, 150, 3)` uint8 RGB chip."""
    return np.asarray(chip[INNER_ROWS, INNER_COLUMNS].astype(np.float32) @ _WEIGHTS)


def histogram(luma: Luma) -> NDArray[np.float64]:
    """`(256,)` shares of each luma level; they sum to 1."""
    counts = np.bincount(luma.astype(np.uint8).ravel(), minlength=256)
    return np.asarray(counts / luma.size)


def under_exposure_prevention(levels: NDArray[np.float64]) -> Quality:
    """100 x (1 - native). Native: share of luma in [0, 25].

    The standard's curve only moves above a share of 0.9, which suits linear light, not luma.
    """
    native = float(levels[: DARK_MAX + 1].sum())
    return rated(Measure.UNDER_EXPOSURE_PREVENTION, native, 100.0 * (1.0 - native))


def over_exposure_prevention(levels: NDArray[np.float64]) -> Quality:
    """1 / (native + 0.01), at most 100, as in the standard. Native: share of luma in [247, 255]."""
    native = float(levels[BRIGHT_MIN:].sum())
    return rated(Measure.OVER_EXPOSURE_PREVENTION, native, 1.0 / (native + 0.01))


def dynamic_range(levels: NDArray[np.float64]) -> Quality:
    """12.5 x native, as in the standard. Native: entropy of the luma histogram, bits, 0 to 8."""
    present = levels[levels > 0.0]
    native = max(-float(present @ np.log2(present)), 0.0)
    return rated(Measure.DYNAMIC_RANGE, native, 12.5 * native)


def sharpness(luma: Luma) -> Quality:
    """Sigmoid about 0.42, width 0.02. Native: fine over coarse change of luma, 0.33 to 1.

    The root mean square change over 3 px, divided by that over 9 px, in the direction where the
    ratio is smallest. Blur of any kind takes fine change and leaves coarse, down to the 1/3 of an
    even slope; contrast and brightness cancel. The standard's random forest needs a model file.
    A face without structure is a failure to assess.
    """
    native = min(_fineness(luma, rows, columns) for rows, columns in _FINE)
    if math.isnan(native):
        return unassessed(Measure.SHARPNESS)
    return rated(Measure.SHARPNESS, native, 100.0 * sigmoid(native, 0.42, 0.02))


def _fineness(luma: Luma, rows: int, columns: int) -> float:
    coarse = _change(luma, _COARSENESS * rows, _COARSENESS * columns)
    if not coarse >= _CHANGE_MIN:
        return math.nan
    return math.sqrt(_change(luma, rows, columns) / coarse)


def _change(luma: Luma, rows: int, columns: int) -> float:
    """Mean squared difference of pixels `rows` and `columns` apart."""
    here, there = _shifted(luma.shape[0], luma.shape[1], rows, columns)
    difference = (luma[there] - luma[here]).ravel()
    return float(difference @ difference) / difference.size


@lru_cache(maxsize=32)
def _shifted(
    height: int, width: int, rows: int, columns: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The parts of a picture that lie over each other when it is shifted; `rows` >= 0."""
    left, right = max(-columns, 0), width - max(columns, 0)
    here = slice(0, height - rows), slice(left, right)
    there = slice(rows, height), slice(left + columns, right + columns)
    return here, there
