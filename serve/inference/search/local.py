"""The whole index in this process: for small installs, where each front door holds all of it."""

import asyncio
import os
import socket
from types import TracebackType
from typing import Self

from serve.domain.ids import PARTITIONS
from serve.inference.search.follower import end
from serve.inference.search.heartbeat import beat
from serve.inference.search.holder import Holder, Limits
from serve.ports.search import Asked, FaceLog, Found, ShardBoard, ShardStatus


class LocalIndex:
    """The `FaceIndex` port over a holder of every partition; lives as long as its `async with`.

    It tells of itself on the board, and begins anew when an operator asks for it there.
    """

    def __init__(self, log: FaceLog, board: ShardBoard, limits: Limits) -> None:
        name = f"door-{os.getpid()}@{socket.gethostname()}"
        self._holder = Holder(log, name, range(PARTITIONS), limits)
        self._board = board
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._holder.__aenter__()
        self._beating = asyncio.create_task(beat(self._holder, self._board))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._beating is not None:
            await end([self._beating])
        await self._holder.__aexit__(kind, error, trace)

    async def until_ready(self) -> None:
        """Wait until the log has been replayed. Raises `keys_mismatch`."""
        await self._holder.until_ready()

    async def search(self, asked: Asked) -> Found:
        """See `serve.ports.search.FaceIndex`."""
        return await self._holder.search(asked)

    async def statuses(self) -> tuple[ShardStatus, ...]:
        """Of this process alone."""
        return (self._holder.status(),)
