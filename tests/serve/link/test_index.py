"""A door's end of the link for searches: an engine that comes, goes, lies or is slow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from index.entry import LogId
from pipeline.errors import Code as PipelineCode
from pipeline.errors import Failure
from serve.errors import Code, ServeError
from serve.inference.link import messages
from serve.inference.link.client import Limits, LinkedFaces
from serve.inference.link.index import LinkedIndex
from serve.inference.link.messages import Frame, Kind
from serve.inference.link.reach import EngineLostError, Reach
from serve.inference.parcels import pack
from serve.inference.search.packing import pack_found, unpack_asked
from serve.ports.search import Asked, Found, ShardStatus
from tests.serve.link.ends import PATIENCE_S, End, Engines
from tests.serve.search.scripted_shards import EVERYBODY, ScriptedShard, asked

MODEL, QUEUE_MAX = "a model", 32


@dataclass
class Board:
    """What holders have told of themselves."""

    told: list[ShardStatus] = field(default_factory=list)

    async def put(self, status: ShardStatus, kept_s: int) -> None:
        self.told.append(status)

    async def statuses(self) -> list[ShardStatus]:
        return self.told

    async def ask_rebuild(self) -> int:
        raise NotImplementedError

    async def rebuild_wish(self) -> int:
        raise NotImplementedError

    async def ask_shards(self, number: int) -> None:
        raise NotImplementedError

    async def shards_wish(self) -> int:
        raise NotImplementedError


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    return Engines(tmp_path / "faces.sock")


@asynccontextmanager
async def linked(engines: Engines, wait_s: float = PATIENCE_S) -> AsyncIterator[LinkedIndex]:
    """A door's end that is connecting, and has to end in time."""
    async with (
        asyncio.timeout(PATIENCE_S),
        Reach(engines.path, PATIENCE_S, model_id=MODEL) as reach,
    ):
        yield LinkedIndex(reach, Board(), wait_s)


async def greeted(engines: Engines, index: LinkedIndex) -> End:
    """The engine's end of a connection that is in use."""
    end = await engines.next()
    end.send(messages.hello(MODEL, QUEUE_MAX))
    await index.reach.until_connected()
    return end


async def search_seen(end: End) -> Frame:
    """The next SEARCH."""
    frame = await end.next()
    assert frame.head.kind == Kind.SEARCH
    return frame


async def looking(index: LinkedIndex, wanted: Asked | None = None) -> "asyncio.Task[Found]":
    """A search that is on its way."""
    task = asyncio.create_task(index.search(wanted or asked()))
    await asyncio.sleep(0)
    return task


async def refusal(asking: Awaitable[object]) -> ServeError:
    """The coded error it ends with."""
    with pytest.raises(ServeError) as refused:
        await asking
    return refused.value


async def test_a_search_is_sent_as_it_was_asked(engines: Engines) -> None:
    """What is asked and the time left reach the engine; what it found reaches the caller."""
    wanted = replace(asked(limit=7), after={3: LogId(5, 1)}, exclude="k" * 32)
    answer = Found(EVERYBODY, 64, (7,), ("shard-0",))
    async with linked(engines) as index, engines.listening():
        end = await greeted(engines, index)
        searching = await looking(index, wanted)
        frame = await search_seen(end)
        come = unpack_asked(frame.body)
        assert replace(come, template=wanted.template) == wanted
        assert come.template.vector.tobytes() == wanted.template.vector.tobytes()
        assert frame.head.value > PATIENCE_S
        end.send(messages.found(frame.head.number, pack_found(answer)))
        assert await searching == answer
        assert index.reach.in_flight == 0


async def test_without_an_engine_nobody_waits(engines: Engines) -> None:
    """A search is refused at once, with a time to come back; so is one whose engine goes."""
    async with linked(engines) as index:
        refused = await refusal(index.search(asked()))
        assert isinstance(refused, EngineLostError)
        assert refused.retry_after_s is not None
        async with engines.listening():
            end = await greeted(engines, index)
            searching = await looking(index)
            await search_seen(end)
        assert isinstance(await refusal(searching), EngineLostError)


@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.EMBEDDING_INVALID])
async def test_a_refusal_keeps_its_code(engines: Engines, code: Code) -> None:
    """And when to come back."""
    async with linked(engines) as index, engines.listening():
        end = await greeted(engines, index)
        searching = await looking(index)
        number = (await search_seen(end)).head.number
        refused = ServeError(code, "", retry_after_s=3)
        end.send(messages.found(number, pack_found(refused)))
        come = await refusal(searching)
        assert (come.code, come.retry_after_s) == (code, 3)


async def test_a_late_answer_is_unavailable(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time the caller is refused and the engine told; what it says then is passed over,
    and so is the answer to a search that was given up.
    """
    monkeypatch.setattr("serve.inference.link.index.MARGIN_S", 0.01)
    async with linked(engines, wait_s=0.0) as hasty, engines.listening():
        end = await greeted(engines, hasty)
        assert (await refusal(hasty.search(asked()))).code is Code.SERVICE_UNAVAILABLE
        number = (await search_seen(end)).head.number
        head = (await end.next()).head
        assert (head.kind, head.number) == (Kind.CANCEL, number)
        end.send(messages.found(number, pack_found(Found((), 0))))
        assert (await refusal(hasty.search(asked()))).code is Code.SERVICE_UNAVAILABLE


async def test_who_gives_up_takes_the_search_along(engines: Engines) -> None:
    """The engine is told."""
    async with linked(engines) as index, engines.listening():
        end = await greeted(engines, index)
        searching = await looking(index)
        number = (await search_seen(end)).head.number
        searching.cancel()
        head = (await end.next()).head
        assert (head.kind, head.number) == (Kind.CANCEL, number)


async def test_an_answer_that_is_none_finds_nobody_unknown(engines: Engines) -> None:
    """It is refused: never taken for an answer with nobody in it."""
    async with linked(engines) as index, engines.listening():
        end = await greeted(engines, index)
        searching = await looking(index)
        end.send(messages.found((await search_seen(end)).head.number, b""))
        assert (await refusal(searching)).code is Code.SERVICE_UNAVAILABLE


async def test_images_and_searches_share_a_connection(engines: Engines) -> None:
    """Each answer finds who asked, and a full house of images keeps no search out."""
    answer = Failure(PipelineCode.IMAGE_CORRUPT, "ends early")
    async with linked(engines) as index, engines.listening():
        faces = LinkedFaces(index.reach, Limits(PATIENCE_S, bytes_max=1))
        end = await greeted(engines, index)
        examining = asyncio.create_task(faces.examine(b"image", tenant_id="ten_a"))
        searching = await looking(index)
        first, second = await end.next(), await end.next()
        assert [first.head.kind, second.head.kind] == [Kind.EXAMINE, Kind.SEARCH]
        assert first.head.number != second.head.number
        end.send(messages.found(second.head.number, pack_found(Found((), 0))))
        end.send(messages.answer(first.head.number, pack(answer)))
        assert await searching == Found((), 0)
        assert await examining == answer


async def test_shards_are_told_of_by_the_board(engines: Engines) -> None:
    """Those of engines; who holds an index of their own is left out."""
    board = Board()
    for name in ("shard-1@here", "door-7@here"):
        status, _ = await ScriptedShard(name).standing()
        await board.put(status, 10)
    index = LinkedIndex(Reach(engines.path, PATIENCE_S), board, PATIENCE_S)
    assert [status.name for status in await index.statuses()] == ["shard-1@here"]
