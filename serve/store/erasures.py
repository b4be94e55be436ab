"""Erasures on their way through the append-only file and the backups."""

import asyncio
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from serve.domain.erasure import ErasureReceipt
from serve.domain.ids import Prefix, partition_of
from serve.store import names
from serve.store.link import now_ms, reaching_redis
from serve.store.local.backup import clear_dead_backup
from serve.store.local.places import Places

REWRITE_S_MAX = 900.0
REWRITE_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class RedisErasures:
    """The `Erasures` port. A Redis by URL may not let us rewrite: then that step stays open."""

    link: Redis
    where: Places | None = None  # of an embedded store

    async def unfinished(self, limit: int) -> list[ErasureReceipt]:
        """Receipts with open steps, those whose next is due first in front.

        So those that wait days for the backups never stand before those that wait for the file.
        """
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for partition in names.EVERY_PARTITION:
                    pipe.zrange(names.erasures(partition), 0, limit - 1, withscores=True)
                rows = await pipe.execute()
            waiting = sorted((due_ms, member.decode()) for row in rows for member, due_ms in row)
            ids = [erasure_id for _, erasure_id in waiting[:limit]]
            keys = [names.erasure(partition_of(Prefix.ERASURE, each), each) for each in ids]
            async with self.link.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.get(key)
                found = await pipe.execute()
        return [ErasureReceipt.model_validate_json(item) for item in found if item is not None]

    async def put(self, receipt: ErasureReceipt) -> None:
        """Write a step down; a receipt with none open is not `unfinished` any more."""
        partition = partition_of(Prefix.ERASURE, receipt.id)
        with reaching_redis():
            async with self.link.pipeline(transaction=True) as pipe:
                pipe.set(names.erasure(partition, receipt.id), receipt.dump(), keepttl=True)
                if receipt.due_ms is None:
                    pipe.zrem(names.erasures(partition), receipt.id)
                else:
                    pipe.zadd(names.erasures(partition), {receipt.id: receipt.due_ms})
                await pipe.execute()

    async def rewrite_log(self) -> int | None:
        """Rewrite the append-only file; the clock in ms at which the finished rewrite began."""
        with reaching_redis():
            try:
                if self.where is not None:
                    await asyncio.to_thread(clear_dead_backup, self.where)
                began_ms = await self._begin_rewrite()
                async with asyncio.timeout(REWRITE_S_MAX):
                    while (state := await self._rewriting())[0]:  # noqa: ASYNC110 (no event)
                        await asyncio.sleep(REWRITE_POLL_S)
            except (ResponseError, TimeoutError):
                return None
        return began_ms if state[1] else None

    async def _begin_rewrite(self) -> int:
        """Start a rewrite of our own: one that runs already began before we read the clock."""
        while (await self._rewriting())[0]:  # noqa: ASYNC110
            await asyncio.sleep(REWRITE_POLL_S)
        began_ms = await now_ms(self.link)
        await self.link.bgrewriteaof()
        return began_ms

    async def _rewriting(self) -> tuple[bool, bool]:
        """Whether a rewrite runs or is about to, and whether the last one went well."""
        state = await self.link.info("persistence")
        is_running = state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]
        return bool(is_running), state["aof_last_bgrewrite_status"] == "ok"
