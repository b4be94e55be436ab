"""Find faces: two looks at padded squares, and weighted non-maximum suppression.

Selfies hold large faces, so the first look is at a small input; images where it finds nothing,
or only a small face, get a second look at a larger one. Every look pads the picture, because a
selfie often leaves no margin around the face and detectors want one. What a network's outputs
mean is the business of its own module: `blazeface`, `yunet`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Box, Detection, Pixels
from pipeline.face.batch import Buckets
from pipeline.image.geometry import Transform, fit_square, invert, transform_points
from pipeline.ports import Model

FACES_MAX = 16  # per image; more than the rules ever need to refuse a crowd
CANDIDATES_MAX = 256  # boxes that survive the threshold, most confident first

# `(K, 2 + P, 2)` float64: centre, size, P key points, in input pixels; and `(K,)` float64
# confidences, descending, K at most CANDIDATES_MAX.
Candidates = tuple[NDArray[np.float64], NDArray[np.float64]]
# Model, squares of one size, least confidence, sizes of runs.
FindCandidates = Callable[[Model, Sequence[Pixels], float, Buckets], list[Candidates]]


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Sizes are sides of the square model input, multiples of 32; thresholds are 0 to 1."""

    first_side_px: int = 128
    second_side_px: int = 256
    margin: float = 0.1  # padding on every side, as a share of the square
    small_face: float = 0.15  # box over the image's longer side; below it, a second look
    confidence_min: float = 0.5
    overlap_max: float = 0.3  # intersection over union that makes two boxes one face


@dataclass(frozen=True, slots=True)
class FaceDetector:
    """A network, how to read its outputs, and how to use it.

    `first` and `second` are one network, each opened for the size of its look.
    """

    first: Model
    second: Model
    find_candidates: FindCandidates
    options: DetectorOptions = DetectorOptions()


def detect_faces(
    detector: FaceDetector, images: Sequence[Pixels], buckets: Buckets
) -> list[tuple[Detection, ...]]:
    """All faces of each `(H, W, 3)` uint8 RGB image, largest first, in that image's pixels.

    Raises `device_error`.
    """
    options = detector.options
    found = _look(detector, detector.first, images, options.first_side_px, buckets)
    again = [i for i, faces in enumerate(found) if _needs_second_look(faces, images[i], options)]
    closer = [images[i] for i in again]
    second = _look(detector, detector.second, closer, options.second_side_px, buckets)
    for i, faces in zip(again, second, strict=True):
        found[i] = faces or found[i]
    return found


def _needs_second_look(
    faces: tuple[Detection, ...], pixels: Pixels, options: DetectorOptions
) -> bool:
    return not faces or faces[0].box.width_px < options.small_face * max(pixels.shape[:2])


def _look(
    detector: FaceDetector,
    model: Model,
    images: Sequence[Pixels],
    side_px: int,
    buckets: Buckets,
) -> list[tuple[Detection, ...]]:
    if not images:
        return []
    options = detector.options
    squares = [fit_square(pixels, side_px, options.margin) for pixels in images]
    candidates = detector.find_candidates(
        model, [square for square, _ in squares], options.confidence_min, buckets
    )
    return [
        _to_image(_largest_first(found, options.overlap_max), transform)
        for found, (_, transform) in zip(candidates, squares, strict=True)
    ]


def _largest_first(candidates: Candidates, overlap_max: float) -> list[Detection]:
    return sorted(weighted_nms(*candidates, overlap_max), key=lambda face: -face.box.width_px)


def most_confident(scores: NDArray[np.float32], score_min: float) -> NDArray[np.intp]:
    """Places of the scores at or above `score_min`, descending, CANDIDATES_MAX at most."""
    keep = np.flatnonzero(scores >= score_min)
    return keep[np.argsort(-scores[keep], kind="stable")][:CANDIDATES_MAX]


def weighted_nms(
    values: NDArray[np.float64], confidences: NDArray[np.float64], overlap_max: float
) -> list[Detection]:
    """Merge overlapping candidates into their confidence-weighted mean.

    `values` and `confidences` are as in Candidates.
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


def _to_image(faces: Sequence[Detection], transform: Transform) -> tuple[Detection, ...]:
    """From input pixels back to the image's: `transform` maps image to input."""
    if not faces:
        return ()
    back = invert(transform)
    moved = []
    for face in faces:
        box = face.box
        corners = np.array([[box.left_px, box.top_px], [box.right_px, box.bottom_px]], np.float32)
        (left, top), (right, bottom) = transform_points(corners, back).tolist()
        points = transform_points(face.keypoints, back)
        moved.append(Detection(Box(left, top, right, bottom), face.confidence, points))
    return tuple(moved)
