"""Find faces: BlazeFace anchors, box decoding and weighted non-maximum suppression.

Selfies hold large faces, so the first look is at a small input; images where it finds nothing,
or only a small face, get a second look at the model's full input. Every look pads the picture:
BlazeFace wants a margin around a face, and a selfie often leaves none.
Source of anchors and decoding: MediaPipe's back-camera face detection graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Box, Detection, Pixels
from pipeline.face.batch import run_batched
from pipeline.image.geometry import Transform, fit_square, invert, transform_points
from pipeline.ports import Model

STRIDES_PX = ((16, 2), (32, 6))  # feature map stride, anchors per cell
FACES_MAX = 16  # per image; more than the rules ever need to refuse a crowd
CANDIDATES_MAX = 256  # anchors that survive the threshold, most confident first


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Sizes are sides of the square model input, multiples of 32; thresholds are 0 to 1."""

    first_side_px: int = 128
    second_side_px: int = 256
    margin: float = 0.1  # padding on every side, as a share of the square
    small_face: float = 0.15  # box over the image's longer side; below it, a second look
    confidence_min: float = 0.5
    overlap_max: float = 0.3  # intersection over union that makes two boxes one face


def detect_faces(
    model: Model, images: Sequence[Pixels], options: DetectorOptions, batch_max: int
) -> list[tuple[Detection, ...]]:
    """All faces of each `(H, W, 3)` uint8 RGB image, largest first, in that image's pixels.

    Raises `device_error`.
    """
    found = _look(model, images, options.first_side_px, options, batch_max)
    again = [i for i, faces in enumerate(found) if _needs_second_look(faces, images[i], options)]
    closer = [images[i] for i in again]
    second = _look(model, closer, options.second_side_px, options, batch_max)
    for i, faces in zip(again, second, strict=True):
        found[i] = faces or found[i]
    return found


def _needs_second_look(
    faces: tuple[Detection, ...], pixels: Pixels, options: DetectorOptions
) -> bool:
    return not faces or faces[0].box.width_px < options.small_face * max(pixels.shape[:2])


def _look(
    model: Model,
    images: Sequence[Pixels],
    side_px: int,
    options: DetectorOptions,
    batch_max: int,
) -> list[tuple[Detection, ...]]:
    if not images:
        return []
    squares = [fit_square(pixels, side_px, options.margin) for pixels in images]
    outputs = run_batched(model, "image", [square for square, _ in squares], batch_max)
    return [
        tuple(_to_image(face, transform) for face in _faces_of(boxes, logits, side_px, options))
        for boxes, logits, (_, transform) in zip(
            outputs["boxes"], outputs["logits"], squares, strict=True
        )
    ]


@lru_cache(maxsize=16)
def anchor_centres(side_px: int) -> NDArray[np.float32]:
    """`(A, 2)` float32 anchor centres in input pixels, coarse maps after fine ones."""
    maps = []
    for stride_px, per_cell in STRIDES_PX:
        axis = (np.arange(side_px // stride_px, dtype=np.float32) + 0.5) * stride_px
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        maps.append(np.repeat(grid, per_cell, axis=0))
    centres = np.concatenate(maps)
    centres.setflags(write=False)  # it is shared
    return centres


def _faces_of(
    boxes: NDArray[np.float32], logits: NDArray[np.float32], side_px: int, options: DetectorOptions
) -> list[Detection]:
    """Decode one image's `(A, 16)` boxes and `(A, 1)` logits into faces, largest first."""
    floor_logit = np.log(options.confidence_min / (1 - options.confidence_min))
    scores = logits[:, 0]
    keep = np.flatnonzero(scores >= floor_logit)
    keep = keep[np.argsort(-scores[keep], kind="stable")][:CANDIDATES_MAX]
    if keep.size == 0:
        return []
    confidences = 1.0 / (1.0 + np.exp(-scores[keep].astype(np.float64)))
    # 16 numbers: centre, size, then six key points; all relative to the anchor's centre.
    values = boxes[keep].astype(np.float64).reshape(-1, 8, 2)
    centres = anchor_centres(side_px)[keep]
    values[:, 0] += centres
    values[:, 2:] += centres[:, None]
    faces = weighted_nms(values, confidences, options.overlap_max)
    return sorted(faces, key=lambda face: -face.box.width_px)[:FACES_MAX]


def weighted_nms(
    values: NDArray[np.float64], confidences: NDArray[np.float64], overlap_max: float
) -> list[Detection]:
    """Merge overlapping candidates into their confidence-weighted mean.

    `values` is `(K, 8, 2)`: centre, size, six key points; `confidences` `(K,)` descending.
    Averaging steadies the key points between frames, where plain suppression would jump.
    """
    corners = np.concatenate(
        [values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2], axis=1
    )
    left = np.arange(len(values))
    faces: list[Detection] = []
    while left.size > 0 and len(faces) < FACES_MAX:
        same = _overlaps(corners[left[0]], corners[left]) > overlap_max
        same[0] = True  # a degenerate box overlaps nothing, not even itself
        group = left[same]
        mean = np.average(values[group], axis=0, weights=confidences[group])
        (x, y), (width, height) = mean[0], mean[1]
        faces.append(
            Detection(
                Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2),
                float(confidences[group[0]]),
                mean[2:].astype(np.float32),
            )
        )
        left = left[~same]
    return faces


def _overlaps(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of one `(4,)` box with `(K, 4)` boxes."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    own = np.clip(box[2:] - box[:2], 0, None).prod()
    return np.asarray(inside / np.maximum(areas + own - inside, 1e-9))


def _to_image(face: Detection, transform: Transform) -> Detection:
    """From input pixels back to the image's: `transform` maps image to input."""
    back = invert(transform)
    box = face.box
    corners = np.array([[box.left_px, box.top_px], [box.right_px, box.bottom_px]], dtype=np.float32)
    (left, top), (right, bottom) = transform_points(corners, back).tolist()
    return Detection(
        Box(left, top, right, bottom), face.confidence, transform_points(face.keypoints, back)
    )
