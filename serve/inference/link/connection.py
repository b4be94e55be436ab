"""One end of the link on an event loop: frames in, frames out, and an end when it breaks."""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from typing import cast

from serve.inference.link.messages import Bounds, Frame, FrameReader, Head, LinkBrokenError
from serve.observe import logs

SOCKET_BUFFER_BYTES = 2**18
"""Asked of the kernel for each direction. Measured: with less, an image takes many calls and
wake-ups; with more, large images run through memory that no cache holds any more.
"""


class Connection(asyncio.BufferedProtocol):
    """What doors and engine have in common. Subclasses say what is wanted and what comes of it."""

    def __init__(self, said: Mapping[int, Bounds]) -> None:
        self._reader = FrameReader(said, self.wants, self.came)
        self._transport: asyncio.Transport | None = None

    def wants(self, head: Head) -> bool:
        """Whether the frame that begins with `head` is to be received."""
        del head
        return True

    def came(self, frame: Frame) -> None:
        """A frame is there. May raise LinkBrokenError."""
        raise NotImplementedError

    def lost(self) -> None:
        """Nothing more comes or goes."""
        raise NotImplementedError

    @property
    def unsent_bytes(self) -> int:
        """Written, but not yet taken by the kernel."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, parts: Iterable[bytes]) -> None:
        """Write a frame; into nothing where the connection is gone."""
        if self._transport is not None:
            self._transport.writelines(parts)

    def close(self) -> None:
        """End when all is sent; `lost` follows."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End at once; `lost` follows."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        ours = transport.get_extra_info("socket")
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            ours.setsockopt(socket.SOL_SOCKET, buffer, SOCKET_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        del exc
        self._transport = None
        self.lost()

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        del sizehint
        return self._reader.free()

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        try:
            self._reader.received(nbytes)
        except LinkBrokenError as error:
            logs.write_error("link broken", error)
            self.abort()
