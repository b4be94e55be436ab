"""Similarity transforms, warps and crops: the only place that imports OpenCV.

One convention holds everywhere. Coordinates are continuous: (0, 0) is the top left corner of the
picture, the first pixel covers [0, 1) and its centre lies at 0.5; so scaling a picture by `s`
multiplies every coordinate by `s`, and nothing else. x grows to the right and y downwards.

A transform is `(2, 3)` float64 and maps source to output: `output = A @ (x, y) + t`. OpenCV counts
from pixel centres instead; the half pixel is accounted for here and nowhere else.
"""

import math
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.evidence import Pixels, Points

Transform = NDArray[np.float64]  # (2, 3) float64, source -> output

SPREAD_MIN = 1e-3  # of points that define a similarity: root of their summed squares
SCALE_MIN = 1e-6  # of a transform that can be inverted
COORDINATE_MAX = 1e9  # beyond it, float64 no longer tells the parts of a pixel apart
OUTPUT_SIDE_PX_MAX = 4_096
_ROUNDING = 1e-6  # so that a scale of a half in floating point still averages by two
_SAMPLING_MARGIN_PX = 2  # bilinear sampling reads the neighbours of the outermost samples
_FIXED_POINT_BITS = 4  # of a corner of a triangle: sixteenths of a pixel
_FIXED_POINT_MAX_PX = 16_384
_HALF_PIXEL = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
_HALF_PIXEL_BACK = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])

# A serving process scales by replicas; threads of a warp would only fight over the same cores.
cv2.setNumThreads(1)


class Border(Enum):
    """What lies outside the source picture."""

    BLACK = cv2.BORDER_CONSTANT
    REPLICATE = cv2.BORDER_REPLICATE  # the nearest edge pixel
    MIRROR = cv2.BORDER_REFLECT_101  # the picture again, turned over at its edge


def similarity(source: Points, target: Points) -> Transform:
    """The rotation, uniform scale and shift that brings `source` closest to `target`.

    Both are `(N, 2)` floats with N >= 2; closest in the sense of least squares, without
    reflection. Raises `wrong_shape` for other shapes, for values that are not finite, and for
    points that coincide or whose best scale is zero.
    """
    if source.shape != target.shape:
        raise PipelineError(Code.WRONG_SHAPE, f"points {source.shape} and {target.shape}")
    sources, targets = _as_complex(source), _as_complex(target)
    source_centre, target_centre = sources.mean(), targets.mean()
    sources, targets = sources - source_centre, targets - target_centre
    # In the plane the solution is one complex ratio: its modulus is the scale, its angle the turn.
    spread = float(np.vdot(sources, sources).real)
    agreement = complex(np.vdot(sources, targets))
    if min(spread, abs(agreement)) < SPREAD_MIN**2:
        raise PipelineError(Code.WRONG_SHAPE, "points that define no similarity")
    ratio = agreement / spread
    shift = target_centre - ratio * source_centre
    return np.array(
        [[ratio.real, -ratio.imag, shift.real], [ratio.imag, ratio.real, shift.imag]], np.float64
    )


def _as_complex(points: Points) -> NDArray[np.complex128]:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise PipelineError(Code.WRONG_SHAPE, f"points {points.shape}")
    if not (np.abs(points) < COORDINATE_MAX).all():  # written so that a NaN fails too
        raise PipelineError(Code.WRONG_SHAPE, "points that are not finite")
    wide = points.astype(np.float64)
    return wide[:, 0] + 1j * wide[:, 1]


def invert(transform: Transform) -> Transform:
    """The transform from output back to source; raises `wrong_shape` where there is none."""
    if transform.shape != (2, 3):
        raise PipelineError(Code.WRONG_SHAPE, f"a transform {transform.shape}")
    # Both written so that a NaN fails too.
    if not (np.abs(transform) < COORDINATE_MAX).all() or not _scale(transform) > SCALE_MIN:
        raise PipelineError(Code.WRONG_SHAPE, "a transform that cannot be inverted")
    return np.asarray(np.linalg.inv(_square(transform))[:2], np.float64)


