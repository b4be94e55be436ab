"""A door's end: an engine that comes, goes, lies or is full, and callers who give up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from pipeline.errors import Code as PipelineCode
from pipeline.errors import Failure
from pipeline.face.steps import REFERENCE, SELFIE
from serve.errors import Code, ServeError
from serve.inference.link import messages
from serve.inference.link.client import Limits, LinkedFaces
from serve.inference.link.messages import Kind
from serve.inference.link.reach import EngineLostError, Reach
from serve.inference.parcels import Answer, Flag, Lapse, Outcome, pack
from serve.observe import metrics
from tests.serve.link.ends import PATIENCE_S, End, Engines

MODEL, QUEUE_MAX, TENANT = "a model", 32, "ten_a"
ANSWER = Failure(PipelineCode.IMAGE_CORRUPT, "ends early")
Asked = asyncio.Task[Outcome]


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    return Engines(tmp_path / "faces.sock")


@asynccontextmanager
async def linked(
    engines: Engines, timeout_s: float = PATIENCE_S, bytes_max: int = 2**20
) -> AsyncIterator[LinkedFaces]:
    """A door's end that is connecting, and has to end in time."""
    limits = Limits(timeout_s, bytes_max)
    async with (
        asyncio.timeout(PATIENCE_S),
        Reach(engines.path, timeout_s, model_id=MODEL) as reach,
    ):
        yield LinkedFaces(reach, limits)


async def greeted(engines: Engines, faces: LinkedFaces) -> End:
    """The engine's end of a connection that is in use."""
    end = await engines.next()
    end.send(messages.hello(MODEL, QUEUE_MAX))
    await faces.reach.until_connected()
    return end


async def ask(
    faces: LinkedFaces, image: bytes = b"image", tenant_id: str = TENANT, *, chip: bool = False
) -> Asked:
    """A caller whose image is on its way."""
    examined = faces.examine(image, tenant_id=tenant_id, plan=REFERENCE if chip else SELFIE)
    task = asyncio.create_task(examined)
    await asyncio.sleep(0)
    return task


async def examine_seen(end: End) -> int:
    """The number of the next EXAMINE."""
    head = (await end.next()).head
    assert head.kind == Kind.EXAMINE
    return head.number


async def told(end: End, faces: LinkedFaces, waiting: int, rate_per_s: float) -> None:
    """Have the engine say how it stands; the answer to an image says that this was heard."""
    asked = await ask(faces, tenant_id="ten_probe")
    end.send(messages.state(waiting, rate_per_s))
    end.send(messages.answer(await examine_seen(end), pack(ANSWER)))
    assert await asked == ANSWER


async def refusal(asking: Awaitable[object]) -> ServeError:
    """The coded error it ends with."""
    with pytest.raises(ServeError) as refused:
        await asking
    return refused.value


def admission(faces: LinkedFaces, tenant_id: str = TENANT, let_in: int = 0) -> object:
    """The code that a tenant's image would be refused with at once."""
    try:
        faces.admit(tenant_id, let_in)
    except ServeError as error:
        return error.code
    return None


def measured() -> float:
    """How many answers were timed."""
    return metrics.REGISTRY.get_sample_value("limen_engine_seconds_count") or 0.0


async def test_without_an_engine_nobody_waits(engines: Engines) -> None:
    """Both questions are refused at once, with a time to come back, until there is an engine."""
    async with linked(engines) as faces:
        with pytest.raises(EngineLostError) as refused:
            faces.admit(TENANT)
        assert refused.value.code is Code.SERVICE_UNAVAILABLE
        assert refused.value.retry_after_s is not None
        assert isinstance(await refusal(faces.examine(b"", tenant_id=TENANT)), EngineLostError)
        async with engines.listening():
            await greeted(engines, faces)
            assert admission(faces) is None


async def test_an_image_is_sent_as_it_was_given(engines: Engines) -> None:
    """Image, tenant, time left and wish reach the engine; its answer reaches the caller."""
    before = measured()
    async with linked(engines) as faces, engines.listening():
        end = await greeted(engines, faces)
        for chip in (False, True):
            asked = await ask(faces, b"\x00\xff", chip=chip)
            frame = await end.next()
            assert (frame.text, frame.body) == (TENANT, b"\x00\xff")
            assert frame.head.flags == Flag.of(REFERENCE if chip else SELFIE)
            assert frame.head.value == PATIENCE_S
            end.send(messages.answer(frame.head.number, pack(ANSWER)))
            assert await asked == ANSWER
        assert faces.reach.in_flight == 0
    assert measured() == before + 2


