"""How much room the store of records has: the disk under an embedded one, and Redis's memory.

Looked at when somebody asks, at most once a second in one process: one command to Redis, and a
look at the folder in a thread.
"""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from redis.asyncio import Redis

from serve.domain.headroom import Marks, Room, Shortage, shortage
from serve.errors import Code, ServeError
from serve.observe import metrics
from serve.settings import State
from serve.store.link import reaching_redis
from serve.store.local.places import places

FRESH_S = 1.0
RETRY_AFTER_S = 30


@dataclass(slots=True)
class RedisHeadroom:
    """The `Headroom` port."""

    link: Redis
    state: State
    _looking: "asyncio.Task[Room] | None" = field(default=None, repr=False)
    _looked_s: float = 0.0

    async def check(self) -> None:
        """Raises `storage_low` while there is room only for what has begun, or if the disk cannot
        be looked at; `state_unavailable` when Redis does not answer.
        """
        found = await self.short_of()
        if found is not None:
            raise ServeError(
                Code.STORAGE_LOW, f"little {found} is left", retry_after_s=RETRY_AFTER_S
            )

    async def short_of(self) -> Shortage | None:
        """What there is too little of. Raises as `check` does."""
        return shortage(await self._room(), self._marks)

    @property
    def _marks(self) -> Marks:
        return Marks(self.state.disk_free_min_bytes, self.state.memory_share_max)

    async def _room(self) -> Room:
        """What there is, or was less than a second ago; all who ask meanwhile share one look."""
        is_stale = monotonic() - self._looked_s > FRESH_S
        if self._looking is None or (self._looking.done() and is_stale):
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Room:
        try:
            room = await memory_of(self.link)
            if not self.state.redis_url:
                room = await asyncio.to_thread(on_disk, self.state.data_dir, room)
        except OSError as error:
            raise ServeError(
                Code.STORAGE_LOW, "the disk cannot be looked at", retry_after_s=RETRY_AFTER_S
            ) from error
        finally:
            self._looked_s = monotonic()
        metrics.set_headroom(room.disk_spare_bytes(self._marks), 1.0 - room.memory_share)
        return room


async def memory_of(link: Redis) -> Room:
    """What Redis uses of the memory it may have. Raises `state_unavailable`."""
    with reaching_redis():
        memory = await link.info("memory")
    return Room(
        memory_bytes=int(memory["used_memory"]), memory_max_bytes=int(memory.get("maxmemory", 0))
    )


def on_disk(data_dir: Path, room: Room) -> Room:
    """`room` with what the disk of an embedded store says. Raises OSError."""
    where = places(data_dir)
    return replace(
        room,
        disk_free_bytes=where.disk_free_bytes(),
        log_bytes=where.log_bytes(),
        rewritten_bytes=where.rewritten_bytes(),
    )
