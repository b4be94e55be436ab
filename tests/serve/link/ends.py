"""Either end of the link in a test's hands: frames are sent and seen one by one."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from serve.inference.link.messages import SAID_BY_DOORS, Bounds, Frame, FrameReader, Head

PATIENCE_S = 30.0  # of a test that would otherwise hang for ever


class End:
    """One end of a connection, whose other end says what `said` knows."""

    def __init__(
        self, reader: StreamReader, writer: StreamWriter, said: Mapping[int, Bounds]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._came: list[Frame] = []
        self._is_hung_up = False
        self._frames = FrameReader(said, wanted, self._came.append)

    def send(self, parts: Iterable[bytes]) -> None:
        """Write a frame."""
        self._writer.write(b"".join(parts))

    async def next(self) -> Frame:
        """The next frame of the other end."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._came:
                data = await self._reader.read(2**16)
                assert data, "the other end has closed"
                self._frames.free()[: len(data)] = data
                self._frames.received(len(data))
        return self._came.pop(0)

    async def closed(self) -> bool:
        """Wait for the end, whatever is said before; whether it was the other end's doing."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self._reader.read(2**16):
                    pass
            except ConnectionError:
                pass
        return not self._is_hung_up

    async def hang_up(self) -> None:
        """Close this end."""
        self._is_hung_up = True
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Engines:
    """Stands where the engine's process stands. Each connection of a door's is an End."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: asyncio.Queue[End] = asyncio.Queue()
        self._open: list[End] = []

    async def next(self) -> End:
        """The end of the next connection that a door has made."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._ends.get()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """As long as there is an engine at all; its connections break with it."""
        server = await asyncio.start_unix_server(self._connected, self.path)
        try:
            yield
        finally:
            server.close()
            self.path.unlink()
            for end in self._open:
                await end.hang_up()
            self._open.clear()

    def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        end = End(reader, writer, SAID_BY_DOORS)
        self._open.append(end)
        self._ends.put_nowait(end)


def wanted(head: Head) -> bool:
    """Every frame is."""
    del head
    return True
