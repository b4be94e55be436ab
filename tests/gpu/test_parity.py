"""On a GPU the pack sees what it sees on a CPU, by either runtime and in either precision.

Written without a GPU and never run on one.
"""

import numpy as np
import pytest

from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.face.batch import GPU
from pipeline.face.steps import FacePipeline
from pipeline.image.decode import encode_png
from pipeline.models.cache import ModelCache
from pipeline.models.load import LoadedPack, load_faces
from tests.gpu.cuda import ENGINES, available
from tests.pipeline.models.agreement import check_close

pytestmark = [pytest.mark.gpu, pytest.mark.models]

PRECISE, ROUGH = 2, 10  # slack: of fp32, whose convolutions may use TF32, and of fp16


@pytest.fixture(scope="module", params=ENGINES)
def on_gpu(request: pytest.FixtureRequest, model_cache: ModelCache) -> LoadedPack:
    """The packs in the cache, on each engine in turn."""
    return load_faces(model_cache, options=available(request.param))


@pytest.fixture(scope="module")
def on_cpu(model_cache: ModelCache) -> LoadedPack:
    """The same on ONNX Runtime and the CPU."""
    return load_faces(model_cache)


@pytest.fixture(scope="module")
def photos(tiles: list[list[Pixels]], astronaut: Pixels) -> list[bytes]:
    """Nine real faces."""
    faces = [tiles[row][column] for row in (0, 3) for column in (0, 5, 10, 15)]
    return [encode_png(each) for each in [*faces, astronaut]]


def test_the_evidence_agrees(on_gpu: LoadedPack, on_cpu: LoadedPack, photos: list[bytes]) -> None:
    """Templates have a cosine of 0.999 at least; meshes, ages and liveness are close."""
    slack = ROUGH if on_gpu.options.precision == "fp16" else PRECISE
    check_close(on_cpu, on_gpu, photos, slack)


def test_a_batch_changes_no_template(on_gpu: LoadedPack, photos: list[bytes]) -> None:
    """A photo alone and among others has one template, though perhaps not to the last bit."""
    together = on_gpu.faces.run(photos)
    for data, outcome in zip(photos, together, strict=True):
        (alone,) = on_gpu.faces.run([data])
        assert isinstance(alone, FaceEvidence)
        assert isinstance(outcome, FaceEvidence)
        assert isinstance(alone.template, Template)
        assert isinstance(outcome.template, Template)
        assert float(np.dot(alone.template.vector, outcome.template.vector)) >= 0.9999


def test_warming_meets_every_bucket(on_gpu: LoadedPack) -> None:
    """A pack on a GPU runs in padded buckets, and warming up reaches the largest of them."""
    assert on_gpu.batches is GPU
    assert isinstance(on_gpu.faces, FacePipeline)
    liveness = 1 if on_gpu.models.passive_liveness else 0
    assert on_gpu.faces.warm() == (5 + liveness) * len(GPU.embedding.sizes)
