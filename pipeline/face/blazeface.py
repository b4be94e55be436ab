"""BlazeFace: anchors and box decoding of MediaPipe's back-camera detector.

Source: MediaPipe's face detection graph (`SsdAnchorsCalculator`, `TensorsToDetections`).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Pixels
from pipeline.face.batch import Buckets, run_batched
from pipeline.face.detect import Candidates, most_confident
from pipeline.ports import Model

STRIDES_PX = ((16, 2), (32, 6))  # feature map stride, anchors per cell


def find_candidates(
    model: Model, squares: Sequence[Pixels], confidence_min: float, buckets: Buckets
) -> list[Candidates]:
    """Candidates of each `(S, S, 3)` uint8 RGB square, S a multiple of 32, in its pixels.

    Six key points: right eye, left eye, nose tip, mouth centre, right ear, left ear.
    """
    outputs = run_batched(model, "image", squares, buckets)
    centres = anchor_centres(squares[0].shape[0])
    return [
        _candidates(boxes, logits[:, 0], centres, confidence_min)
        for boxes, logits in zip(outputs["boxes"], outputs["logits"], strict=True)
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


def _candidates(
    boxes: NDArray[np.float32],
    logits: NDArray[np.float32],
    centres: NDArray[np.float32],
    confidence_min: float,
) -> Candidates:
    """Decode `(A, 16)` boxes and `(A,)` logits: everything is relative to the anchor's centre."""
    # Compared as logits: most anchors need no exponential.
    keep = most_confident(logits, float(np.log(confidence_min / (1 - confidence_min))))
    values = boxes[keep].astype(np.float64).reshape(-1, 8, 2)
    values[:, 0] += centres[keep]
    values[:, 2:] += centres[keep][:, None]
    return values, 1.0 / (1.0 + np.exp(-logits[keep].astype(np.float64)))
