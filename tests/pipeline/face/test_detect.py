"""Anchors, decoding and suppression, without a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.evidence import Detection
from pipeline.face.batch import up_to
from pipeline.face.blazeface import anchor_centres, find_candidates
from pipeline.face.detect import (
    FACES_MAX,
    DetectorOptions,
    FaceDetector,
    detect_faces,
    weighted_nms,
)
from pipeline.ports import Arrays


class OneFace:
    """A detector that always finds one face of `size_px` in the middle of its input."""

    def __init__(self, size_px: float) -> None:
        self.size_px = size_px
        self.sides: list[int] = []
        self.model_id = "one-face"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Boxes relative to the anchors, one of them sure of itself."""
        side = inputs["image"].shape[1]
        self.sides.append(side)
        centres = anchor_centres(side)
        boxes = np.zeros((1, len(centres), 16), np.float32)
        logits = np.full((1, len(centres), 1), -10, np.float32)
        best = int(np.abs(centres - side / 2).sum(axis=1).argmin())
        offset = side / 2 - centres[best]
        boxes[0, best] = np.tile(offset, 8)
        boxes[0, best, 2:4] = self.size_px
        logits[0, best] = 4
        return {"boxes": boxes, "logits": logits}


def detector(model: OneFace, options: DetectorOptions) -> FaceDetector:
    """BlazeFace's reading of `model`, which takes any size."""
    return FaceDetector(model, model, find_candidates, options)


@pytest.mark.parametrize("side_px", [128, 160, 192, 256])
def test_anchors_cover_the_input(side_px: int) -> None:
    """There are 2 anchors on each fine cell and 6 on each coarse one, all inside the input."""
    centres = anchor_centres(side_px)
    assert len(centres) == 2 * (side_px // 16) ** 2 + 6 * (side_px // 32) ** 2
    assert centres.min() == 8
    assert centres.max() == side_px - 8


def test_boxes_come_back_in_image_pixels() -> None:
    """A face in the middle of the input is in the middle of the image, at the image's scale."""
    options = DetectorOptions(margin=0.1)
    pixels = np.zeros((400, 800, 3), np.uint8)
    (face,) = detect_faces(detector(OneFace(64), options), [pixels], up_to(1))[0]
    scale = options.first_side_px * 0.8 / 800
    assert (face.box.left_px + face.box.right_px) / 2 == pytest.approx(400, abs=1)
    assert (face.box.top_px + face.box.bottom_px) / 2 == pytest.approx(200, abs=1)
    assert face.box.width_px == pytest.approx(64 / scale, rel=1e-3)


def test_small_face_gets_a_second_look() -> None:
    """Only an image without a large face is looked at again, at the full input."""
    options = DetectorOptions()
    pixels = [np.zeros((480, 480, 3), np.uint8)]
    large, small = OneFace(64), OneFace(8)
    detect_faces(detector(large, options), pixels, up_to(1))
    detect_faces(detector(small, options), pixels, up_to(1))
    assert large.sides == [options.first_side_px]
    assert small.sides == [options.first_side_px, options.second_side_px]


def candidates(*boxes: tuple[float, float, float]) -> NDArray[np.float64]:
    """Candidates from (centre x, centre y, side), key points at the centre."""
    values = np.zeros((len(boxes), 8, 2))
    for row, (x, y, side) in zip(values, boxes, strict=True):
        row[:] = (x, y)
        row[1] = side
    return values


def test_overlapping_boxes_merge_by_confidence() -> None:
    """Boxes of one face become their confidence-weighted mean; another face stays apart."""
    values = candidates((100, 100, 50), (104, 100, 50), (300, 100, 50))
    first, second = weighted_nms(values, np.array([0.9, 0.6, 0.5]), overlap_max=0.3)
    assert first.keypoints[0, 0] == pytest.approx((0.9 * 100 + 0.6 * 104) / 1.5)
    assert first.confidence == pytest.approx(0.9)
    assert second.box.left_px == pytest.approx(275)


def test_crowd_is_bounded() -> None:
    """However many faces there are, no more than FACES_MAX come back."""
    values = candidates(*((100.0 * i, 0.0, 50.0) for i in range(3 * FACES_MAX)))
    found = weighted_nms(values, np.linspace(1, 0.5, len(values)), overlap_max=0.3)
    assert len(found) == FACES_MAX


def test_degenerate_boxes_end() -> None:
    """Boxes without area overlap nothing, not even themselves, and still come to an end."""
    values = candidates((10, 10, 0), (10, 10, 0), (20, 20, -5))
    found = weighted_nms(values, np.array([0.9, 0.8, 0.7]), overlap_max=0.3)
    assert len(found) == 3
    assert all(isinstance(face, Detection) for face in found)