def transform_points(points: Points, transform: Transform) -> Points:
    """Apply a transform to `(N, 2)` or `(N, 3)` points; float32 of the same shape.

    A third coordinate is a depth in the unit of x, so it is multiplied by the scale.
    """
    moved = points.astype(np.float64)
    moved[:, :2] = moved[:, :2] @ transform[:, :2].T + transform[:, 2]
    moved[:, 2:] *= _scale(transform)
    return moved.astype(np.float32)


def warp(
    pixels: Pixels, transform: Transform, size_px: tuple[int, int], border: Border = Border.BLACK
) -> Pixels:
    """The picture seen through `transform`, `(height, width, 3)` uint8 RGB, bilinear.

    `pixels` is `(H, W, 3)` uint8 RGB and `size_px` the output's (width, height). The cost follows
    the region that the output shows, not the picture: that region is cut out first, and averaged
    over whole pixels when it shrinks by 2 or more, so that fine texture does not alias.
    Raises `wrong_shape` for other pixels, a transform that cannot be inverted, or an output of no
    or too great size.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype != np.uint8:
        raise PipelineError(Code.WRONG_SHAPE, f"pixels {pixels.dtype} {pixels.shape}")
    if not all(1 <= side <= OUTPUT_SIDE_PX_MAX for side in size_px):
        raise PipelineError(Code.WRONG_SHAPE, f"an output of {size_px} px")
    inverse = invert(transform)
    shrinkage = 1.0 / _scale(transform) + _ROUNDING
    # Never more than the picture's shorter side: filling up the last squares costs memory.
    reduction = int(np.clip(shrinkage, 1, min(pixels.shape[:2])))
    left, top, right, bottom = 0, 0, pixels.shape[1], pixels.shape[0]
    if border is not Border.MIRROR:  # a mirror shows pixels from far inside the picture
        left, top, right, bottom = _needed_region(pixels, inverse, size_px, reduction)
    region = pixels[top:bottom, left:right]
    placed = _square(transform) @ _moved(1.0, 1.0, left, top)
    if reduction > 1:
        region = _averaged(region, reduction)
        placed = placed @ _moved(reduction, reduction, 0, 0)
    centred = (_HALF_PIXEL_BACK @ placed @ _HALF_PIXEL)[:2]
    warped = cv2.warpAffine(
        region, centred, size_px, flags=cv2.INTER_LINEAR, borderMode=border.value, borderValue=0
    )
    return np.asarray(warped, np.uint8)


def _needed_region(
    pixels: Pixels, inverse: Transform, size_px: tuple[int, int], reduction: int
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the source pixels that the output reads; at least one pixel.

    Sides are multiples of `reduction` where the picture has room, so that averaging needs no
    filling up.
    """
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [size_px[0], 0], [0, size_px[1]], size_px], np.float64)
    seen = corners @ inverse[:, :2].T + inverse[:, 2]
    margin = _SAMPLING_MARGIN_PX * reduction
    # Clipped as floats: a far-fetched transform may reach past any integer.
    limits = np.array([width, height], np.float64)
    first = np.clip(np.floor(seen.min(axis=0)) - margin, 0, limits - 1).astype(int)
    last = np.clip(np.ceil(seen.max(axis=0)) + margin, first + 1, limits).astype(int)
    last = np.minimum(first + -(-(last - first) // reduction) * reduction, (width, height))
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _averaged(region: Pixels, reduction: int) -> Pixels:
    """The mean of each square of `reduction` px; edge pixels repeat to fill the last squares.

    OpenCV averages by whole factors several times faster than by fractions.
    """
    height, width = region.shape[:2]
    below, right = -height % reduction, -width % reduction
    if below or right:
        region = np.asarray(
            cv2.copyMakeBorder(region, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8
        )
    size_px = ((width + right) // reduction, (height + below) // reduction)
    return np.asarray(cv2.resize(region, size_px, interpolation=cv2.INTER_AREA), np.uint8)


def fit_square(pixels: Pixels, side_px: int, margin: float) -> tuple[Pixels, Transform]:
    """The whole picture, centred on a black square with a border on every side.

    `pixels` is `(H, W, 3)` uint8 RGB; the square `(side_px, side_px, 3)`; `margin`, in [0, 0.5),
    is the width of the border as a share of `side_px`: with it, a detector also finds a face that
    fills the frame. Returns the square and the transform from picture to square.
    Raises `wrong_shape` for a margin or a side out of range.
    """
    if not 0.0 <= margin < 0.5:
        raise PipelineError(Code.WRONG_SHAPE, f"a margin of {margin}")
    height, width = pixels.shape[:2]
    scale = side_px * (1.0 - 2.0 * margin) / max(width, height)
    left, top = (side_px - width * scale) / 2.0, (side_px - height * scale) / 2.0
    transform = _moved(scale, scale, left, top)[:2]
    return warp(pixels, transform, (side_px, side_px)), transform


def squeezed(pixels: Pixels, side_px: int) -> Pixels:
    """The whole picture as `(side_px, side_px, 3)` uint8 RGB, each pixel the mean of what it
    covers; width and height shrink by factors of their own.
    """
    size_px = (side_px, side_px)
    return np.asarray(cv2.resize(pixels, size_px, interpolation=cv2.INTER_AREA), np.uint8)


def sampled(pixels: Pixels, places: NDArray[np.float32], border: Border) -> Pixels:
    """The picture with each pixel taken from a place of its own: any warp that there is, bilinear.

    `pixels` is `(H, W, 3)` uint8 RGB; `places` is `(h, w, 2)` float32, x then y in the coordinates
    of the picture, and the outcome `(h, w, 3)`. Nothing is averaged where a warp shrinks.
    """
    centred = places - np.float32(0.5)
    return np.asarray(
        cv2.remap(
            pixels, centred[..., 0], centred[..., 1], cv2.INTER_LINEAR, borderMode=border.value
        ),
        np.uint8,
    )


def painted(triangles: NDArray[np.float64], size_px: tuple[int, int]) -> NDArray[np.int32]:
    """Which of `triangles`, `(N, 3, 2)` in pixels, lies uppermost at each pixel; -1 for none.

    They are painted in their order, each over the ones before it. `size_px` is (width, height), the
    outcome `(height, width)` int32. A triangle takes every pixel that its outline touches, so
    neighbours leave no gap.
    """
    width, height = size_px
    label = np.full((height, width), -1, np.int32)
    limit = _FIXED_POINT_MAX_PX
    fixed = np.clip(triangles - 0.5, -limit, limit) * (1 << _FIXED_POINT_BITS)
    for number, corners in enumerate(np.rint(fixed).astype(np.int32)):
        cv2.fillConvexPoly(label, corners, (number,), cv2.LINE_8, _FIXED_POINT_BITS)
    return label


def rotated_square_crop(
    pixels: Pixels,
    center_xy: tuple[float, float],
    size_px: float,
    angle_rad: float,
    side_px: int,
) -> tuple[Pixels, Transform]:
    """The square of side `size_px` around a point of the picture, turned upright and resized.

    `angle_rad` is the turn of the square in the picture, positive clockwise as seen: a head that
    leans by this angle stands upright in the crop. Returns `(side_px, side_px, 3)` uint8 RGB,
    black where the square leaves the picture, and the transform from picture to crop.
    Raises `wrong_shape` for a size that is not positive or a place that is not finite.
    """
    if not (0.0 < size_px < math.inf and math.isfinite(sum(center_xy) + angle_rad)):
        raise PipelineError(Code.WRONG_SHAPE, f"a crop of {size_px} px")
    scale = side_px / size_px
    cosine, sine = scale * math.cos(angle_rad), scale * math.sin(angle_rad)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    shift = side_px / 2.0 - turn @ np.array(center_xy, np.float64)
    transform = np.column_stack([turn, shift])
    return warp(pixels, transform, (side_px, side_px)), transform


def _scale(transform: Transform) -> float:
    """The uniform scale of a similarity; the geometric mean of the two of an affine transform."""
    return math.sqrt(abs(float(np.linalg.det(transform[:, :2]))))


def _square(transform: Transform) -> NDArray[np.float64]:
    return np.vstack([transform, [0.0, 0.0, 1.0]])


def _moved(scale_x: float, scale_y: float, left: float, top: float) -> NDArray[np.float64]:
    """The `(3, 3)` matrix that scales and then shifts."""
    return np.array([[scale_x, 0.0, left], [0.0, scale_y, top], [0.0, 0.0, 1.0]])
