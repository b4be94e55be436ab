"""The composition root: settings decide what is opened, and threads change no result."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.face.steps import FULL
from pipeline.image.decode import encode_png
from pipeline.models.cache import ModelCache
from serve.app import OpenedPipeline, open_pipeline
from serve.settings import Models, Pipeline, Settings

pytestmark = pytest.mark.models


def opened(model_cache: ModelCache, tmp_path: Path, **pipeline: int) -> OpenedPipeline:
    """The default pack alone, under these settings."""
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "default").symlink_to(model_cache.pack_dir("default"))
    return open_pipeline(
        Settings(models=Models(cache_dir=tmp_path), pipeline=Pipeline.model_validate(pipeline))
    )


def test_threads_change_no_byte(
    model_cache: ModelCache, tmp_path: Path, tiles: list[list[Pixels]]
) -> None:
    """However many workers share the models, results come in order and equal to the byte."""
    many = opened(model_cache, tmp_path, threads=4)
    images = [encode_png(tile) for row in tiles[:2] for tile in row] + [b"no image"]
    alone = many.faces.run(images)
    for _ in range(3):
        together = many.run(images, FULL)
        assert len(together) == len(images)
        for first, second in zip(alone, together, strict=True):
            if isinstance(first, Failure):
                assert first == second
                continue
            assert isinstance(second, FaceEvidence)
            assert isinstance(first.template, Template)
            assert isinstance(second.template, Template)
            assert first.template.vector.tobytes() == second.template.vector.tobytes()
            assert first.quality == second.quality


def test_limits_of_the_settings_hold(model_cache: ModelCache, tmp_path: Path) -> None:
    """An image beyond the settings' bytes or pixels is refused, within them it is not."""
    small = opened(model_cache, tmp_path, image_pixels_max=10_000, image_bytes_max=50_000)
    assert small.limits.pixels_max == 10_000
    grey = np.full((90, 90, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    fits, too_wide, too_long = small.run(
        [encode_png(grey), encode_png(np.full((120, 120, 3), 128, np.uint8)), encode_png(noise)],
        FULL,
    )
    assert isinstance(fits, FaceEvidence)
    for refused in (too_wide, too_long):
        assert isinstance(refused, Failure)
        assert refused.code is Code.IMAGE_TOO_LARGE


def test_no_image_is_no_work(model_cache: ModelCache, tmp_path: Path) -> None:
    """An empty batch has an empty answer."""
    assert opened(model_cache, tmp_path).run([], FULL) == []
