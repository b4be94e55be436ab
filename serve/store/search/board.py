"""Where holders of the index tell of themselves: counts and places in the log, never faces."""

import json
from dataclasses import asdict, dataclass, replace

from redis.asyncio import Redis

from index.entry import LogId
from serve.ports.search import ShardStatus
from serve.store import names
from serve.store.link import now_ms, reaching_redis

STATUSES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class RedisShardBoard:
    """The `ShardBoard` port."""

    link: Redis

    async def put(self, status: ShardStatus, kept_s: int) -> None:
        """Tell; forgotten after `kept_s` unless told again."""
        with reaching_redis():
            at_ms = await now_ms(self.link)
            text = _dumped(replace(status, at_ms=at_ms))
            await self.link.set(names.shard(status.name), text, ex=kept_s)

    async def statuses(self) -> list[ShardStatus]:
        """All that have told of late, by name."""
        with reaching_redis():
            keys = []
            async for key in self.link.scan_iter(match=names.shard("*"), count=1_000):
                keys.append(key)
                if len(keys) >= STATUSES_MAX:
                    break
            async with self.link.pipeline(transaction=False) as pipe:
                for key in sorted(keys):
                    pipe.get(key)
                found = await pipe.execute()
        return [_loaded(text) for text in found if text is not None]

    async def ask_rebuild(self) -> int:
        """Ask every holder to begin anew; the number of this wish."""
        with reaching_redis():
            return int(await self.link.incr(names.REBUILD_WISH))

    async def rebuild_wish(self) -> int:
        """The number of the last wish, 0 for none."""
        with reaching_redis():
            return int(await self.link.get(names.REBUILD_WISH) or 0)

    async def ask_shards(self, number: int) -> None:
        """Ask engines to cut the index into so many shards, until another number is asked for."""
        with reaching_redis():
            await self.link.set(names.SHARDS_WISH, number)

    async def shards_wish(self) -> int:
        """How many shards are asked for, 0 for as many as the settings say."""
        with reaching_redis():
            return int(await self.link.get(names.SHARDS_WISH) or 0)


def _dumped(status: ShardStatus) -> str:
    members = asdict(status)
    members["applied"] = {str(place): str(log_id) for place, log_id in status.applied.items()}
    members["digests"] = {str(place): f"{digest:016x}" for place, digest in status.digests.items()}
    return json.dumps(members)


def _loaded(text: bytes) -> ShardStatus:
    members = json.loads(text)
    members["applied"] = {int(key): LogId.parse(value) for key, value in members["applied"].items()}
    members["digests"] = {int(key): int(value, 16) for key, value in members["digests"].items()}
    return ShardStatus(**members)
