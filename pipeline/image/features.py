"""Eyes, mouth and what covers them, from the mesh and the aligned chip."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Measure, Mesh, Pixels, Quality
from pipeline.image.framing import Outline
from pipeline.image.light import INNER_COLUMNS, INNER_ROWS, Luma
from pipeline.image.rating import rated, share, sigmoid, unassessed

# Mesh points of upper and lower lid, and of the lips' inner edges, that lie over each other.
_RIGHT_EYE = ((160, 144), (159, 145), (158, 153))
_LEFT_EYE = ((387, 373), (386, 374), (385, 380))
_MOUTH = ((82, 87), (13, 14), (312, 317))

Window = tuple[slice, slice]  # rows and columns of the chip
# The space between the lids, then the eyes with their lids and rims, the mouth, the cheeks.
LID_WINDOWS: tuple[Window, ...] = (
    (slice(41, 54), slice(39, 58)),
    (slice(41, 54), slice(91, 110)),
)
EYE_WINDOWS: tuple[Window, ...] = (
    (slice(40, 55), slice(37, 59)),
    (slice(40, 55), slice(90, 112)),
)
MOUTH_WINDOW: Window = (slice(96, 110), slice(60, 92))
CHEEK_WINDOWS: tuple[Window, ...] = (
    (slice(70, 84), slice(42, 56)),
    (slice(70, 84), slice(96, 110)),
)

# What a bare eye or mouth exceeds: 1 in native units of FACE_OCCLUSION_PREVENTION.
EYE_TINT_SPREAD, MOUTH_TINT_SPREAD, EYE_BRIGHTNESS = 0.025, 0.035, 0.70
TINT_MIN = 0.02  # mean tint of a picture that has colours at all
# Beyond these, colours have run into each other, are clipped, or were never recorded.
_SHARPNESS_MIN, _OVER_EXPOSED_MAX, _EYE_DISTANCE_PX_MIN = 0.39, 0.15, 26.0
_LOG = np.log(np.arange(256, dtype=np.float32) + 8.0)  # + 8: near black, tint is noise


def eyes_open(mesh: Mesh, outline: Outline, luma: Luma) -> Quality:
    """Sigmoid about 0.11, width 0.01. Native: geometric mean of aperture and grain, 0 to 1.

    Aperture is the standard's: lid to lid in the less open eye over the eye-to-chin distance.
    This mesh follows lids poorly (some closed eyes get 0.05, some narrow ones 0.04), so the chip
    has a say: grain is the change of light along a row over that along a column, in the eye
    where it is smaller. An iris has upright edges; a closed lid is a level line.

    Measured at 0.11: 1 of 157 open pairs falls below (narrow eyes in a laugh), and 44 % of 156
    pairs drawn shut. Neither sign alone gets there.
    """
    aperture = min(_opening(mesh, _RIGHT_EYE), _opening(mesh, _LEFT_EYE))
    grain = min(_grain(luma, window) for window in LID_WINDOWS)
    product = share(aperture, outline.eye_to_chin_px) * grain
    if not product >= 0.0:
        return unassessed(Measure.EYES_OPEN)
    native = math.sqrt(product)
    return rated(Measure.EYES_OPEN, native, 100.0 * sigmoid(native, 0.11, 0.01))


def mouth_closed(mesh: Mesh, outline: Outline) -> Quality:
    """Falling sigmoid about 0.2, width 0.06, as in the standard.

    Native: largest opening between the lips over the eye-to-chin distance.
    """
    native = share(_opening(mesh, _MOUTH), outline.eye_to_chin_px)
    return rated(Measure.MOUTH_CLOSED, native, 100.0 * sigmoid(native, 0.2, -0.06))


def _opening(mesh: Mesh, pairs: tuple[tuple[int, int], ...]) -> float:
    """The largest distance within a pair, px."""
    ends = mesh.points[np.array(pairs), :2]
    return float(np.hypot(*(ends[:, 0] - ends[:, 1]).T).max())


def _grain(luma: Luma, window: Window) -> float:
    """Mean change along rows over mean change along columns; NaN where nothing changes."""
    rows, columns = window
    eye = luma[
        rows.start - INNER_ROWS.start : rows.stop - INNER_ROWS.start,
        columns.start - INNER_COLUMNS.start : columns.stop - INNER_COLUMNS.start,
    ]
    along_rows = float(np.abs(eye[:, 1:] - eye[:, :-1]).mean())
    return share(along_rows, float(np.abs(eye[1:] - eye[:-1]).mean()))


def shows_colours(sharpness: Quality, over_exposure: Quality, eye_distance: Quality) -> bool:
    """Whether a face is sharp, dark and large enough for its tints to be told apart."""
    return (
        sharpness.native is not None
        and sharpness.native >= _SHARPNESS_MIN
        and over_exposure.native is not None
        and over_exposure.native <= _OVER_EXPOSED_MAX
        and eye_distance.native is not None
        and eye_distance.native >= _EYE_DISTANCE_PX_MIN
    )


def face_occlusion_prevention(chip: Pixels) -> Quality:
    """Sigmoid about 1, width 0.1. Native: the weakest of four signs, each over its bar.

    The standard takes the share of the face that a segmentation network calls covered; there is
    none here. The signs ask whether eyes and mouth look like eyes and mouth: lips and teeth, iris
    and lid differ in tint, a mask, a hand or a dark lens does not; and the brighter of two bare
    eyes has something nearly as bright as the cheeks. Tint is the logarithm of red over green,
    which light and exposure leave alone.

    Measured on 58 bare faces, none called covered; of 15 kinds of drawn covers on 39 of them, 94 %
    or more of each, brown lenses 90 %; of 5 people in real sunglasses, 3. What it cannot see: a
    covered nose, forehead or cheek; clear glasses and mirrored lenses; a cover of many colours;
    lips between spread fingers. A grey picture is a failure to assess, and so is one for which
    `shows_colours` is false.
    """
    if float(np.abs(_tint(chip[::6, ::6])).mean()) < TINT_MIN:
        return unassessed(Measure.FACE_OCCLUSION_PREVENTION)
    native = min(
        *(_spread(_tint(chip[window])) / EYE_TINT_SPREAD for window in EYE_WINDOWS),
        _spread(_tint(chip[MOUTH_WINDOW])) / MOUTH_TINT_SPREAD,
        _eye_brightness(chip) / EYE_BRIGHTNESS,
    )
    return rated(Measure.FACE_OCCLUSION_PREVENTION, native, 100.0 * sigmoid(native, 1.0, 0.1))


def _tint(pixels: Pixels) -> NDArray[np.float32]:
    """Logarithm of red over green, flat: 0 for grey, 0.2 to 0.8 for skin."""
    flat = pixels.reshape(-1, 3)
    return np.asarray(_LOG[flat[:, 0]] - _LOG[flat[:, 1]])


def _spread(values: NDArray[np.float32]) -> float:
    """Standard deviation."""
    centred = values - values.mean()
    return math.sqrt(float(centred @ centred) / values.size)


def _eye_brightness(chip: Pixels) -> float:
    """The brightest tenth of the brighter eye over the cheeks: dark lenses have none."""
    eyes = max(_green_at(chip, window, 0.9) for window in EYE_WINDOWS)
    cheeks = sum(_green_at(chip, window, 0.5) for window in CHEEK_WINDOWS) / len(CHEEK_WINDOWS)
    return eyes / max(cheeks, 1.0)


def _green_at(chip: Pixels, window: Window, quantile: float) -> float:
    """A quantile of the green values in a window; green stands for brightness."""
    values = np.sort(chip[(*window, 1)], axis=None)
    return float(values[int(quantile * values.size)])
