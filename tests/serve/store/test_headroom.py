"""The room that the store has, looked at on a real Redis and a real disk."""

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from serve.domain.headroom import Shortage
from serve.settings import State
from serve.store.headroom import FRESH_S, RedisHeadroom
from serve.store.link import open_link
from tests.helpers.service import refusal

MOST = 2**50


def looking(link: Redis, state: State, **changes: float) -> RedisHeadroom:
    return RedisHeadroom(link, state.model_copy(update=changes))


async def test_there_is_room_until_the_disk_is_short(link: Redis, redis_state: State) -> None:
    """Bytes to keep free that no disk has are a shortage; of a Redis by URL they say nothing."""
    assert await looking(link, redis_state).short_of() is None
    short = looking(link, redis_state, disk_free_min_bytes=MOST)
    assert await short.short_of() is Shortage.DISK
    assert await refusal(short.check()) == "storage_low"
    remote = redis_state.model_copy(update={"redis_url": "redis://elsewhere"})
    assert await looking(link, remote, disk_free_min_bytes=MOST).short_of() is None


async def test_there_is_room_until_the_memory_is_short(link: Redis, redis_state: State) -> None:
    """Near its `maxmemory` Redis is short of memory, and not any more once that is raised."""
    used = int((await link.info("memory"))["used_memory"])
    await link.config_set("maxmemory", used + used // 100)
    try:
        assert await looking(link, redis_state).short_of() is Shortage.MEMORY
        await link.config_set("maxmemory", used * 4)
        assert await looking(link, redis_state).short_of() is None
    finally:
        await link.config_set("maxmemory", 0)


async def test_many_who_ask_share_one_look(link: Redis, redis_state: State) -> None:
    """A hundred questions at once cost Redis one command, and so do those of the next second."""
    headroom = looking(link, redis_state)
    before = int((await link.info("commandstats"))["cmdstat_info"]["calls"])
    await asyncio.gather(*(headroom.check() for _ in range(100)))
    first = int((await link.info("commandstats"))["cmdstat_info"]["calls"])
    headroom._looked_s -= FRESH_S  # noqa: SLF001 (a second passes)
    await asyncio.gather(*(headroom.check() for _ in range(100)))
    second = int((await link.info("commandstats"))["cmdstat_info"]["calls"])
    # each count is itself one more
    assert (first - before, second - first) == (2, 2)


async def test_what_cannot_be_told_is_refused(tmp_path: Path, redis_state: State) -> None:
    """A Redis that does not answer leaves no room for anything new."""
    nowhere = redis_state.model_copy(update={"data_dir": tmp_path})
    link = open_link(nowhere)
    try:
        assert await refusal(RedisHeadroom(link, nowhere).check()) == "state_unavailable"
    finally:
        await link.aclose()
