"""The in-process engine: batches under load only, bounds, and one caller's fate its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from pipeline.errors import Code as PipelineCode
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Missing, Pixels, Template
from pipeline.face.steps import Plan
from pipeline.image.decode import encode_png
from pipeline.models.load import LoadedPack
from serve.errors import Code, ServeError
from serve.inference.local import Limits, LocalFaces
from serve.inference.room import BATCH_MAX
from serve.observe import metrics
from tests.helpers.builders import face_evidence

TENANT = "ten_a"
PATIENCE_S = 30.0  # of a test that would otherwise hang for ever


BATCHED = "limen_engine_batch_images_sum"
ANSWERED = "limen_engine_seconds_count"
CPU_SECONDS = "limen_engine_cpu_seconds_total"
SAMPLES = (BATCHED, ANSWERED, CPU_SECONDS)


def sample(name: str) -> float:
    """The value of a metric now."""
    return metrics.REGISTRY.get_sample_value(name) or 0.0


class Scripted:
    """A pipeline that holds every batch until it is let go, and tells images by their bytes."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[bytes], Plan]] = []
        self._entered = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)

    def prepare(self, images: Sequence[bytes]) -> list[bytes]:
        """The images themselves."""
        return list(images)

    def complete(self, images: Sequence[bytes], plan: Plan) -> list[FaceEvidence | Failure]:
        """The image's number as its width; `broken` fails, and `defect` breaks the batch."""
        self.batches.append((list(images), plan))
        self._entered.release()
        assert self._gate.acquire(timeout=PATIENCE_S)
        if b"defect" in images:
            raise RuntimeError("a defect")
        return [
            Failure(PipelineCode.IMAGE_CORRUPT, "ends early")
            if image == b"broken"
            else face_evidence(width_px=int(image))
            for image in images
        ]

    async def entered(self, times: int = 1) -> None:
        """Wait until as many more batches are in."""
        for _ in range(times):
            assert await asyncio.to_thread(self._entered.acquire, timeout=PATIENCE_S)

    def let_go(self, times: int = 1000) -> None:
        """Let as many batches finish, now or when they come."""
        self._gate.release(times)

    @property
    def images(self) -> list[list[bytes]]:
        """What each batch held."""
        return [images for images, _ in self.batches]


Examined = asyncio.Task[FaceEvidence | Failure]


@asynccontextmanager
async def engine(
    runner: Scripted, *, workers: int = 1, queue_max: int = 64, timeout_s: float = PATIENCE_S
) -> AsyncIterator[LocalFaces]:
    """An engine whose batches are let go at the latest when it closes."""
    async with LocalFaces(runner, Limits(workers, queue_max, timeout_s)) as faces:
        try:
            yield faces
        finally:
            runner.let_go()


async def ask(faces: LocalFaces, *images: str) -> list[Examined]:
    """Callers, one for each image, all of them waiting by now."""
    tasks = [
        asyncio.create_task(faces.examine(image.encode(), tenant_id=TENANT)) for image in images
    ]
    for _ in range(2):  # each runs up to its wait, and then the engine looks at them all
        await asyncio.sleep(0)
    return tasks


async def widths(tasks: Sequence[Examined]) -> list[int]:
    """The number in each answer."""
    found = await asyncio.gather(*tasks)
    return [outcome.width_px for outcome in found if isinstance(outcome, FaceEvidence)]


async def refusal(asking: Awaitable[object]) -> ServeError:
    """The coded error it ends with."""
    with pytest.raises(ServeError) as refused:
        await asking
    return refused.value


async def test_no_image_waits_while_a_worker_is_free() -> None:
    """Images that meet a free worker run at once and alone; later ones wait together."""
    runner = Scripted()
    async with engine(runner, workers=2) as faces:
        first = await ask(faces, "1", "2")
        await runner.entered(2)
        assert sorted(runner.images) == [[b"1"], [b"2"]]
        later = await ask(faces, "3", "4", "5", "6")
        assert faces.waiting == 4
        runner.let_go()
        assert await widths([*first, *later]) == [1, 2, 3, 4, 5, 6]
    assert runner.images[2] == [b"3", b"4"]  # a half each, in order of arrival
    assert [image for batch in runner.images[2:] for image in batch] == [b"3", b"4", b"5", b"6"]


async def test_a_batch_has_a_bound() -> None:
    """However many wait, one worker takes no more than the bound, oldest first."""
    runner = Scripted()
    async with engine(runner) as faces:
        first = await ask(faces, "0")
        await runner.entered()
        numbers = [str(number) for number in range(1, BATCH_MAX + 4)]
        later = await ask(faces, *numbers)
        runner.let_go()
        assert await widths([*first, *later]) == list(range(BATCH_MAX + 4))
    assert [len(batch) for batch in runner.images] == [1, BATCH_MAX, 3]


