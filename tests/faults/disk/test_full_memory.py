"""A Redis that comes near its `maxmemory`: new work is shed, nothing is evicted, and what has
begun is finished.
"""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from pipeline.models.cache import ModelCache
from serve.demo.receiver import Receiver
from serve.store.local.embedded import socket_path
from tests.faults.disk.acts import WAIT_S_MAX, goes_on, opened, try_open
from tests.faults.history import History
from tests.faults.stage import open_clients, take_photos
from tests.helpers.running import running

SHARE = 0.95  # of `maxmemory` in use; new work is shed from 0.9
OPEN = 8
BALLAST_BYTES = 50_000_000  # so that a twentieth is more than buffers come and go


@pytest.mark.models
async def test_a_full_memory_loses_nothing(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Near the limit opens are refused and open sessions are judged and called back; the limit
    raised, all goes on; no key was evicted.
    """
    photos = take_photos(model_cache)
    async with running(tmp_path / "var", workers=2, engine="local") as service:
        secret = service.credentials()["webhook_secret"]
        redis = Redis(unix_socket_path=str(socket_path(service.data_dir)), protocol=2)
        async with Receiver(secret) as receiver, aiohttp.ClientSession() as http, redis:
            clients = await open_clients(service, http, receiver, photos, History())
            tokens = [await opened(clients, f"held-{number}") for number in range(OPEN)]
            await opened(clients, "late")
            await redis.setrange("ballast", BALLAST_BYTES, "x")
            used = int((await redis.info("memory"))["used_memory"])
            await redis.config_set("maxmemory", round(used / SHARE))
            shed = 0
            async with asyncio.timeout(WAIT_S_MAX):
                while shed < 10:  # in a row
                    answer = await try_open(clients, "late")
                    shed = shed + 1 if answer == (503, "storage_low") else 0
            await asyncio.gather(*(goes_on(clients, receiver, token) for token in tokens))
            erased = await clients.tenant.call("DELETE", "/api/v1/customers/held-0")
            assert erased.status == 200
            assert await try_open(clients, "late") == (503, "storage_low")
            await redis.config_set("maxmemory", 0)
            async with asyncio.timeout(WAIT_S_MAX):
                while (await try_open(clients, "late"))[0] != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            stats = await redis.info("stats")
    with capsys.disabled():
        print(
            f"\nfull memory: {OPEN} open sessions judged and called back at {SHARE:.0%}, "
            f"{shed + 1} opens shed, {stats['evicted_keys']} keys evicted"
        )
    assert stats["evicted_keys"] == 0
