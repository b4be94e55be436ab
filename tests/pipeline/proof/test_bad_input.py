"""What people and attackers send: every picture ends in a typed error or in honest feedback."""

import numpy as np
import pytest

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence, Feedback, Missing, Pixels, Template
from pipeline.image.decode import encode_jpeg, encode_png
from pipeline.image.geometry import warp
from pipeline.models.load import LoadedPack
from tests.helpers import images

pytestmark = pytest.mark.models


def resized(pixels: Pixels, side_px: int) -> Pixels:
    """A square picture scaled to `side_px`."""
    scale = side_px / pixels.shape[0]
    return warp(pixels, np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]]), (side_px, side_px))


def hints(pack: LoadedPack, pixels: Pixels) -> tuple[Feedback, ...]:
    """The feedback on one picture."""
    (found,) = pack.faces.run([encode_png(pixels)])
    assert isinstance(found, FaceEvidence)
    return found.feedback


def test_all_black(pack: LoadedPack) -> None:
    """A black picture holds no face."""
    assert hints(pack, np.zeros((480, 640, 3), np.uint8)) == (Feedback.FACE_NOT_FOUND,)


def test_two_faces(pack: LoadedPack, tiles: list[list[Pixels]]) -> None:
    """Two people side by side get the hint that there are several faces."""
    pair = np.concatenate([tiles[0][0], tiles[4][1]], axis=1)
    (found,) = pack.faces.run([encode_png(pair)])
    assert isinstance(found, FaceEvidence)
    assert len(found.detections) == 2
    assert Feedback.MULTI_FACE in found.feedback
    assert not found.is_fit


def test_face_of_20_px(pack: LoadedPack, astronaut: Pixels) -> None:
    """A face of 20 px is too small or not found; it is never fit to compare."""
    tiny = resized(astronaut, 104)
    (found,) = pack.faces.run([encode_png(tiny)])
    assert isinstance(found, FaceEvidence)
    assert found.feedback[0] in {Feedback.FACE_TOO_SMALL, Feedback.FACE_NOT_FOUND}


def test_one_pixel(pack: LoadedPack) -> None:
    """A picture of one pixel is refused at the gate."""
    (found,) = pack.faces.run([encode_png(np.zeros((1, 1, 3), np.uint8))])
    assert isinstance(found, Failure)
    assert found.code is Code.IMAGE_TOO_SMALL


def test_truncated_jpeg(pack: LoadedPack, astronaut: Pixels) -> None:
    """A JPEG that ends early is refused, wherever it ends."""
    data = encode_jpeg(astronaut, 90)
    for share in (0.2, 0.5, 0.9):
        (found,) = pack.faces.run([data[: int(share * len(data))]])
        assert isinstance(found, Failure)
        assert found.code is Code.IMAGE_CORRUPT


@pytest.mark.parametrize("turn", [-30, -15, 15, 30])
def test_rolled_head_is_still_himself(
    pack: LoadedPack, tiles: list[list[Pixels]], turn: int
) -> None:
    """A head rolled by up to 30 degrees is found, and matches its upright self."""
    upright = resized(tiles[0][0], 318)
    angle = np.radians(turn)
    centre = np.array([159.0, 159.0])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = centre - rotation @ centre
    rolled = warp(upright, np.column_stack([rotation, shift]), (318, 318))
    first, second = pack.faces.run([encode_png(upright), encode_png(rolled)])
    assert isinstance(first, FaceEvidence)
    assert isinstance(second, FaceEvidence)
    assert isinstance(first.template, Template)
    assert isinstance(second.template, Template)
    assert pack.scale.compare(first.template, second.template).is_match


def test_exif_orientation(pack: LoadedPack, astronaut: Pixels) -> None:
    """A photo stored on its side is the same photo once its EXIF orientation is applied."""
    upright = encode_jpeg(astronaut, 95)
    stored = images.jpeg(images.turned(astronaut, 6), orientation=6)
    first, second = pack.faces.run([upright, stored])
    assert isinstance(first, FaceEvidence)
    assert isinstance(second, FaceEvidence)
    assert isinstance(first.template, Template)
    assert isinstance(second.template, Template)
    assert pack.scale.compare(first.template, second.template).native >= 0.98


def test_face_that_fills_the_frame(pack: LoadedPack, astronaut: Pixels) -> None:
    """A face without any margin is found, and matches the same face in the whole photo."""
    close = resized(np.ascontiguousarray(astronaut[78:176, 178:276]), 480)
    first, second = pack.faces.run([encode_png(astronaut), encode_png(close)])
    assert isinstance(first, FaceEvidence)
    assert isinstance(second, FaceEvidence)
    assert second.template is not Missing.NO_FACE
