"""The fault proxy itself: each fault does what it says and nothing else, and all of it ends."""

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.proxy import PARTED, FaultProxy, Faults, Lane, proxied, proxied_tcp, troubles

PATIENCE_S = 30.0
SHORT_S = 0.15  # in which a thing that may not happen would have
BIG = bytes(2**20)

Ends = tuple[StreamReader, StreamWriter]


class Echo:
    """A server that says everything again; `heard` is all that reached it."""

    def __init__(self) -> None:
        self.heard = b""

    async def answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(2**16):
                self.heard += chunk
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()


@dataclass(slots=True)
class Stage:
    """An echo with a proxy before it, and who connects to the proxy."""

    proxy: FaultProxy
    echo: Echo
    connects: Callable[[], Awaitable[Ends]]
    opened: list[Ends] = field(default_factory=list)

    async def connect(self) -> Ends:
        ends = await self.connects()
        self.opened.append(ends)
        return ends


@asynccontextmanager
async def between(folder: Path, *, tcp: bool = False) -> AsyncIterator[Stage]:
    """The stage, on unix sockets or over TCP; at its end nothing is open."""
    echo = Echo()
    server = await asyncio.start_unix_server(echo.answer, folder / "echo")
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as held:
        if tcp:
            proxy, port = await held.enter_async_context(proxied_tcp(folder / "echo"))
            connects = partial(asyncio.open_connection, "127.0.0.1", port)
        else:
            proxy = await held.enter_async_context(proxied(folder / "echo", folder / "proxy"))
            connects = partial(asyncio.open_unix_connection, folder / "proxy")
        stage = Stage(proxy, echo, connects)
        yield stage
        for _, writer in stage.opened:
            writer.transport.abort()
    assert proxy.connections == 0
    server.close()


async def said(ends: Ends, words: bytes) -> bytes:
    """What comes back of `words`."""
    ends[1].write(words)
    return await ends[0].readexactly(len(words))


async def stays_silent(ends: Ends) -> bool:
    """Whether nothing comes for a while, and the connection lives."""
    try:
        async with asyncio.timeout(SHORT_S):
            await ends[0].read(1)
    except TimeoutError:
        return True
    return False


async def is_broken(ends: Ends) -> bool:
    """Whether the connection ends without another byte."""
    try:
        return await ends[0].read(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("tcp", [False, True])
async def test_without_faults_every_byte_passes(tmp_path: Path, *, tcp: bool) -> None:
    """A megabyte goes there and back unchanged, and connections are counted."""
    async with between(tmp_path, tcp=tcp) as stage:
        ends = await stage.connect()
        ends[1].write(BIG)
        assert await ends[0].readexactly(len(BIG)) == BIG
        assert (stage.proxy.accepted, stage.proxy.connections) == (1, 1)
        assert stage.proxy.sent_bytes == len(stage.echo.heard) == len(BIG)


async def test_a_hole_loses_nothing(tmp_path: Path) -> None:
    """What is said into a partition arrives when it is healed, in either direction."""
    async with between(tmp_path) as stage:
        ends = await stage.connect()
        assert await said(ends, b"a") == b"a"
        stage.proxy.faults = PARTED
        ends[1].write(b"b")
        assert await stays_silent(ends)
        assert stage.echo.heard == b"a"
        stage.proxy.faults = Faults(back=Lane(is_hole=True))
        assert await stays_silent(ends)
        assert stage.echo.heard == b"ab"
        stage.proxy.heal()
        assert await ends[0].readexactly(1) == b"b"


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_reset_breaks_what_is_open(tmp_path: Path, *, tcp: bool) -> None:
    """Open connections break, new ones work, and are refused where that is the fault."""
    async with between(tmp_path, tcp=tcp) as stage:
        ends = await stage.connect()
        assert await said(ends, b"a") == b"a"
        assert stage.proxy.reset() == 1
        assert await is_broken(ends)
        assert await said(await stage.connect(), b"b") == b"b"
        stage.proxy.faults = Faults(refuses=True)
        assert await is_broken(await stage.connect())


async def test_a_swallowed_reply_was_carried_out(tmp_path: Path) -> None:
    """The request reaches the server, its reply reaches nobody, other requests are untouched."""
    async with between(tmp_path) as stage:
        stage.proxy.lose_replies(b"pay", 1)
        ends, other = await stage.connect(), await stage.connect()
        assert await said(other, b"look") == b"look"
        for part in (b"please p", b"ay"):  # cut in two on its way
            ends[1].write(part)
            await ends[1].drain()
            await asyncio.sleep(0.01)
        with suppress(ConnectionError):
            assert b"ay" not in await ends[0].read()
        assert b"pay" in stage.echo.heard
        assert stage.proxy.lost == 1
        assert await said(await stage.connect(), b"pay") == b"pay"


async def test_a_held_reply_keeps_its_caller_waiting(tmp_path: Path) -> None:
    """With `holds` the connection neither answers nor breaks until the fault is healed."""
    async with between(tmp_path) as stage:
        stage.proxy.lose_replies(b"", 1, holds=True)
        ends = await stage.connect()
        ends[1].write(b"a")
        assert await stays_silent(ends)
        stage.proxy.heal()
        assert await is_broken(ends)


async def test_slow_lanes_are_slow(tmp_path: Path) -> None:
    """A trickle hands on the first byte only; latency keeps a chunk back and loses none of it."""
    async with between(tmp_path) as stage:
        ends = await stage.connect()
        stage.proxy.faults = Faults(back=Lane(is_trickle=True))
        ends[1].write(b"abc")
        assert await ends[0].read(3) == b"a"
        assert await stays_silent(ends)
        stage.proxy.faults = Faults(there=Lane(latency_s=2 * SHORT_S))
        ends = await stage.connect()
        ends[1].write(b"abc")
        assert await stays_silent(ends)
        assert await ends[0].readexactly(3) == b"abc"


async def test_a_new_server_takes_over(tmp_path: Path) -> None:
    """After `upstream` was changed new connections reach the other server."""
    async with between(tmp_path) as stage:
        assert await said(await stage.connect(), b"a") == b"a"
        stage.proxy.upstream = tmp_path / "nobody"
        assert await is_broken(await stage.connect())
        assert stage.echo.heard == b"a"


def test_a_seed_draws_the_same_troubles() -> None:
    """The same seed has the same schedule; another one has another."""

    def drawn(seed: int) -> list[object]:
        chance = random.Random(seed)  # noqa: S311
        return list(islice(troubles(chance, {"a": 3, "b": 1}, (0.1, 1.0), (1.0, 2.0)), 50))

    assert drawn(1) == drawn(1) != drawn(2)
