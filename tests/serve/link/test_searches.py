"""The engine's end of the link for searches: who is answered what, and what ends with whom."""

from pathlib import Path

import pytest

from serve.domain.ids import Mode
from serve.errors import Code, ServeError
from serve.inference.link import messages
from serve.inference.link.messages import Kind
from serve.inference.link.server import Limits, Work, serve_link
from serve.inference.search.packing import SearchAnswer, pack_asked, unpack_found
from serve.ports.search import Found
from tests.serve.link.ends import PATIENCE_S, End
from tests.serve.link.stage import AT_ONCE, MODEL, QUEUE_MAX, a_stage, ask, engine
from tests.serve.search.scripted_shards import EVERYBODY, TENANT, asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine" / "faces.sock"


def look_for(door: End, number: int, remaining_s: float = PATIENCE_S) -> None:
    """Have somebody looked for."""
    door.send(messages.search(number, pack_asked(asked(limit=number)), remaining_s))


async def found(door: End) -> tuple[int, SearchAnswer]:
    """The number of the next search that is answered, and its answer."""
    frame = await door.next()
    assert frame.head.kind == Kind.FOUND
    return frame.head.number, unpack_found(frame.body, TENANT, Mode.LIVE)


async def test_a_search_is_answered(path: Path) -> None:
    """It reaches the index as it was sent, and what was found comes back under its number."""
    async with engine(path) as stage:
        door = await stage.door()
        for number, answer in ((1, Found(EVERYBODY, 64)), (2, Found((), 3, (7,), ("shard-0",)))):
            look_for(door, number)
            assert (await stage.index.arrived.get()).limit == number
            stage.index.answers.put_nowait(answer)
            assert await found(door) == (number, answer)


async def test_a_search_and_an_image_are_apart(path: Path) -> None:
    """Both are answered, whichever is first."""
    async with engine(path) as stage:
        door = await stage.door()
        ask(door, 1)
        look_for(door, 2)
        await stage.dispatcher.arrive()
        stage.index.answers.put_nowait(Found((), 0))
        assert (await found(door))[0] == 2
        stage.dispatcher.answer(b"1")
        assert (await door.next()).head.kind == Kind.ANSWER


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ServeError(Code.OVERLOADED, "", retry_after_s=3), Code.OVERLOADED),
        (ServeError(Code.EMBEDDING_INVALID, ""), Code.EMBEDDING_INVALID),
        (ServeError(Code.STATE_UNAVAILABLE, ""), Code.SERVICE_UNAVAILABLE),
        (RuntimeError("a defect"), Code.SERVICE_UNAVAILABLE),
    ],
)
async def test_a_search_that_fails_is_refused(path: Path, raised: Exception, code: Code) -> None:
    """With its code, as far as it is one of a search's; the next one is answered as ever."""
    async with engine(path) as stage:
        door = await stage.door()
        look_for(door, 1)
        stage.index.answers.put_nowait(raised)
        _, refused = await found(door)
        assert isinstance(refused, ServeError)
        assert refused.code is code
        look_for(door, 2)
        stage.index.answers.put_nowait(Found((), 0))
        assert await found(door) == (2, Found((), 0))


async def test_a_search_ends_in_time(path: Path) -> None:
    """When nobody waits for it any more it is given up, and said so."""
    async with engine(path) as stage:
        door = await stage.door()
        look_for(door, 1, remaining_s=0.01)
        _, refused = await found(door)
        assert isinstance(refused, ServeError)
        assert refused.code is Code.SERVICE_UNAVAILABLE
        assert (await stage.index.canceled.get()).limit == 1


async def test_a_canceled_search_is_given_up_unanswered(path: Path) -> None:
    """CANCEL reaches the index, and so does a door's end."""
    async with engine(path) as stage:
        door, gone = await stage.door(), await stage.door()
        look_for(door, 1)
        look_for(gone, 2)
        for _ in range(2):
            await stage.index.arrived.get()
        door.send(messages.cancel(1))
        assert (await stage.index.canceled.get()).limit == 1
        await gone.hang_up()
        assert (await stage.index.canceled.get()).limit == 2
        look_for(door, 3)
        stage.index.answers.put_nowait(Found((), 0))
        assert await found(door) == (3, Found((), 0))


async def test_one_search_too_many_is_refused(path: Path) -> None:
    """Images and searches count together; a large image does not keep searches out."""
    async with engine(path, Limits(items_max=2, bytes_max=10, drain_s=0)) as stage:
        door = await stage.door()
        ask(door, 1, b"a" * 20)
        look_for(door, 2)
        await stage.index.arrived.get()
        look_for(door, 3)
        number, refused = await found(door)
        assert isinstance(refused, ServeError)
        assert (number, refused.code) == (3, Code.OVERLOADED)


async def test_what_is_no_search_breaks_the_link(path: Path) -> None:
    """Bytes that nobody packed are no door's of ours."""
    async with engine(path) as stage:
        door = await stage.door()
        door.send(messages.search(1, b"noise", 1.0))
        assert await door.closed()


async def test_an_engine_without_an_index_says_so(path: Path) -> None:
    """A search of it is refused, as one that was not carried out."""
    async with (
        a_stage(path) as stage,
        serve_link(path, Work(stage.dispatcher, MODEL, QUEUE_MAX), AT_ONCE),
    ):
        door = await stage.door()
        look_for(door, 1)
        _, refused = await found(door)
        assert isinstance(refused, ServeError)
        assert refused.code is Code.SERVICE_UNAVAILABLE