async def test_one_image_s_failure_is_its_own() -> None:
    """A corrupt image and one that breaks the pipeline leave their batch's others untouched."""
    runner = Scripted()
    async with engine(runner) as faces:
        first = await ask(faces, "0")
        await runner.entered()
        tasks = await ask(faces, "1", "broken", "2", "defect", "3")
        runner.let_go()
        found = await asyncio.gather(*first, *tasks, return_exceptions=True)
    assert [each.width_px for each in found if isinstance(each, FaceEvidence)] == [0, 1, 2, 3]
    assert found[2] == Failure(PipelineCode.IMAGE_CORRUPT, "ends early")
    assert isinstance(found[4], ServeError)
    assert found[4].code is Code.SERVICE_UNAVAILABLE


async def test_a_full_queue_refuses_at_once() -> None:
    """Beyond the bound the answer is `overloaded` with a time to come back; then there is room."""
    runner = Scripted()
    async with engine(runner, queue_max=2) as faces:
        tasks = await ask(faces, "0")
        await runner.entered()
        tasks += await ask(faces, "1", "2")
        refused = await refusal(faces.examine(b"3", tenant_id=TENANT))
        assert refused.code is Code.OVERLOADED
        assert refused.retry_after_s is not None
        assert refused.retry_after_s >= 1
        tasks.pop().cancel()
        await asyncio.sleep(0)
        tasks += await ask(faces, "4")
        runner.let_go()
        assert await widths(tasks) == [0, 1, 4]


async def test_a_cancelled_caller_s_image_never_runs() -> None:
    """Who hangs up before a worker is free costs the models nothing."""
    runner = Scripted()
    async with engine(runner) as faces:
        tasks = await ask(faces, "0")
        await runner.entered()
        (gone,) = await ask(faces, "1")
        tasks += await ask(faces, "2")
        gone.cancel()
        runner.let_go()
        assert await widths(tasks) == [0, 2]
        assert gone.cancelled()
    assert runner.images == [[b"0"], [b"2"]]


async def test_a_late_answer_is_unavailable_and_a_late_image_never_runs() -> None:
    """After the time limit a caller gets `service_unavailable`, whether its image had begun."""
    runner = Scripted()
    async with engine(runner, timeout_s=0.05) as faces:
        tasks = await ask(faces, "0")
        await runner.entered()
        tasks += await ask(faces, "1")
        refused = [await refusal(task) for task in tasks]
        assert {error.code for error in refused} == {Code.SERVICE_UNAVAILABLE}
        assert faces.waiting == 0
    assert runner.images == [[b"0"]]


async def test_closing_finishes_what_was_taken_and_refuses_the_rest() -> None:
    """Who was let in is answered before the engine has closed; nobody is let in afterwards."""
    runner = Scripted()
    async with engine(runner) as faces:
        tasks = await ask(faces, "0")
        await runner.entered()
        tasks += await ask(faces, "1", "2")
    assert await widths(tasks) == [0, 1, 2]
    assert (await refusal(faces.examine(b"3", tenant_id=TENANT))).code is Code.SERVICE_UNAVAILABLE


async def test_images_of_different_plans_run_apart() -> None:
    """A batch with and without chips is two runs, and each caller gets what was asked for."""
    runner = Scripted()
    async with engine(runner) as faces:
        tasks = await ask(faces, "0")
        await runner.entered()
        for number in range(1, 5):
            wants_chip = number % 2 == 0
            examined = faces.examine(str(number).encode(), tenant_id=TENANT, with_chip=wants_chip)
            tasks.append(asyncio.create_task(examined))
        await asyncio.sleep(0)
        runner.let_go()
        assert await widths(tasks) == [0, 1, 2, 3, 4]
    assert runner.images[1:] == [[b"1", b"3"], [b"2", b"4"]]
    assert [plan.chip for _, plan in runner.batches] == [False, False, True]
    assert not any(plan.age for _, plan in runner.batches)


@pytest.mark.models
async def test_real_faces_through_real_models(pack: LoadedPack, tiles: list[list[Pixels]]) -> None:
    """Many callers at once get what the pipeline says of their own image, chip and all."""
    images = [encode_png(tiles[0][column]) for column in range(8)] + [b"no image"]
    before = {name: sample(name) for name in SAMPLES}
    async with LocalFaces(pack.faces, Limits(2, 64, PATIENCE_S)) as faces:
        found = await asyncio.gather(*(faces.examine(image, tenant_id=TENANT) for image in images))
        chipped = await faces.examine(images[0], tenant_id=TENANT, with_chip=True)
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
    counted = {name: sample(name) - before[name] for name in SAMPLES}
    assert counted[ANSWERED] == counted[BATCHED] == len(images) + 1
    assert counted[CPU_SECONDS] > 0
