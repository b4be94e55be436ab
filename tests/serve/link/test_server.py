"""The engine's end: who is answered what, what is bounded, and what ends with a connection."""

import asyncio
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pipeline.face.steps import REFERENCE
from serve.inference.link import messages
from serve.inference.link.messages import ANSWER_BYTES_MAX, Kind
from serve.inference.link.server import STATE_EVERY_S, Limits, Work, serve_link
from serve.inference.parcels import Flag, Lapse, Parcel, unpack
from tests.serve.link.ends import PATIENCE_S
from tests.serve.link.stage import MODEL, QUEUE_MAX, a_stage, ask, engine


def modes(path: Path) -> tuple[int, int]:
    """Who may enter the folder, and who may use the socket."""
    return stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(path.stat().st_mode)


def leave(path: Path, what: bytes) -> None:
    """Put a file where the socket is, or was."""
    path.unlink(missing_ok=True)
    path.write_bytes(what)


def left(path: Path) -> bytes | None:
    """What lies there."""
    return path.read_bytes() if path.exists() else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine" / "faces.sock"


async def test_an_image_arrives_as_it_was_sent(path: Path) -> None:
    """Image, tenant, seconds left and the wish for a chip reach the dispatcher."""
    async with engine(path) as stage:
        dispatcher = stage.dispatcher
        door = await stage.door()
        ask(door, 1, b"\x00\xff", chip=True)
        await dispatcher.arrive()
        assert dispatcher.parcels == [Parcel(b"\x00\xff", "ten_a", plan=REFERENCE, remaining_s=1.5)]
        dispatcher.answer(b"\x00\xff")


async def test_answers_find_their_images(path: Path) -> None:
    """Two doors use the same numbers, and answers come in another order: nothing is mixed up."""
    async with engine(path) as stage:
        dispatcher = stage.dispatcher
        doors = [await stage.door(), await stage.door()]
        for name, door in zip((b"a", b"b"), doors, strict=True):
            for number in range(3):
                ask(door, number, name + str(number).encode())
        await dispatcher.arrive(6)
        for number in (2, 0, 1):
            for name in (b"b", b"a"):
                dispatcher.answer(name + str(number).encode())
        for name, door in zip((b"a", b"b"), doors, strict=True):
            for number in (2, 0, 1):
                frame = await door.next()
                assert (frame.head.kind, frame.head.number) == (Kind.ANSWER, number)
                assert frame.body == name + str(number).encode()


async def test_a_defect_is_one_image_s(path: Path) -> None:
    """What breaks the dispatcher is answered `lost`; the next image is answered as ever."""
    async with engine(path) as stage:
        dispatcher = stage.dispatcher
        door = await stage.door()
        ask(door, 1, b"defect")
        assert unpack((await door.next()).body) is Lapse.LOST
        ask(door, 2)
        await dispatcher.arrive()
        dispatcher.answer(b"2")
        assert (await door.next()).body == b"2"


async def test_a_canceled_image_is_given_up_unanswered(path: Path) -> None:
    """CANCEL reaches the dispatcher; the other image's answer is the next thing said. What is
    not known any more is passed over.
    """
    async with engine(path) as stage:
        dispatcher = stage.dispatcher
        door = await stage.door()
        ask(door, 1)
        ask(door, 2)
        await dispatcher.arrive(2)
        for number in (1, 1, 7):
            door.send(messages.cancel(number))
        assert await dispatcher.canceled.get() == b"1"
        dispatcher.answer(b"2")
        assert (await door.next()).body == b"2"


async def test_a_door_that_goes_takes_its_images_along(path: Path) -> None:
    """All it asked for is canceled; what another door asked for is not."""
    async with engine(path) as stage:
        dispatcher = stage.dispatcher
        gone, there = await stage.door(), await stage.door()
        for number in (1, 2):
            ask(gone, number)
        ask(there, 3)
        await dispatcher.arrive(3)
        await gone.hang_up()
        assert {await dispatcher.canceled.get() for _ in range(2)} == {b"1", b"2"}
        dispatcher.answer(b"3")
        assert (await there.next()).body == b"3"


async def test_a_door_has_so_many_images_under_way(path: Path) -> None:
    """One more than the bound is `overloaded`; one answered or canceled makes room again."""
    async with engine(path, Limits(items_max=3, drain_s=0)) as stage:
        dispatcher = stage.dispatcher
        door = await stage.door()
        for number in range(4):
            ask(door, number)
        frame = await door.next()
        assert (frame.head.number, unpack(frame.body)) == (3, Lapse.OVERLOADED)
        door.send(messages.cancel(1))
        assert await dispatcher.canceled.get() == b"1"
        dispatcher.answer(b"0")
        assert (await door.next()).body == b"0"
        for number in (4, 5):
            ask(door, number)
        await dispatcher.arrive(5)


