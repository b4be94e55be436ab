"""Whose faces there should be, and where each log ends: what the index is compared with."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from index.entry import START, LogId
from serve.domain.ids import Subject
from serve.store import names
from serve.store.link import reaching_redis

SCAN_COUNT = 128


@dataclass(frozen=True, slots=True)
class RedisFaceCensus:
    """The `FaceCensus` port."""

    link: Redis

    async def entries(self) -> int:
        """How many entries the logs of all partitions hold now."""
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for partition in names.EVERY_PARTITION:
                    pipe.xlen(names.faces(partition))
                return sum(await pipe.execute())

    async def end(self, partition: int) -> tuple[LogId, LogId]:
        """Where the log of a partition says that it ends, and where it does; at one moment."""
        with reaching_redis():
            async with self.link.pipeline(transaction=True) as pipe:
                pipe.get(names.faces_tail(partition))
                pipe.xinfo_stream(names.faces(partition))
                tail, stream = await pipe.execute(raise_on_error=False)
        if isinstance(tail, Exception):
            raise tail
        said = START if tail is None else LogId.parse(tail.decode())
        return said, _last(stream)

    async def customers(self, partition: int) -> AsyncIterator[Subject]:
        """Every customer of a partition; one who comes meanwhile may be left out, and one may be
        told of twice.
        """
        cursor = 0
        while True:
            with reaching_redis():
                step: Any = await self.link.zscan(
                    names.customers(partition), cursor, count=SCAN_COUNT
                )
            cursor, found = step
            for locator, _ in found:
                yield names.located(locator.decode())
            if cursor == 0:
                return


def _last(stream: Any) -> LogId:  # noqa: ANN401 (what redis-py makes of XINFO, or its error)
    """The id that the stream gave out last; START for a stream that never was."""
    if isinstance(stream, ResponseError) and "no such key" in str(stream):
        return START
    if isinstance(stream, Exception):
        raise stream
    return LogId.parse(stream["last-generated-id"].decode())
