"""What every engine promises, whatever carries the images: one body of tests over all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import numpy as np
import pytest

from pipeline.evidence import FaceEvidence
from pipeline.face.steps import REFERENCE, SELFIE
from serve.errors import Code, ServeError
from serve.inference.batching import COMING_PART
from serve.inference.cluster.options import read_plan
from serve.inference.parcels import Outcome
from serve.ports import Faces
from tests.serve.cluster.cluster import Cluster, toy_cluster
from tests.serve.cluster.serve_files import FOLDER, with_autoscaling
from tests.serve.inference.engines import ENGINES, Opening, Size
from tests.serve.inference.toy_runner import BROKEN, PATIENCE_S, Gate, a_gate

A, B = "ten_a", "ten_b"
CALLERS, QUEUE_MAX, REFUSED = 64, 4, 8
LARGE_BYTES = 9 * 2**20
EXACT = Size(queue_max=QUEUE_MAX, envelope_max=1)
Asked = asyncio.Task[Outcome]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Toy replicas on Ray, as many as the autoscaling of the shipped file for GPUs has them."""
    file = tmp_path_factory.mktemp("cluster") / "serve.yaml"
    file.write_text(with_autoscaling((FOLDER / "serve-gpu.yaml").read_text()))
    options = read_plan(file).options
    with toy_cluster(2, {**options, "ray_actor_options": {"num_cpus": 1}}) as running:
        yield running


@pytest.fixture(params=ENGINES)
def opened(request: pytest.FixtureRequest) -> Opening:
    """How an engine is opened."""
    return ENGINES[request.param](request)


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Callable[[], Gate]]:
    """Makes gates, which are all open when the test is over."""
    with ExitStack() as held:
        made: list[Gate] = []

        def make() -> Gate:
            made.append(held.enter_context(a_gate(tmp_path / f"gate-{len(made)}")))
            return made[-1]

        yield make


async def ask(faces: Faces, *images: bytes | int, tenant_id: str = A) -> list[Asked]:
    """Callers whose images are on their way, one for each; a number is an image of that width."""
    encoded = [f"width {each}".encode() if isinstance(each, int) else each for each in images]
    tasks = [asyncio.create_task(faces.examine(each, tenant_id=tenant_id)) for each in encoded]
    await asyncio.sleep(0)
    return tasks


async def held(faces: Faces, gate: Gate, number: int = 0) -> Asked:
    """A caller whose image keeps one slot busy until its gate is opened."""
    (task,) = await ask(faces, gate.image(number))
    await asyncio.to_thread(gate.await_begun)
    return task


async def widths(tasks: Sequence[Awaitable[Outcome]]) -> list[int]:
    """The number in each answer."""
    async with asyncio.timeout(PATIENCE_S):
        found = await asyncio.gather(*tasks)
    assert all(isinstance(outcome, FaceEvidence) for outcome in found)
    return [outcome.width_px for outcome in found if isinstance(outcome, FaceEvidence)]


