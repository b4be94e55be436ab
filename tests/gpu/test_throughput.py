"""How fast a GPU is: images per second by bucket, and the share of what it could do at best.

Nothing here judges a speed; the figures are printed, run with `-s`. Written without a GPU and
never run on one.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.evidence import Pixels
from pipeline.face.batch import GPU
from pipeline.face.steps import FacePipeline, Plan
from pipeline.image.decode import encode_jpeg
from pipeline.models.cache import ModelCache
from pipeline.models.load import LoadedPack, load_faces
from pipeline.models.options import SessionOptions
from pipeline.ports import Model
from tests.gpu.cuda import ENGINES, available, matrix_flops_per_s, seconds

pytest.importorskip("torch", reason="no CUDA: torch is not installed")

from pipeline.models.torch_session import TorchModel

pytestmark = [pytest.mark.gpu, pytest.mark.models]


@pytest.fixture(params=ENGINES)
def pack(request: pytest.FixtureRequest, model_cache: ModelCache) -> LoadedPack:
    """The packs in the cache on each engine in turn, warm."""
    loaded = load_faces(model_cache, options=available(request.param))
    loaded.faces.warm()
    return loaded


def models_of(pack: LoadedPack) -> Iterator[tuple[str, Model, str, NDArray[np.uint8]]]:
    """Each model by task, the name of its input and one item for it."""
    options = pack.models.detection.options
    sides_px = {"first look": options.first_side_px, "second look": options.second_side_px}
    looks = zip(sides_px, (pack.models.detection.first, pack.models.detection.second), strict=True)
    for task, model in looks:
        yield task, model, "image", picture(sides_px[task])
    yield "mesh", pack.models.mesh, "image", picture(192)
    yield "embedding", pack.models.embedding, "chips", picture(150)
    assert pack.models.age is not None
    yield "age", pack.models.age, "image", picture(224)


def picture(side_px: int) -> NDArray[np.uint8]:
    return np.random.default_rng(side_px).integers(0, 256, (side_px, side_px, 3), np.uint8)


def flops_of(data: bytes, name: str, item: NDArray[np.uint8]) -> float:
    """Floating-point operations that one item costs a model, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (an extra)

    model = TorchModel("counted", data, SessionOptions())
    with FlopCounterMode(display=False) as counter:
        model.run({name: item[None]})
    return float(counter.get_total_flops())


def test_every_bucket_of_every_model(pack: LoadedPack) -> None:
    """Images per second of each model alone, the copies to and from the device included."""
    options = pack.options
    print(f"\n{options.runtime} {options.precision}: images/s in buckets of {GPU.mesh.sizes}")
    for task, model, name, item in models_of(pack):
        rates = []
        for size in GPU.mesh.sizes:
            batch = {name: np.stack([item] * size)}
            rates.append(size / seconds(partial(model.run, batch)))
        print(f"  {task:12}", *(f"{rate:9.0f}" for rate in rates))
        assert min(rates) > 0


def test_the_share_of_a_matrix_product(pack: LoadedPack, model_cache: ModelCache) -> None:
    """What the embedder reaches in its largest bucket, of what the device does at matrices."""
    best = matrix_flops_per_s()
    manifest = model_cache.read_manifest("default")
    data = model_cache.read_model(manifest, pack.models.embedding.model_id)
    chip, size = picture(150), GPU.embedding.items_max
    flops = flops_of(data, "chips", chip) * size
    batch = {"chips": np.stack([chip] * size)}
    share = flops / seconds(partial(pack.models.embedding.run, batch)) / best
    print(f"\n{pack.options.runtime} {pack.options.precision}: embedder in batches of {size} at "
          f"{100 * share:.1f} % of {best / 1e12:.0f} TFLOP/s")  # fmt: skip
    assert 0 < share < 1


def test_the_whole_path(pack: LoadedPack, astronaut: Pixels) -> None:
    """Images per second from bytes to evidence on one thread, and of its half with the models."""
    photos = [encode_jpeg(astronaut, 90)] * GPU.embedding.items_max
    plan = Plan(age=False)
    faces: FacePipeline = pack.faces
    prepared = faces.prepare(photos)
    whole = len(photos) / seconds(partial(faces.run, photos, plan))
    models = len(photos) / seconds(partial(faces.complete, prepared, [plan] * len(photos)))
    print(f"\n{pack.options.runtime} {pack.options.precision}: {whole:.0f} images/s on one thread,"
          f" {models:.0f} without decoding")  # fmt: skip
    assert min(whole, models) > 0
