"""A sweep over a link that loses replies: each step is carried out, and its answer never heard."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from index.sweep.grid import all_pairs
from serve.domain.ids import Mode
from serve.domain.sweeps.sweep import Sweep, SweepStatus
from serve.errors import Code, ServeError
from serve.ports import Hold, TileLease
from serve.settings import State
from serve.store.link import RETRIES_MAX, open_link
from serve.store.local.places import places
from serve.store.scripts import Script
from serve.store.sweeps import scripts
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.vault.keyring import Keyring
from tests.faults.proxy import FaultProxy, proxied
from tests.helpers.records import TENANT
from tests.serve.sweep_store.records import (
    Worker,
    a_pair,
    a_plan,
    a_report,
    a_result,
    a_sweep,
    an_op,
)

Answer = TypeVar("Answer")
BLOCKS, PAIRS = 2, 7
LOOKS_MAX = 5
CHANGES = {
    script.name: script
    for script in vars(scripts).values()
    if isinstance(script, Script)
}  # fmt: skip
LOST_FOR_GOOD = RETRIES_MAX + 1  # tries of the link: then whoever asked has to ask again


@pytest_asyncio.fixture
async def behind(
    redis_state: State, keyring: Keyring, tmp_path: Path
) -> AsyncIterator[tuple[RedisSweeps, FaultProxy]]:
    """Sweeps through a proxy that may lose replies."""
    path = tmp_path / "proxy.sock"
    async with proxied(places(redis_state.data_dir).socket, path) as proxy:
        link = open_link(State(redis_url=f"unix://{path}"))
        yield RedisSweeps(link, keyring), proxy
        await link.aclose()


@pytest.fixture
def worker(link: Redis, keyring: Keyring) -> Worker:
    return Worker(RedisSweeps(link, keyring))


async def insisted(ask: Callable[..., Awaitable[Answer]], *words: object) -> Answer:
    """Asked again, in the same words, while nobody answers."""
    for _ in range(LOOKS_MAX):
        try:
            return await ask(*words)
        except ServeError as error:
            if error.code is not Code.STATE_UNAVAILABLE:
                raise
    raise AssertionError("no answer")


async def a_life(bad: RedisSweeps, worker: Worker) -> dict[str, object]:
    """One sweep over the bad link, from its asking to forgetting; leases run out in between, as
    time lets them. What is there of it in the end.
    """
    wanted, op = a_sweep(), an_op()
    sweep = await insisted(bad.create, wanted, op)
    running = sweep.model_copy(update={"status": SweepStatus.RUNNING, "tiles": 3})
    hold = await held(bad, worker, sweep)
    await insisted(bad.plan, hold, running, a_plan(BLOCKS), list(all_pairs(BLOCKS)))
    found: Sweep | None = running
    for _ in range(LOOKS_MAX):
        leases = await insisted(bad.claim_tiles, sweep.id, 3)
        await insisted(bad.renew_tiles, leases)
        for lease in leases:
            found = await insisted(finished, bad, lease)
        if found is not None and found.tiles_done == found.tiles:
            break
        await worker.expire(sweep)
    assert found is not None
    end = await held(bad, worker, sweep)
    over = found.model_copy(update={"status": SweepStatus.DONE})
    report = a_report(sweep, PAIRS, 1)
    assert await insisted(bad.end, end, over, report)
    await insisted(bad.forget, sweep.id, frozenset({a_pair(0).subject_a}))
    pairs, tail = await bad.edges(sweep.id)
    other = await insisted(bad.create, a_sweep(), op)
    assert other == await bad.one(TENANT, Mode.LIVE, sweep.id)
    canceled = await bad.create(a_sweep(), an_op())
    gone = await insisted(bad.cancel, TENANT, Mode.LIVE, canceled.id)
    assert gone is not None
    return {
        "sweeps": len((await bad.page(TENANT, Mode.LIVE, "", 10)).items),
        "active": await bad.active(), "canceled": gone.status,
        "counts": (over.tiles_done, over.compared, over.mates, over.found, over.busy_ms),
        "pairs": pairs, "tail": tail, "rings": await bad.rings(sweep.id),
        "keys": await keys_of(worker.link, sweep),
    }  # fmt: skip


async def finished(bad: RedisSweeps, lease: TileLease) -> Sweep | None:
    return await bad.finish_tile(lease, a_result(lease.tile, [a_pair(lease.tile.column)]))


async def held(bad: RedisSweeps, worker: Worker, sweep: Sweep) -> Hold:
    """A hold, and kept once; whoever never heard that they have it waits until it has run out."""
    for _ in range(LOOKS_MAX):
        hold = await insisted(bad.hold, sweep.id)
        kept = None if hold is None else await insisted(bad.renew, hold)
        if kept is not None:
            return kept
        await worker.expire(sweep)
    raise AssertionError("no hold")


async def keys_of(link: Redis, sweep: Sweep) -> list[str]:
    """Its parts."""
    return sorted([
        key.decode().partition(sweep.id)[2] async for key in link.scan_iter(f"*:{sweep.id}*")
    ])  # fmt: skip


@pytest.mark.parametrize("tries", [1, LOST_FOR_GOOD])
@pytest.mark.parametrize("name", sorted(CHANGES))
async def test_a_lost_reply_changes_nothing(
    worker: Worker, behind: tuple[RedisSweeps, FaultProxy], name: str, tries: int
) -> None:
    """Whichever step's reply is lost, once or until the link gives up, the sweep comes to the same,
    once, and leaves the same keys.
    """
    bad, proxy = behind
    expected = await a_life(bad, worker)
    await worker.link.flushall()
    proxy.lose_replies(CHANGES[name].sha1.encode(), tries)
    found = await a_life(bad, worker)
    assert proxy.lost == tries
    assert found == expected
    assert found["keys"] == ["", ":plan", ":report"]
