"""The pipeline's benchmark, in its shortest form, on real weights."""

import numpy as np
import pytest

from pipeline.evidence import Pixels
from pipeline.image.header import read_header
from pipeline.models.load import LoadedPack
from serve.bench.frames import SIZES_PX, default_photo, make_frame
from serve.bench.stages import bench_stages, bench_whole, prepare
from serve.errors import Code, ServeError
from serve.pictures.bench import draw_bench

pytestmark = pytest.mark.models


@pytest.mark.parametrize("name", SIZES_PX)
def test_frames_have_the_size_of_their_name(name: str, astronaut: Pixels) -> None:
    """A frame is a JPEG of exactly the size asked for, whatever the shape of the photo."""
    header = read_header(make_frame(astronaut, SIZES_PX[name]))
    assert (header.width_px, header.height_px) == SIZES_PX[name]


def test_every_stage_and_the_whole_are_measured(pack: LoadedPack) -> None:
    """One frame gives a row for each stage and for each layout, and they can be drawn."""
    data = make_frame(default_photo(), (720, 960))
    stages = list(bench_stages(pack.models, "720x960", prepare(pack.models, data), 1, rounds=1))
    whole = list(bench_whole(pack.faces, "720x960", data, [(1, 1), (2, 2)], rounds=1))
    names = ["decode", "detect", "mesh", "align", "embed", "quality", "age"]
    assert [row.name for row in stages] == names
    assert [(row.batch, row.threads) for row in whole] == [(1, 1), (2, 2)]
    assert all(row.timing.cpu_ms > 0 for row in (*stages, *whole))
    assert draw_bench([*stages, *whole]).startswith(b"\x89PNG")


def test_a_photo_without_a_face_is_refused(pack: LoadedPack) -> None:
    """There is nothing to time in a photo that holds no face."""
    data = make_frame(np.full((300, 300, 3), 90, np.uint8), (720, 960))
    with pytest.raises(ServeError) as refused:
        prepare(pack.models, data)
    assert refused.value.code is Code.NO_FACE
