"""What is remembered of a frame tells two pictures apart, and not two codings of one."""

import numpy as np
import pytest

from pipeline.evidence import Pixels
from pipeline.image.decode import decode, encode_jpeg
from pipeline.image.header import read_header
from pipeline.image.imprint import SIDE_PX, trace_of

CODED_APART_MAX = 3  # grey levels


def recoded(pixels: Pixels, quality: int) -> Pixels:
    """The picture after another JPEG coding."""
    data = encode_jpeg(pixels, quality)
    return decode(data, read_header(data), min(pixels.shape[:2])).pixels


@pytest.mark.parametrize("quality", [60, 92])
def test_a_coding_hardly_shows(astronaut: Pixels, quality: int) -> None:
    """Two codings of one picture differ by a few grey levels in any part of the thumbnail."""
    first, second = (trace_of(each, None) for each in (astronaut, recoded(astronaut, quality)))
    apart = np.abs(first.scene.astype(int) - second.scene.astype(int))
    assert apart.max() <= CODED_APART_MAX


def test_a_moved_picture_shows(astronaut: Pixels) -> None:
    """A picture that moved by a fiftieth of its width is another thumbnail."""
    moved = np.roll(astronaut, astronaut.shape[1] // 50, axis=1)
    first, second = (trace_of(each, None) for each in (astronaut, moved))
    apart = np.abs(first.scene.astype(int) - second.scene.astype(int))
    assert apart.mean() > CODED_APART_MAX


def test_brightness_is_of_the_cheeks_where_there_is_a_face() -> None:
    """A bright chip in a dark picture: the picture's light and the face's are told apart."""
    dark, bright = (np.full((150, 150, 3), level, np.uint8) for level in (20, 200))
    found = trace_of(dark, bright)
    assert (round(found.scene_luma), round(found.face_luma)) == (20, 200)
    assert found.scene.shape == (SIDE_PX, SIDE_PX)
    assert trace_of(dark, None).face_luma == found.scene_luma
    assert "array" not in repr(found)
