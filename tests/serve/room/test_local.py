"""The in-process engine over real models, and what it tells operators.

What it promises callers is in `test_contract`, how it forms batches in `test_room`.
"""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Missing, Pixels, Template
from pipeline.face.steps import REFERENCE
from pipeline.image.decode import encode_png
from pipeline.models.load import LoadedPack
from serve.errors import Code, ServeError
from serve.inference.local import Limits, LocalFaces
from serve.observe import metrics
from tests.serve.inference.toy_runner import PATIENCE_S, ToyRunner, a_gate

TENANT = "ten_a"
QUEUE = "limen_engine_queue_images"
BATCHED = "limen_engine_batch_images_sum"
ANSWERED = "limen_engine_seconds_count"
CPU_SECONDS = "limen_engine_cpu_seconds_total"
SAMPLES = (BATCHED, ANSWERED, CPU_SECONDS)


def sample(name: str) -> float:
    """The value of a metric now."""
    return metrics.REGISTRY.get_sample_value(name) or 0.0


def counted_since(before: dict[str, float]) -> dict[str, float]:
    """What was counted meanwhile."""
    return {name: sample(name) - before[name] for name in SAMPLES}


async def test_operators_are_told_of_every_image(tmp_path: Path) -> None:
    """How many wait is told whenever one leaves, refused ones too; seconds are of those that were
    answered, batches and processor time of all that ran.
    """
    before = {name: sample(name) for name in SAMPLES}
    with a_gate(tmp_path / "gate") as gate:
        async with LocalFaces(ToyRunner(), Limits(1, 2, PATIENCE_S)) as faces:
            images = [gate.image(0), b"width 1", b"defect", b"width 2"]
            tasks = []
            for image in images:
                examining = faces.examine(image, tenant_id=TENANT)
                tasks.append(asyncio.create_task(examining))
                if image is images[0]:
                    await asyncio.to_thread(gate.await_begun)
            with pytest.raises(ServeError) as refused:
                await tasks.pop()
            assert refused.value.code is Code.OVERLOADED
            tasks[1].cancel()
            await asyncio.wait(tasks[1:2])
            assert sample(QUEUE) == faces.waiting == 1
            gate.let_go()
            found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [FaceEvidence, asyncio.CancelledError, ServeError]
    assert sample(QUEUE) == 0
    counted = counted_since(before)
    assert (counted[BATCHED], counted[ANSWERED]) == (2, 1)
    assert counted[CPU_SECONDS] > 0


@pytest.mark.models
async def test_real_faces_through_real_models(pack: LoadedPack, tiles: list[list[Pixels]]) -> None:
    """Many callers at once get what the pipeline says of their own image, chip and all."""
    images = [encode_png(tiles[0][column]) for column in range(8)] + [b"no image"]
    before = {name: sample(name) for name in SAMPLES}
    async with LocalFaces(pack.faces, Limits(2, 64, PATIENCE_S)) as faces:
        found = await asyncio.gather(*(faces.examine(image, tenant_id=TENANT) for image in images))
        chipped = await faces.examine(images[0], tenant_id=TENANT, plan=REFERENCE)
    for outcome, alone in zip(found[:-1], pack.faces.run(images[:-1]), strict=True):
        assert isinstance(outcome, FaceEvidence)
        assert isinstance(alone, FaceEvidence)
        assert isinstance(outcome.template, Template)
        assert isinstance(alone.template, Template)
        assert float(np.dot(outcome.template.vector, alone.template.vector)) >= 0.9999
        assert outcome.chip is None
        assert outcome.age is Missing.NOT_REQUESTED
    assert isinstance(found[-1], Failure)
    assert isinstance(chipped, FaceEvidence)
    assert chipped.chip is not None
    assert chipped.chip.shape == (150, 150, 3)
    counted = counted_since(before)
    assert counted[ANSWERED] == counted[BATCHED] == len(images) + 1
    assert counted[CPU_SECONDS] > 0
