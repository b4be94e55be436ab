"""Plain sockets to a front door, and what comes back on them."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE_S = 60.0  # of a test that would otherwise hang for ever
REPLY_BYTES_MAX = 2**20


@asynccontextmanager
async def connected(
    url: str, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A socket to the door at `url`, from an address of this machine."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def until_closed(reader: StreamReader) -> bytes:
    """All that the server says until it closes. Raises TimeoutError if it does not."""
    heard = bytearray()
    async with asyncio.timeout(PATIENCE_S):
        try:
            while chunk := await reader.read(2**16):
                heard += chunk
                assert len(heard) <= REPLY_BYTES_MAX
        except ConnectionResetError:
            pass
    return bytes(heard)


def statuses(heard: bytes) -> list[int]:
    """The statuses of the answers in `heard`, one after the other."""
    found = []
    while heard:
        head, _, rest = heard.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1."), first
        found.append(int(first.split()[1]))
        headers = dict(line.lower().split(": ", 1) for line in lines)
        heard = rest[int(headers.get("content-length", "0")) :]
    return found
