"""Clips of the benchmark are what a phone would send."""

import numpy as np
import pytest

from pipeline.evidence import Pixels
from pipeline.image.header import read_header
from pipeline.liveness.challenge import Step
from pipeline.models.load import LoadedPack
from serve.bench.streams.clips import HEIGHT_PX, WIDTH_PX, actor, render_clip
from serve.errors import Code, ServeError

pytestmark = pytest.mark.models


def test_a_clip_has_the_shape_and_the_pace_of_a_phone_s(
    pack: LoadedPack, astronaut: Pixels
) -> None:
    """480 by 640 pixels, tens of kilobytes each, five a second, no two alike."""
    clip = render_clip(actor(pack.faces, astronaut), (Step.BLINK, Step.NOD), 5.0, seed=1)
    header = read_header(clip.frames[0])
    assert (header.width_px, header.height_px) == (WIDTH_PX, HEIGHT_PX)
    assert 15_000 < np.mean([len(frame) for frame in clip.frames]) < 60_000
    assert np.diff(clip.captured_ms) == pytest.approx(200, abs=10)
    assert len(set(clip.frames)) == len(clip.frames) == len(clip.captured_ms)


def test_a_photo_without_a_face_makes_no_clip(pack: LoadedPack) -> None:
    """It is refused as such."""
    with pytest.raises(ServeError) as refused:
        actor(pack.faces, np.full((300, 300, 3), 90, np.uint8))
    assert refused.value.code is Code.NO_FACE