async def first_refused(tasks: Sequence[Asked], count: int) -> list[Asked]:
    """Wait until `count` of the callers have been answered; those, all of them `overloaded`."""
    async with asyncio.timeout(PATIENCE_S):
        while sum(task.done() for task in tasks) < count:
            await asyncio.wait(
                [task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED
            )
    done = [task for task in tasks if task.done()]
    for task in done:
        error = await refusal(task)
        assert error.code is Code.OVERLOADED
        assert error.retry_after_s is not None
        assert 1 <= error.retry_after_s <= 60
    return done


async def refusal(asking: Awaitable[object]) -> ServeError:
    """The coded error it ends with."""
    with pytest.raises(ServeError) as refused:
        async with asyncio.timeout(PATIENCE_S):
            await asking
    return refused.value


async def until_refused(faces: Faces, tenant_id: str, let_in: int = 0) -> Code:
    """What a tenant's image would be refused with, once it is known that it would be."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                faces.admit(tenant_id, let_in)
            except ServeError as error:
                return Code(error.code)
            await asyncio.sleep(0)  # the engine tells in its own time


async def test_everybody_gets_the_evidence_of_their_own_image(opened: Opening) -> None:
    """Many callers of several tenants at once: no answer goes to another."""
    async with opened(Size(slots=2)) as faces:
        tasks = [
            task
            for number in range(CALLERS)
            for task in await ask(faces, number, tenant_id=f"ten_{number % 3}")
        ]
        assert await widths(tasks) == list(range(CALLERS))


async def test_an_image_s_failure_is_its_own_answer(
    opened: Opening, gates: Callable[[], Gate]
) -> None:
    """A corrupt image among good ones is answered as such, they as if it were not there."""
    gate = gates()
    async with opened(Size()) as faces:
        first = await held(faces, gate)
        tasks = await ask(faces, 1, b"broken", 2, b"broken", 3)
        gate.let_go()
        assert [await tasks[place] for place in (1, 3)] == [BROKEN, BROKEN]
        assert await widths([first, tasks[0], tasks[2], tasks[4]]) == [0, 1, 2, 3]


async def test_what_breaks_the_pipeline_breaks_for_nobody_else(
    opened: Opening, gates: Callable[[], Gate]
) -> None:
    """Its caller is told to come again; all who were in its batch are answered."""
    gate = gates()
    async with opened(Size()) as faces:
        first = await held(faces, gate)
        tasks = await ask(faces, 1, 2, b"defect", 3, 4)
        gate.let_go()
        refused = await refusal(tasks.pop(2))
        assert refused.code is Code.SERVICE_UNAVAILABLE
        assert refused.retry_after_s is not None
        assert await widths([first, *tasks]) == [0, 1, 2, 3, 4]


async def test_images_as_large_as_a_body_are_looked_at(opened: Opening) -> None:
    """Alone and beside small ones: no message on the way is too short for them."""
    async with opened(Size(slots=2)) as faces:
        large = [f"width {number}".encode() + b" " * LARGE_BYTES for number in range(4)]
        assert await widths(await ask(faces, *large, 4, 5)) == [0, 1, 2, 3, 4, 5]


async def test_a_full_queue_refuses_at_once(opened: Opening, gates: Callable[[], Gate]) -> None:
    """Beyond the bound the answer is `overloaded` with a time to come back, also to the question
    whether to come at all; who was let in is answered, and then there is room again.
    """
    gate = gates()
    async with opened(EXACT) as faces:
        faces.admit(A)
        first = await held(faces, gate)
        tasks = await ask(faces, *range(1, QUEUE_MAX + REFUSED + 1))
        refused = await first_refused(tasks, REFUSED)
        assert await until_refused(faces, A) is Code.OVERLOADED
        gate.let_go()
        stayed = [task for task in tasks if task not in refused]
        assert await widths([first, *stayed]) == list(range(QUEUE_MAX + 1))
        assert await widths(await ask(faces, 5)) == [5]


async def test_the_last_place_is_kept_for_who_was_let_in(
    opened: Opening, gates: Callable[[], Gate]
) -> None:
    """An image that is on its way holds it; those that are there already do not hold another."""
    gate, places = gates(), COMING_PART
    async with opened(Size(queue_max=places, envelope_max=1)) as faces:
        tasks = [await held(faces, gate), *await ask(faces, *range(1, places))]
        assert await until_refused(faces, A, let_in=places + 1) is Code.OVERLOADED
        faces.admit(A, let_in=places)
        faces.admit(B, let_in=places + 1)
        gate.let_go()
        assert await widths(tasks) == list(range(places))


async def test_a_late_answer_is_unavailable(opened: Opening, gates: Callable[[], Gate]) -> None:
    """After the time limit the caller is refused, whether its image had begun or not."""
    gate, other = gates(), gates()
    async with opened(Size(timeout_s=0.5, envelope_max=1)) as faces:
        tasks = [await held(faces, gate), *await ask(faces, other.image(1))]
        codes = [(await refusal(task)).code for task in tasks]
        assert codes == [Code.SERVICE_UNAVAILABLE] * 2
        gate.let_go()
    assert other.is_untouched


async def test_a_caller_who_gives_up_makes_room(opened: Opening, gates: Callable[[], Gate]) -> None:
    """Its image is never looked at, and another takes its place in the queue."""
    gate, never = gates(), gates()
    async with opened(Size(queue_max=1, envelope_max=1)) as faces:
        first = await held(faces, gate)
        (gone,) = await ask(faces, never.image(1))
        gone.cancel()
        await asyncio.sleep(0)
        waits, refused = await ask(faces, 2, 3)
        assert await first_refused([waits, refused], 1) == [refused]
        gate.let_go()
        assert await widths([first, waits]) == [0, 2]
        assert gone.cancelled()
    assert never.is_untouched


async def test_who_asks_much_makes_way_for_who_asks_little(
    opened: Opening, gates: Callable[[], Gate]
) -> None:
    """In a full queue another tenant's image takes the place of the latest of whose are most."""
    gate = gates()
    async with opened(EXACT) as faces:
        first = await held(faces, gate)
        tasks = await ask(faces, *range(1, QUEUE_MAX + 2))
        assert await first_refused(tasks, 1) == [tasks[-1]]
        assert await until_refused(faces, A) is Code.OVERLOADED
        faces.admit(B)
        other = await ask(faces, 10, tenant_id=B)
        assert await first_refused(tasks, 2) == tasks[-2:]
        gate.let_go()
        assert await widths([first, *tasks[:-2], *other]) == [*range(QUEUE_MAX), 10]


async def test_a_chip_comes_only_where_it_was_asked_for(opened: Opening) -> None:
    """Of two callers with the same image each gets what it wanted."""
    async with opened(Size()) as faces:
        found = await asyncio.gather(
            *(faces.examine(b"width 7", tenant_id=A, plan=plan) for plan in (REFERENCE, SELFIE))
        )
    chips = [outcome.chip for outcome in found if isinstance(outcome, FaceEvidence)]
    assert chips[0] is not None
    assert np.array_equal(chips[0], np.full((150, 150, 3), 7, np.uint8))
    assert chips[1] is None


async def test_closing_answers_who_was_let_in(opened: Opening, gates: Callable[[], Gate]) -> None:
    """What is under way is finished before the engine has closed; nobody is let in afterwards."""
    gate = gates()
    async with AsyncExitStack() as stack:
        faces = await stack.enter_async_context(opened(Size()))
        tasks = [await held(faces, gate), *await ask(faces, 1, 2)]
        closing = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0)
        refused = await refusal(faces.examine(b"width 3", tenant_id=A))
        assert refused.code is Code.SERVICE_UNAVAILABLE
        with pytest.raises(ServeError):
            faces.admit(A)
        gate.let_go()
        assert await widths(tasks) == [0, 1, 2]
        await closing
