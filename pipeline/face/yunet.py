"""YuNet: an anchor-free detector, for those who pull its pack.

Source of the decoding: OpenCV's `FaceDetectorYN`, which reads the same exports of
ShiqiYu/libfacedetection.train.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Pixels
from pipeline.face.batch import Buckets, run_batched
from pipeline.face.detect import Candidates, DetectorOptions, most_confident
from pipeline.ports import Arrays, Model

STRIDES_PX = (8, 16, 32)
OPTIONS = DetectorOptions(first_side_px=128, second_side_px=320)
_LOG_SIZE_MAX = 6.0  # e^6 strides: past any input, short of an overflow


def find_candidates(
    model: Model, squares: Sequence[Pixels], confidence_min: float, buckets: Buckets
) -> list[Candidates]:
    """Candidates of each `(S, S, 3)` uint8 RGB square, S a multiple of 32, in its pixels.

    Four key points: right eye, left eye, nose tip, mouth centre.
    """
    # RGB to BGR, HWC to CHW, 0 to 255: what the published weights take.
    inputs = [square[..., ::-1].transpose(2, 0, 1).astype(np.float32) for square in squares]
    outputs = run_batched(model, "input", inputs, buckets)
    side_px = squares[0].shape[0]
    return [_candidates(outputs, item, side_px, confidence_min) for item in range(len(squares))]


def _candidates(outputs: Arrays, item: int, side_px: int, confidence_min: float) -> Candidates:
    levels = [_level(outputs, item, stride_px, side_px) for stride_px in STRIDES_PX]
    values = np.concatenate([values for values, _ in levels])
    scores = np.concatenate([scores for _, scores in levels])
    keep = most_confident(scores, confidence_min)
    return values[keep], scores[keep].astype(np.float64)


def _level(
    outputs: Arrays, item: int, stride_px: int, side_px: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """`(cells, 6, 2)` centre, size, key points in input pixels, and `(cells,)` scores."""
    axis = np.arange(side_px // stride_px, dtype=np.float64)
    cells = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    boxes = outputs[f"bbox_{stride_px}"][item].astype(np.float64)
    points = outputs[f"kps_{stride_px}"][item].astype(np.float64).reshape(-1, 5, 2)
    points += cells[:, None]
    sizes = np.exp(np.minimum(boxes[:, 2:], _LOG_SIZE_MAX))
    mouth = points[:, 3:].mean(axis=1)  # of its two corners
    parts = [boxes[:, :2] + cells, sizes, points[:, 0], points[:, 1], points[:, 2], mouth]
    belief = outputs[f"cls_{stride_px}"][item] * outputs[f"obj_{stride_px}"][item]
    scores = np.sqrt(np.clip(belief[:, 0], 0, 1))
    return np.stack(parts, axis=1) * stride_px, scores
