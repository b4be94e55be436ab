"""What is asked for in plain values is what is opened."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import Code, PipelineError
from pipeline.models.cache import ModelCache
from pipeline.models.load import YUNET_PACK, LoadedPack
from pipeline.models.options import Device, Precision, Runtime, SessionOptions
from serve.inference.loading import PackOptions, open_pack

pytestmark = pytest.mark.models


@pytest.fixture
def options(model_cache: ModelCache, tmp_path: Path) -> PackOptions:
    """The default pack alone, on a CPU."""
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "default").symlink_to(model_cache.pack_dir("default"))
    return PackOptions(str(tmp_path), "blazeface", image_bytes_max=2**20, image_pixels_max=2**20)


def opened_or_refused(options: PackOptions) -> LoadedPack | PipelineError:
    try:
        return open_pack(options)
    except PipelineError as error:
        return error


def test_a_cpu_needs_nothing_else(options: PackOptions) -> None:
    """Without a word about sessions they are the pipeline's own."""
    assert open_pack(options).options == SessionOptions()


def test_every_model_is_opened_as_asked(options: PackOptions) -> None:
    """Runtime, arithmetic and memory reach the sessions."""
    wanted = replace(options, runtime="torch", precision="fp16", memory_bytes_max=2**30)
    assert open_pack(wanted).options == SessionOptions(
        runtime=Runtime.TORCH, precision=Precision.FP16, memory_bytes_max=2**30
    )


def test_a_gpu_is_used_or_the_start_fails(options: PackOptions) -> None:
    """Where it cannot be used, nothing falls back to the processor without a word."""
    found = opened_or_refused(replace(options, device="cuda"))
    if isinstance(found, LoadedPack):
        assert found.options.device is Device.CUDA
    else:
        assert found.code is Code.DEVICE_UNAVAILABLE


def test_the_other_detector_needs_its_pack(options: PackOptions) -> None:
    """It is not quietly replaced by the one that is there."""
    found = opened_or_refused(replace(options, detector="yunet"))
    assert isinstance(found, PipelineError)
    assert found.code is Code.PACK_MISSING
    assert YUNET_PACK in found.detail