async def test_an_engine_that_goes_is_missed_at_once(engines: Engines) -> None:
    """Who waits is refused as who comes then; the next engine is found and asked."""
    async with linked(engines) as faces:
        async with engines.listening():
            end = await greeted(engines, faces)
            asked = [await ask(faces), await ask(faces)]
            for _ in asked:
                await examine_seen(end)
        for task in asked:
            assert isinstance(await refusal(task), EngineLostError)
        assert admission(faces) is Code.SERVICE_UNAVAILABLE
        assert faces.reach.in_flight == 0
        async with engines.listening():
            end = await greeted(engines, faces)
            again = await ask(faces)
            end.send(messages.answer(await examine_seen(end), pack(ANSWER)))
            assert await again == ANSWER


@pytest.mark.parametrize(
    "said",
    [
        messages.hello("another model", QUEUE_MAX),
        (
            messages.hello(MODEL, 1)[0].replace(
                bytes([Kind.HELLO, messages.VERSION]), b"\x03\x01", 1
            ),
        ),
        messages.state(0, 1.0),
        messages.answer(0, pack(ANSWER)),
        messages.cancel(0),
        (b"GET / HTTP/1.1\r\nHost: limen\r\n\r\n",),
    ],
    ids=["model", "version", "state", "answer", "cancel", "noise"],
)
async def test_what_is_no_engine_of_ours_is_not_asked(
    engines: Engines, said: tuple[bytes, ...]
) -> None:
    """Another model or version, no greeting, another protocol: hung up on, and tried again."""
    async with linked(engines) as faces, engines.listening():
        end = await engines.next()
        end.send(said)
        assert await end.closed()
        assert admission(faces) is Code.SERVICE_UNAVAILABLE
        await greeted(engines, faces)
        assert admission(faces) is None


async def test_an_engine_greets_once(engines: Engines) -> None:
    """One that greets again has lost its thread, and is hung up on."""
    async with linked(engines) as faces, engines.listening():
        end = await greeted(engines, faces)
        asked = await ask(faces)
        end.send(messages.hello(MODEL, QUEUE_MAX))
        assert isinstance(await refusal(asked), EngineLostError)


@pytest.mark.parametrize(
    ("lapse", "code"),
    [
        (Lapse.OVERLOADED, Code.OVERLOADED),
        (Lapse.EXPIRED, Code.SERVICE_UNAVAILABLE),
        (Lapse.CANCELED, Code.SERVICE_UNAVAILABLE),
        (Lapse.LOST, Code.SERVICE_UNAVAILABLE),
    ],
)
async def test_a_lapse_is_a_refusal(engines: Engines, lapse: Lapse, code: Code) -> None:
    """It has its code and a time to come back, and does not mean that the engine is lost."""
    async with linked(engines) as faces, engines.listening():
        end = await greeted(engines, faces)
        asked = await ask(faces)
        answer: Answer = lapse
        end.send(messages.answer(await examine_seen(end), pack(answer)))
        refused = await refusal(asked)
        assert (refused.code, refused.retry_after_s) == (code, 1)
        assert not isinstance(refused, EngineLostError)


async def test_who_has_least_is_let_into_a_full_queue(engines: Engines) -> None:
    """While the engine's queue is full a tenant with its share of this door's images has to wait
    for as long as the queue takes at the engine's rate; then there is room for all again.
    """
    async with linked(engines) as faces, engines.listening():
        end = await greeted(engines, faces)
        await told(end, faces, QUEUE_MAX, 0.0)
        assert admission(faces) is None  # others have filled it: of this door nothing is there
        tasks = [await ask(faces, tenant_id=name) for name in ("ten_a", "ten_a", "ten_b")]
        for _ in tasks:
            await examine_seen(end)
        await told(end, faces, QUEUE_MAX - 1, 0.0)
        assert admission(faces) is None
        for rate_per_s, wait_s in ((0.0, 1), (2.5, 13), (100.0, 1), (0.01, 60)):
            await told(end, faces, QUEUE_MAX, rate_per_s)
            with pytest.raises(ServeError) as refused:
                faces.admit("ten_a")
            assert (refused.value.code, refused.value.retry_after_s) == (Code.OVERLOADED, wait_s)
            assert [admission(faces, name) for name in ("ten_b", "ten_c")] == [None, None]
        await told(end, faces, QUEUE_MAX - 1, 2.5)
        assert admission(faces) is None
        for task in tasks:
            task.cancel()


