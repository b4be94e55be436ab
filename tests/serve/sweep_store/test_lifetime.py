"""How long what belongs to sweeps is kept."""

import pytest
from redis.asyncio import Redis

from serve.domain.ids import Mode
from serve.domain.sweeps.sweep import KEPT_MS, home
from serve.store import names
from serve.store.link import now_ms
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.vault.keyring import Keyring
from tests.helpers.records import TENANT
from tests.serve.sweep_store.records import Worker, a_report


@pytest.fixture
def worker(link: Redis, keyring: Keyring) -> Worker:
    return Worker(RedisSweeps(link, keyring))


async def test_everything_of_a_sweep_goes_in_time(worker: Worker) -> None:
    """In every state every key has an end: none after 90 days from the asking."""
    seen = set()
    began_ms = await now_ms(worker.link)

    async def look() -> None:
        async for key in worker.link.scan_iter("*"):
            left_ms = await worker.link.pttl(key)
            assert left_ms > 0, key
            assert began_ms + left_ms <= await now_ms(worker.link) + KEPT_MS, key
            seen.add(key.decode().rpartition(":")[2])

    await worker.created()
    await look()
    sweep = await worker.planned()
    await look()
    await worker.worked(sweep)
    await look()
    await worker.ended(sweep, a_report(sweep))
    await look()
    await worker.sweeps.cancel(TENANT, Mode.LIVE, (await worker.planned()).id)
    await look()
    assert {"plan", "tiles", "claims", "done", "results", "report", "kept", "sweeps"} <= seen


async def test_two_of_one_partition_keep_the_longer_time(worker: Worker) -> None:
    """The lists stay for as long as the last sweep that is in them."""
    await worker.created()
    key = names.sweeps(home(TENANT, Mode.LIVE))
    await worker.link.pexpire(key, 1_000)
    await worker.created()
    assert await worker.link.pttl(key) > KEPT_MS - 60_000
