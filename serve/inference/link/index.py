"""A front door's end of the link for searches: the `FaceIndex` port over the engine's shards."""

import asyncio
from collections.abc import Sequence

from serve.errors import Code, ServeError
from serve.inference.link import messages
from serve.inference.link.reach import LOST_RETRY_AFTER_S, Reach
from serve.inference.search.packing import PackingError, pack_asked, unpack_found
from serve.ports.search import Asked, Found, ShardBoard, ShardStatus

SHARD_PREFIX = "shard-"
"""Begins the name of every shard of an engine."""
MARGIN_S = 2.0
"""What an answer may take beyond the wait for the log; the engine itself gives up before."""


class LinkedIndex:
    """`serve.ports.search.FaceIndex` over the engine that is reached."""

    def __init__(self, reach: Reach, board: ShardBoard, wait_s: float) -> None:
        """A search waits up to `wait_s` for the log."""
        self.reach = reach
        self._board = board
        self._timeout_s = wait_s + MARGIN_S

    async def search(self, asked: Asked) -> Found:
        """See `serve.ports.search.FaceIndex`; a caller that is cancelled takes the search along.

        Raises `service_unavailable` where there is no engine, or no answer in time.
        """
        engine, number = self.reach.reached(), self.reach.next_number()
        parts = messages.search(number, pack_asked(asked), self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                packed = await engine.ask(number, parts)
            answer = unpack_found(packed, asked.tenant_id, asked.mode)
        except (TimeoutError, PackingError) as error:
            detail = "no answer of the index came in time"
            raise ServeError(
                Code.SERVICE_UNAVAILABLE, detail, retry_after_s=LOST_RETRY_AFTER_S
            ) from error
        if isinstance(answer, ServeError):
            raise answer
        return answer

    async def statuses(self) -> Sequence[ShardStatus]:
        """What the shards of engines have told of themselves of late."""
        told = await self._board.statuses()
        return [status for status in told if status.name.startswith(SHARD_PREFIX)]