async def test_the_wait_is_told_by_whose_turn_it_is(engines: Engines) -> None:
    """Of 30 images at 2 a second: who has most of this door's waits for nearly all, who has none
    for one of each other tenant's share; nobody where nothing is known.
    """
    async with linked(engines) as faces:
        assert faces.wait_s("ten_a") == 0.0
        async with engines.listening():
            end = await greeted(engines, faces)
            await told(end, faces, 30, 2.0)
            assert faces.wait_s("ten_a") == 0.0  # of this door nothing is there
            tasks = [await ask(faces, tenant_id=name) for name in ("ten_a",) * 4 + ("ten_b",)]
            for _ in tasks:
                await examine_seen(end)
            assert faces.wait_s("ten_a") == (4 + 1) * 30 / 5 / 2
            assert faces.wait_s("ten_b") == (1 + 2) * 30 / 5 / 2
            assert faces.wait_s("ten_c") == (1 + 1) * 30 / 5 / 2
            await told(end, faces, 30, 0.0)
            assert faces.wait_s("ten_a") == 0.0
            for task in tasks:
                task.cancel()


async def test_who_was_let_in_holds_the_last_places(engines: Engines) -> None:
    """Two of 32, however many uploads are slow; what the engine was asked about is there."""
    async with linked(engines) as faces, engines.listening():
        end = await greeted(engines, faces)
        task = await ask(faces)
        await examine_seen(end)
        for free, let_in, is_refused in (
            (1, 0, False), (1, 1, False), (1, 2, True), (2, 2, False), (2, 3, True), (2, 99, True),
            (3, 99, False),
        ):  # fmt: skip
            await told(end, faces, QUEUE_MAX - free, 0.0)
            assert admission(faces, let_in=let_in) == (Code.OVERLOADED if is_refused else None)
        task.cancel()


async def test_a_door_has_so_many_bytes_under_way(engines: Engines) -> None:
    """An image alone may be of any size; beside another it must fit, and then there is room."""
    async with linked(engines, bytes_max=10) as faces, engines.listening():
        end = await greeted(engines, faces)
        first = await ask(faces, b"a" * 20)
        number = await examine_seen(end)
        assert admission(faces) is Code.OVERLOADED
        assert (await refusal(faces.examine(b"b", tenant_id="ten_b"))).code is Code.OVERLOADED
        end.send(messages.answer(number, pack(ANSWER)))
        assert await first == ANSWER
        assert admission(faces) is None
        tasks = [await ask(faces, b"a" * 5), await ask(faces, b"a" * 5)]
        assert admission(faces) is Code.OVERLOADED
        for task in tasks:
            task.cancel()


async def test_a_late_answer_is_unavailable(engines: Engines) -> None:
    """After the time limit the caller is refused and the engine is told; what it says then is
    passed over.
    """
    async with linked(engines, timeout_s=0.01) as faces, engines.listening():
        end = await greeted(engines, faces)
        refused = await refusal(await ask(faces))
        assert refused.code is Code.SERVICE_UNAVAILABLE
        assert not isinstance(refused, EngineLostError)
        number = await examine_seen(end)
        head = (await end.next()).head
        assert (head.kind, head.number) == (Kind.CANCEL, number)
        end.send(messages.answer(number, pack(ANSWER)))
        assert faces.reach.in_flight == 0
        assert admission(faces) is None


async def test_a_caller_who_gives_up_takes_its_image_back(engines: Engines) -> None:
    """The engine hears CANCEL for that image, and the next caller is answered as ever."""
    async with linked(engines) as faces, engines.listening():
        end = await greeted(engines, faces)
        gone, stays = await ask(faces), await ask(faces)
        numbers = [await examine_seen(end) for _ in range(2)]
        gone.cancel()
        head = (await end.next()).head
        assert (head.kind, head.number) == (Kind.CANCEL, numbers[0])
        for number in numbers:
            end.send(messages.answer(number, pack(ANSWER)))
        assert await stays == ANSWER
        assert gone.cancelled()


async def test_closing_waits_for_what_is_under_way(engines: Engines) -> None:
    """Who was let in is answered before the end has closed; nobody is let in afterwards."""
    async with engines.listening(), AsyncExitStack() as held:
        faces = await held.enter_async_context(linked(engines))
        end = await greeted(engines, faces)
        asked = await ask(faces)
        closing = asyncio.create_task(held.aclose())
        await asyncio.sleep(0)
        refused = await refusal(faces.examine(b"", tenant_id=TENANT))
        assert refused.code is Code.SERVICE_UNAVAILABLE
        assert not isinstance(refused, EngineLostError)
        end.send(messages.answer(await examine_seen(end), pack(ANSWER)))
        assert await asked == ANSWER
        assert await end.closed()
        await closing


async def test_closing_ends_without_an_engine(engines: Engines) -> None:
    """An end that is still looking for an engine stops looking."""
    async with linked(engines) as faces:
        pass
    assert admission(faces) is Code.SERVICE_UNAVAILABLE
