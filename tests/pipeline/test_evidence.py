"""Evidence speaks the wire's words, and keeps biometric data out of sight."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.decision.reasons import Reason
from pipeline.evidence import Box, Detection, Feedback, Image, ImageFormat, Mesh, Template


@pytest.mark.shared
def test_feedback_is_the_contracts(shared: Path) -> None:
    """The hints are exactly those of `AddImagesResponse.feedback`, in the contract's order."""
    document = json.loads((shared / "seeds" / "document-verification.openapi.json").read_text())
    answer = document["components"]["schemas"]["AddImagesResponse"]["properties"]
    assert [hint.value for hint in Feedback] == answer["feedback"]["enum"]


@pytest.mark.shared
def test_reasons_are_the_contracts(shared: Path) -> None:
    """The reasons are exactly the closed set of the contract for face sessions."""
    contract = (shared / "contracts" / "face-sessions.md").read_text()
    listed = contract.split("closed set: `")[1].split("`")[0]
    assert [reason.value for reason in Reason] == listed.split(", ")


def test_biometric_arrays_stay_out_of_reprs() -> None:
    """No repr of evidence holds pixels, points or template values."""
    numbers = np.full((468, 3), 123.456, np.float32)
    pixels = np.full((9, 9, 3), 123, np.uint8)
    values = [
        Image(pixels, 9, 9, 1.0, ImageFormat.PNG),
        Detection(Box(0, 0, 9, 9), 0.9, numbers[:6, :2]),
        Mesh(numbers, 1.0),
        Template("model.1", numbers[:, 0]),
    ]
    for value in values:
        assert "123" not in repr(value)


def test_scaling_moves_everything_alike() -> None:
    """A face in an image twice the size has box, points and depth twice as large."""
    face = Detection(Box(1, 2, 3, 5), 0.9, np.ones((6, 2), np.float32)).scaled(2)
    assert face.box == Box(2, 4, 6, 10)
    assert (face.box.width_px, face.box.height_px) == (4, 6)
    assert (face.keypoints == 2).all()
    assert (Mesh(np.ones((468, 3), np.float32), 1.0).scaled(2).points == 2).all()
