"""The composition root: settings decide what is opened, and threads change no result."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.face.steps import FULL
from pipeline.image.decode import encode_png
from pipeline.models.cache import ModelCache
from pipeline.models.load import read_scale
from serve.app import OpenedPipeline, open_deps, open_pipeline
from serve.deps import Deps
from serve.inference.absent import AbsentFaces
from serve.inference.fallback import FallbackFaces
from serve.inference.link.client import LinkedFaces
from serve.inference.local import LocalFaces
from serve.inference.place import meeting_place
from serve.observe import metrics
from serve.settings import EngineKind, EngineSection, Models, Pipeline, Settings, State

pytestmark = pytest.mark.models

FALLBACKS = "limen_engine_fallbacks_total"


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
    small = opened(model_cache, tmp_path, image_pixels_max=10_000, image_bytes_max=20_000)
    assert small.limits.pixels_max == 10_000
    grey = np.full((90, 90, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
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


@pytest.fixture
def state(redis_state: State, link: Redis) -> State:
    """An empty store."""
    del link
    return redis_state


@asynccontextmanager
async def deps_of(
    state: State, model_cache: ModelCache, *, supervised: bool, **engine: Any
) -> AsyncIterator[Deps]:
    """What a part of the service, or a command, is given."""
    settings = Settings(
        state=state,
        models=Models(cache_dir=model_cache.root),
        pipeline=Pipeline(threads=1),
        engine=EngineSection(**engine),
    )
    with meeting_place(state.data_dir):
        async with open_deps(settings, supervised=supervised) as deps:
            yield deps


@pytest.mark.parametrize(
    ("engine", "supervised", "expected"),
    [
        ({"kind": EngineKind.LOCAL}, True, LocalFaces),
        ({"kind": EngineKind.LOCAL, "fallback": True}, True, LocalFaces),
        ({"kind": EngineKind.RAY}, True, LinkedFaces),
        ({"kind": EngineKind.NAIVE_SERVE}, True, LinkedFaces),
        ({"kind": EngineKind.RAY, "fallback": True}, True, FallbackFaces),
        ({"kind": EngineKind.RAY}, False, LocalFaces),
    ],
)
async def test_settings_decide_who_looks_at_faces(
    state: State,
    model_cache: ModelCache,
    engine: dict[str, Any],
    expected: type,
    *,
    supervised: bool,
) -> None:
    """Parts of the service ask the engine, if one runs for them; a command looks for itself.
    Whoever looks, templates are compared in this process and have the same model.
    """
    async with deps_of(state, model_cache, supervised=supervised, **engine) as deps:
        assert type(deps.faces) is expected
        assert deps.scale == read_scale(model_cache)
        assert deps.model_id == read_scale(model_cache).model_id


async def test_a_fallback_looks_while_there_is_no_engine(
    state: State, model_cache: ModelCache
) -> None:
    """A door with models of its own answers before the engine is there; the engine comes first."""
    before = metrics.REGISTRY.get_sample_value(FALLBACKS) or 0.0
    async with deps_of(state, model_cache, supervised=True, fallback=True) as deps:
        deps.faces.admit("ten_a")
        outcome = await deps.faces.examine(b"no image", tenant_id="ten_a")
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.NOT_AN_IMAGE
    assert metrics.REGISTRY.get_sample_value(FALLBACKS) == before + 1


async def test_what_needs_no_models_opens_none(state: State) -> None:
    """A worker starts without a pack, and has nobody to show a face to."""
    nowhere = Models(cache_dir=state.data_dir / "absent")
    settings = Settings(state=state, models=nowhere)
    async with open_deps(settings, with_models=False, supervised=True) as deps:
        assert isinstance(deps.faces, AbsentFaces)
        assert deps.model_id == ""


async def test_what_compares_but_looks_at_nobody_has_the_scale(
    state: State, model_cache: ModelCache
) -> None:
    """Without models, scores and the id of the pack's are at hand all the same."""
    settings = Settings(state=state, models=Models(cache_dir=model_cache.root))
    deps_opened = open_deps(settings, with_models=False, with_scale=True, supervised=True)
    async with deps_opened as deps:
        assert isinstance(deps.faces, AbsentFaces)
        assert deps.scale == read_scale(model_cache)
        assert deps.model_id == read_scale(model_cache).model_id
