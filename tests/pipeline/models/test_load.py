"""Packs are loaded whole or not at all."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import Code, PipelineError
from pipeline.models.build import build_pack
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import read_recipe
from pipeline.models.load import Detector, load_faces, read_scale
from tests.fixtures import silent

pytestmark = pytest.mark.models


@pytest.fixture
def cache(model_cache: ModelCache, tmp_path: Path) -> ModelCache:
    """A cache of its own with a copy of the default pack."""
    own = ModelCache(tmp_path)
    shutil.copytree(model_cache.pack_dir("default"), own.pack_dir("default"))
    return own


def refusal(cache: ModelCache, detector: Detector = Detector.BLAZEFACE) -> Code:
    """The code that loading ends with."""
    with pytest.raises(PipelineError) as refused:
        load_faces(cache, detector)
    return refused.value.code


def drop_last_model(cache: ModelCache, pack: str) -> None:
    """Leave `pack` as a build that died before its last model leaves it."""
    manifest = cache.read_manifest(pack)
    cache.write_manifest(manifest.model_copy(update={"models": manifest.models[:-1]}))


def test_nothing_built_is_missing(tmp_path: Path) -> None:
    """An empty cache says what is missing."""
    assert refusal(ModelCache(tmp_path)) is Code.PACK_MISSING


def test_detector_that_was_not_pulled_is_missing(cache: ModelCache) -> None:
    """A detector asked for is never replaced by another in silence."""
    assert refusal(cache, Detector.YUNET) is Code.PACK_MISSING


def test_unfinished_default_pack_is_refused(cache: ModelCache) -> None:
    """A pack whose build died is not loaded in part."""
    drop_last_model(cache, "default")
    assert refusal(cache) is Code.PACK_CORRUPT


def test_pack_of_another_recipe_is_refused(cache: ModelCache) -> None:
    """Weights or thresholds of an older recipe are never used under a newer one's name."""
    manifest = cache.read_manifest("default")
    cache.write_manifest(manifest.model_copy(update={"recipe_digest": "0" * 64}))
    assert refusal(cache) is Code.PACK_CORRUPT


def test_half_of_the_liveness_pack_is_refused(cache: ModelCache, shared: Path) -> None:
    """One of two networks alone must not decide what is live."""
    build_pack(read_recipe("minifasnet"), cache, shared / "weights", silent)
    assert len(load_faces(cache).models.passive_liveness) == 2
    drop_last_model(cache, "minifasnet")
    assert refusal(cache) is Code.PACK_CORRUPT


def test_damaged_liveness_pack_is_an_error(cache: ModelCache, shared: Path) -> None:
    """A damaged optional pack is an error: liveness that was installed never just vanishes."""
    build_pack(read_recipe("minifasnet"), cache, shared / "weights", silent)
    (cache.pack_dir("minifasnet") / "passive_liveness_4_0.onnx").write_bytes(b"damaged")
    assert refusal(cache) is Code.PACK_CORRUPT


def test_the_scale_is_read_without_opening_a_model(cache: ModelCache) -> None:
    """A process that only compares gets the scale of the templates, whatever the models are."""
    expected = load_faces(cache).scale
    for file in cache.pack_dir("default").glob("*.onnx"):
        file.write_bytes(b"not looked at")
    assert read_scale(cache) == expected


def test_the_scale_of_a_bad_pack_is_refused(cache: ModelCache, tmp_path: Path) -> None:
    """No pack, half a pack and a pack of another recipe yield no scale."""
    codes = []
    manifest = cache.read_manifest("default")
    for found in (
        manifest.model_copy(update={"models": manifest.models[:-1]}),
        manifest.model_copy(update={"recipe_digest": "0" * 64}),
        None,
    ):
        if found is None:
            cache = ModelCache(tmp_path / "empty")
        else:
            cache.write_manifest(found)
        with pytest.raises(PipelineError) as refused:
            read_scale(cache)
        codes.append(refused.value.code)
    assert codes == [Code.PACK_CORRUPT, Code.PACK_CORRUPT, Code.PACK_MISSING]
