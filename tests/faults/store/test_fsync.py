"""The checker against a store that acknowledges what it has not written: `appendfsync everysec`.

While the thread that syncs the append-only file is busy, Redis keeps what it has acknowledged in
its own memory, for up to two seconds. On a busy disk that thread is slow by itself; here it is
stopped, so that the window is always open when Redis is killed.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from serve.settings import State
from serve.store.vault.keyring import Keyring
from tests.faults.stage import broken_promises, loaded, summary
from tests.faults.store.servers import Server, server
from tests.faults.store.world import World, world

SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 6
ENOUGH = 20  # acknowledged meanwhile
LOOK_S = 0.01
UNWRITTEN_BYTES = 16 * 2**10
PATIENCE_S = 60.0
CALLBACKS_S_MAX = 5.0  # those that Redis lost never come
SYNCS = "bio_aof_fsync"
# What only a loss explains; which of them it is depends on what was under way.
LOST = re.compile(
    r"is lost|: 0 (enrolments|erasures|sessions)|still known|and now it is|, 0 callbacks"
)


async def killed_unsynced(made: World, redis: Server) -> tuple[Sequence[str], int]:
    """Kill Redis under load while its syncing thread stands still, and start it again: broken
    promises, and the bytes that it had acknowledged and kept to itself.
    """
    kept = 0
    async with loaded(made.clients, SEED, CLIENTS):
        await _until_acknowledged(made, ENOUGH)
        redis.stop_thread(SYNCS)
        await _until_acknowledged(made, ENOUGH)
        if redis.options.get("appendfsync") == "everysec":
            async with asyncio.timeout(PATIENCE_S):
                while kept < UNWRITTEN_BYTES:
                    kept = (await redis.info("persistence"))["aof_buffer_length"]
                    await asyncio.sleep(0)
        await redis.kill()
        await redis.start()
    await redis.make_due()
    return await broken_promises(made.clients, made.receiver, CALLBACKS_S_MAX), kept


async def _until_acknowledged(made: World, more: int) -> None:
    before = made.history.acknowledged.total()
    async with asyncio.timeout(PATIENCE_S):
        while made.history.acknowledged.total() < before + more:  # noqa: ASYNC110 (they count)
            await asyncio.sleep(LOOK_S)


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_only_what_is_synced_survives(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str], appendfsync: str
) -> None:
    """Killed in that window, `always` has lost nothing, and the checker sees that `everysec` has
    lost what it acknowledged.
    """
    async with server(tmp_path / "redis", appendfsync=appendfsync) as redis:
        async with world(State(redis_url=redis.url), keyring) as made:
            found, kept = await killed_unsynced(made, redis)
        with capsys.disabled():
            what = f"killed unsynced, {appendfsync}, {kept} bytes unwritten"
            print(summary(what, SEED, made.history, found))
    if appendfsync == "always":
        assert found == []
    else:
        assert kept >= UNWRITTEN_BYTES
        assert any(LOST.search(line) for line in found), found
