"""A bad network between two programs of this machine, over TCP or unix sockets.

It hands bytes on in both directions and does to them what `faults` says at that moment. What a
seed draws is the same each time. Connections and what waits in them are bounded, and all of them
end with the proxy.
"""

import asyncio
import random
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS_MAX = 512
CHUNK_BYTES = 2**16
LOOK_S = 0.01
TRICKLE_S = 1.0  # for a byte

Address = Path | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Lane:
    """What happens to bytes in one direction: each chunk comes `latency_s` later, a hole takes
    nothing in and loses nothing until it is gone, a trickle is a byte a second.
    """

    latency_s: float = 0.0
    is_hole: bool = False
    is_trickle: bool = False


@dataclass(frozen=True, slots=True)
class Faults:
    """Both directions: `there` is towards the server. `refuses` resets whoever connects."""

    there: Lane = Lane()
    back: Lane = Lane()
    refuses: bool = False


WELL = Faults()
PARTED = Faults(Lane(is_hole=True), Lane(is_hole=True))


@dataclass(slots=True)
class Swallow:
    """The next `left` requests with `word` in them are carried out and their replies lost. Then
    the connection breaks, or says nothing for as long as `holds`.
    """

    word: bytes = b""
    left: int = 0
    holds: bool = False


@dataclass(slots=True, eq=False)
class _Connection:
    client: StreamWriter
    server: StreamWriter
    tail: bytes = b""
    is_doomed: bool = False  # its next reply will be lost


@dataclass(slots=True)
class FaultProxy:
    """Between whoever connects and the server at `upstream`, which may be changed.

    `accepted` counts connections, `lost` swallowed replies, `sent_bytes` those towards the server.
    """

    upstream: Address
    faults: Faults = WELL
    swallow: Swallow = field(default_factory=Swallow)
    accepted: int = 0
    lost: int = 0
    sent_bytes: int = 0
    _open: set[_Connection] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def lose_replies(self, word: bytes, times: int, *, holds: bool = False) -> None:
        """Carry out the next requests with `word` in them, and lose their replies."""
        self.swallow = Swallow(word, times, holds)

    def reset(self) -> int:
        """Break every connection; how many there were."""
        for connection in self._open:
            _reset(connection.client)
            _reset(connection.server)
        return len(self._open)

    def heal(self) -> None:
        """No fault any more."""
        self.faults, self.swallow = WELL, Swallow()

    async def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection from now on."""
        self.accepted += 1
        self._tasks.add(task := asyncio.create_task(self._serve(reader, writer)))
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: _reset(writer))  # even of one that never began

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.faults.refuses or len(self._open) >= CONNECTIONS_MAX:
            _reset(writer)
            return
        try:
            from_server, to_server = await _connected(self.upstream)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(writer, to_server)
        self._open.add(connection)
        ways = [
            asyncio.ensure_future(way)
            for way in (self._there(connection, reader), self._back(connection, from_server))
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            _reset(writer)
            _reset(to_server)
            self._open.discard(connection)

    async def _there(self, connection: _Connection, reader: StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await _endure(lambda: self.faults.there)
            self._overhear(connection, chunk)
            self.sent_bytes += len(chunk)
            await _write(connection.server, chunk, lambda: self.faults.there)

    async def _back(self, connection: _Connection, reader: StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await _endure(lambda: self.faults.back)
            if connection.is_doomed:
                self.lost += 1
                while self.swallow.holds:  # noqa: ASYNC110 (set by whoever plays)
                    await asyncio.sleep(LOOK_S)
                return
            await _write(connection.client, chunk, lambda: self.faults.back)

    def _overhear(self, connection: _Connection, chunk: bytes) -> None:
        swallow = self.swallow
        said = connection.tail + chunk
        connection.tail = said[max(0, len(said) - len(swallow.word) + 1) :]
        if swallow.left > 0 and not connection.is_doomed and swallow.word in said:
            swallow.left -= 1
            connection.is_doomed = True


@asynccontextmanager
async def proxied(upstream: Address, path: Path | None = None) -> AsyncIterator[FaultProxy]:
    """A proxy that listens on the unix socket `path`."""
    proxy = FaultProxy(upstream)
    server = await asyncio.start_unix_server(proxy.take, path)
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


@asynccontextmanager
async def proxied_tcp(upstream: Address) -> AsyncIterator[tuple[FaultProxy, int]]:
    """A proxy on a free port of loopback, and that port."""
    proxy = FaultProxy(upstream)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await proxy.close()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault of a schedule: which, after how long, and for how long, in seconds."""

    kind: str
    after_s: float
    lasts_s: float


def troubles(
    chance: random.Random, weights: dict[str, int], after_s: tuple[float, float],
    lasts_s: tuple[float, float],
) -> Iterator[Trouble]:  # fmt: skip
    """Faults without end, of kinds as often as their weights say; the same for the same seed."""
    kinds, numbers = list(weights), list(weights.values())
    while True:
        (kind,) = chance.choices(kinds, numbers)
        yield Trouble(kind, chance.uniform(*after_s), chance.uniform(*lasts_s))


async def _endure(lane: Callable[[], Lane]) -> None:
    if latency_s := lane().latency_s:
        await asyncio.sleep(latency_s)
    while lane().is_hole:  # noqa: ASYNC110 (the same)
        await asyncio.sleep(LOOK_S)


async def _write(writer: StreamWriter, chunk: bytes, lane: Callable[[], Lane]) -> None:
    while chunk and lane().is_trickle:
        writer.write(chunk[:1])
        chunk = chunk[1:]
        await asyncio.sleep(TRICKLE_S)
    if chunk:
        writer.write(chunk)
        await writer.drain()


async def _connected(upstream: Address) -> tuple[StreamReader, StreamWriter]:
    if isinstance(upstream, Path):
        return await asyncio.open_unix_connection(upstream)
    return await asyncio.open_connection(*upstream)


def _reset(writer: StreamWriter) -> None:
    """Break it as a crash would: over TCP the other end hears RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