async def test_a_door_has_so_many_bytes_under_way(path: Path) -> None:
    """An image alone may be of any size. Another is refused by its head, before its bytes are
    sent, and taken when the first is done.
    """
    async with engine(path, Limits(bytes_max=10, drain_s=0)) as stage:
        dispatcher = stage.dispatcher
        door = await stage.door()
        ask(door, 1, b"a" * 20)
        head, image = messages.examine(2, "ten_a", b"b" * 10, 1.5, Flag.NONE)
        door.send([head])
        frame = await door.next()
        assert (frame.head.number, unpack(frame.body)) == (2, Lapse.OVERLOADED)
        dispatcher.answer(b"a" * 20)
        assert (await door.next()).head.number == 1
        door.send([image, head, image])
        await dispatcher.arrive(2)
        dispatcher.answer(image)
        assert (await door.next()).body == image


async def test_a_number_has_one_image(path: Path) -> None:
    """A door that asks twice under one number is no door of ours."""
    async with engine(path) as stage:
        dispatcher = stage.dispatcher
        door = await stage.door()
        ask(door, 1, b"a")
        ask(door, 1, b"b")
        assert await door.closed()
        assert await dispatcher.canceled.get() == b"a"


async def test_a_door_that_reads_nothing_is_given_up(path: Path) -> None:
    """Answers do not pile up for it without end."""
    async with engine(path, Limits(unsent_bytes_max=ANSWER_BYTES_MAX, drain_s=0)) as stage:
        dispatcher = stage.dispatcher
        door = await stage.door()
        large, count = bytes(ANSWER_BYTES_MAX), 3
        for number in range(count + 1):
            ask(door, number)
        await dispatcher.arrive(count + 1)
        for number in range(count):
            dispatcher.answer(str(number).encode(), large)
        assert await dispatcher.canceled.get() == str(count).encode()
        assert await door.closed()


async def test_doors_are_told_of_the_queue(path: Path) -> None:
    """While there is work a change that matters is told: begun, longer, full, its rate, empty."""
    async with engine(path) as stage:
        dispatcher = stage.dispatcher
        doors = [await stage.door(), await stage.door()]
        ask(doors[0], 1)
        await dispatcher.arrive()
        changes = [(1, 0), (5, 0), (62, 0), (64, 0), (64, 100), (0, 105), (64, 105)]
        for waiting, rate_per_s in changes:
            dispatcher.waiting, dispatcher.rate_per_s = waiting, float(rate_per_s)
            for door in doors:
                head = (await door.next()).head
                assert (head.kind, head.number, head.value) == (Kind.STATE, waiting, rate_per_s)
        late = await stage.connected()
        hello = await late.next()
        assert (hello.text, hello.head.number) == (MODEL, QUEUE_MAX)
        assert (await late.next()).head.value == 105.0


async def test_doors_are_told_of_every_change_of_a_queue_that_is_nearly_full(path: Path) -> None:
    """In its last sixteenth, and when it leaves that; not of so small a change below."""
    async with engine(path) as stage:
        dispatcher, door = stage.dispatcher, await stage.door()
        ask(door, 1)
        await dispatcher.arrive()
        for waiting in (QUEUE_MAX, 63, 62, 63, 60, 59):
            dispatcher.waiting = waiting
            assert (await door.next()).head.number == waiting
        dispatcher.waiting = 58
        await asyncio.sleep(4 * STATE_EVERY_S)
        dispatcher.waiting = QUEUE_MAX
        assert (await door.next()).head.number == QUEUE_MAX


async def test_nobody_else_reaches_the_socket(path: Path) -> None:
    """Folder 0700, socket 0600; one that a dead engine left is replaced, ours is removed."""
    async with engine(path):
        assert modes(path) == (0o700, 0o600)
    leave(path, b"by one that was killed")
    async with engine(path) as stage:
        assert modes(path) == (0o700, 0o600)
        await stage.door()
    assert left(path) is None


async def test_the_next_engine_s_socket_is_left_alone(path: Path) -> None:
    """An engine that ends late removes its own socket only."""
    async with engine(path):
        leave(path, b"another's")
    assert left(path) == b"another's"


async def test_closing_answers_what_was_asked(path: Path) -> None:
    """What is under way is finished, what comes then is `lost`, and the connection ends."""
    async with asyncio.timeout(PATIENCE_S), a_stage(path) as stage, AsyncExitStack() as held:
        served = serve_link(path, Work(stage.dispatcher, MODEL, QUEUE_MAX))
        await held.enter_async_context(served)
        door = await stage.door()
        ask(door, 1)
        await stage.dispatcher.arrive()
        closing = asyncio.create_task(held.aclose())
        await asyncio.sleep(0)
        ask(door, 2)
        assert unpack((await door.next()).body) is Lapse.LOST
        stage.dispatcher.answer(b"1")
        assert (await door.next()).body == b"1"
        assert await door.closed()
        await closing


async def test_closing_waits_no_longer_than_it_may(path: Path) -> None:
    """What takes too long is given up."""
    async with asyncio.timeout(PATIENCE_S):
        async with engine(path, Limits(drain_s=0.01)) as stage:
            door = await stage.door()
            ask(door, 1)
            await stage.dispatcher.arrive()
        assert await stage.dispatcher.canceled.get() == b"1"
