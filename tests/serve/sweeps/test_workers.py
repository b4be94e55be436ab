"""Workers on sweeps: any number at once, stopped, canceled, killed at whatever point."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis

from serve.domain.sweeps.progress import share_of
from serve.domain.sweeps.sweep import SALVAGED_MAX, FacePair, Sweep, SweepFailure, SweepStatus
from serve.flows.sweeps.ask import cancel
from serve.flows.transact import new_operation
from serve.settings import State
from serve.store.link import open_link
from serve.store.local.embedded import own_embedded
from serve.store.vault.keyring import Keyring
from tests.helpers.tree import ROOT
from tests.serve.sweeps.scene import Scene, a_scene, like
from tests.serve.sweeps.worker_program import SlowKernel

ROUNDS = int(os.environ.get("TEST_SWEEP_KILL_ROUNDS", "3"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
DEADLINE_S = 120.0
FACES = 100
TILES = 28  # of blocks of 16
KILLS_OF_ONE = 3  # in one sweep, so that it is not done before


@pytest.fixture
async def scene(link: Redis, keyring: Keyring) -> Scene:
    """A gang of four among a hundred faces."""
    made = a_scene(link, keyring)
    face = await made.enrol("gang 0")
    for number in range(1, 4):
        await made.enrol(f"gang {number}", like(face, 0.98))
    await made.crowd(FACES - 4)
    return made


async def told(scene: Scene, sweep: Sweep) -> tuple[list[FacePair], list[FacePair], object, object]:
    """All that is kept of what a sweep came to."""
    pairs, tail = await scene.deps.sweeps.edges(sweep.id)
    rings = await scene.deps.sweeps.rings(sweep.id)
    assert sweep.status is SweepStatus.DONE
    return pairs, tail, rings, (sweep.found, sweep.compared, sweep.mates, sweep.complete_from)


async def test_two_workers_share_a_sweep(scene: Scene) -> None:
    """Neither works on a tile of the other's, and together they find what one finds."""
    alone = await told(scene, await scene.swept())
    asked = await scene.planned(await scene.asked())
    kernels = SlowKernel(0.02), SlowKernel(0.02)
    first, second = await asyncio.gather(
        *(scene.sweeper(kernel).carry_out(asked) for kernel in kernels)
    )
    assert first == second
    assert await told(scene, first) == alone
    assert sum(len(kernel.tiles) for kernel in kernels) == TILES
    assert min(len(kernel.tiles) for kernel in kernels) > 0


async def test_progress_only_grows(scene: Scene) -> None:
    """Whoever watches sees tiles and pairs grow, to the last."""
    seen: list[Sweep] = []
    await scene.sweeper().carry_out(await scene.asked(), seen.append)
    for earlier, later in pairwise(seen):
        assert share_of(earlier) <= share_of(later)
        assert earlier.compared <= later.compared
    assert {sweep.status for sweep in seen} >= {SweepStatus.QUEUED, SweepStatus.DONE}
    assert seen[-1].tiles_done == TILES


async def test_what_another_ended_first_is_told_as_it_ended(scene: Scene) -> None:
    """Whoever asks for a sweep and finds that a faster worker has ended it gets what it came to."""
    asked = await scene.asked()
    assert await scene.carried_out(asked) == await scene.carried_out(asked)


async def test_sweeps_take_turns(scene: Scene) -> None:
    """One worker on two sweeps works on both: the second does not wait for the end of the first."""
    sweeps = [await scene.asked(), await scene.asked()]
    stop = asyncio.Event()
    working = asyncio.create_task(scene.sweeper(SlowKernel(0.01), threads=1).run(stop))
    first, second = await scene.watched(sweeps, lambda one, _: one.tiles_done >= TILES // 2)
    assert abs(first.tiles_done - second.tiles_done) < TILES // 4
    stop.set()
    await working


async def test_a_stop_gives_tiles_back(scene: Scene) -> None:
    """A worker that stops leaves no tile leased, nor a try behind; another goes on at once."""
    asked = await scene.asked()
    stop = asyncio.Event()
    worker = scene.sweeper(SlowKernel(0.05), share=0.2)
    working = asyncio.create_task(worker.run(stop))
    (before,) = await scene.watched([asked], lambda one: one.tiles_done > 3)
    stop.set()
    await working
    assert worker.is_idle
    assert before.tiles_done < TILES
    leases = await scene.deps.sweeps.claim_tiles(asked.id, TILES)
    (after,) = await scene.watched([asked], lambda one: True)
    assert len(leases) == TILES - after.tiles_done
    assert {lease.tries for lease in leases} == {1}


async def test_a_queued_sweep_is_canceled(scene: Scene) -> None:
    """Nobody begins it."""
    asked = await scene.asked()
    await cancel(scene.deps, scene.live, asked.id, new_operation(scene.deps))
    assert (await scene.carried_out(asked)).status is SweepStatus.CANCELED


async def test_a_running_sweep_is_canceled_within_a_tile(scene: Scene) -> None:
    """No tile is begun after it but those that were claimed; it has no results."""
    asked = await scene.asked()
    kernel = SlowKernel(0.02)
    working = asyncio.create_task(scene.sweeper(kernel, threads=1).carry_out(asked))
    await scene.watched([asked], lambda one: one.tiles_done > 3)
    await cancel(scene.deps, scene.live, asked.id, new_operation(scene.deps))
    begun = len(kernel.tiles)
    ended = await working
    assert ended.status is SweepStatus.CANCELED
    assert len(kernel.tiles) <= begun + 2
    assert await scene.deps.sweeps.edges(asked.id) == ([], [])


async def test_a_sweep_is_canceled_at_its_end(scene: Scene) -> None:
    """With all tiles done and the end not written, canceled is canceled."""
    running = await scene.planned(await scene.asked())
    await scene.tiles_done(running)
    await cancel(scene.deps, scene.live, running.id, new_operation(scene.deps))
    assert (await scene.carried_out(running)).status is SweepStatus.CANCELED
    assert await scene.deps.sweeps.rings(running.id) == []


async def test_a_tile_that_always_fails_ends_the_sweep(scene: Scene) -> None:
    """After a few tries, each once its lease has run out, the sweep says that it failed."""
    running = await scene.planned(await scene.asked())
    kernel = SlowKernel(broken=True)
    working = asyncio.create_task(scene.sweeper(kernel, threads=1).carry_out(running))
    async with asyncio.timeout(DEADLINE_S):
        while not working.done():
            await scene.expired(running)
            await asyncio.sleep(0.1)
    ended = await working
    assert (ended.status, ended.failure) == (SweepStatus.FAILED, SweepFailure.TILE_FAILED)
    assert SALVAGED_MAX <= len(kernel.tiles) <= SALVAGED_MAX * TILES


async def test_redis_comes_back_and_the_sweep_goes_on(tmp_path: Path, keyring: Keyring) -> None:
    """Killed in the middle of a sweep and started again, it has every tile that was done; what the
    worker could not write meanwhile it writes then.
    """
    async with own_embedded(tmp_path / "redis") as server:
        link = open_link(State(data_dir=tmp_path / "redis", timeout_s=1.0))
        scene = a_scene(link, keyring)
        await scene.crowd(FACES)
        asked = await scene.asked()
        working = asyncio.create_task(scene.sweeper(SlowKernel(0.02)).carry_out(asked))
        await scene.watched([asked], lambda one: one.tiles_done > 3)
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        await asyncio.sleep(0.1)
        await server.start()
        async with asyncio.timeout(DEADLINE_S):
            done = await working
        assert done.status is SweepStatus.DONE
        assert set(await scene.found(done)) == set(scene.truth(scene.deps.scale.native(0.36)))
        await link.aclose()


async def test_kills_change_nothing(scene: Scene, redis_state: State, tmp_path: Path) -> None:
    """Workers killed by SIGKILL in the middle of tiles, or of planning, several times: whoever
    takes over comes to the same pairs, tail, rings and counts as nobody disturbed.
    """
    undisturbed = await told(scene, await scene.swept())
    chance = random.Random(SEED)  # noqa: S311
    for begun in range(0, ROUNDS, KILLS_OF_ONE):
        asked = await scene.asked()
        killed_at = []
        for _ in range(min(KILLS_OF_ONE, ROUNDS - begun)):
            await kill_one(redis_state, tmp_path, chance)
            found = await scene.deps.sweeps.one(*scene.world, asked.id)
            assert found is not None
            killed_at.append(found.tiles_done)
            await scene.expired(asked)
        assert killed_at == sorted(killed_at)
        assert killed_at[-1] < TILES
        assert await told(scene, await scene.carried_out(asked)) == undisturbed


async def kill_one(state: State, folder: Path, chance: random.Random) -> None:
    """A worker, killed at its next tile, or at one of the five after it."""
    async with worker(state, folder) as process:
        assert process.stdout is not None
        for _ in range(chance.randrange(6)):
            assert await process.stdout.readline() == b"tile\n"
        await asyncio.sleep(chance.uniform(0, 0.05))
        process.kill()
        await process.wait()


@asynccontextmanager
async def worker(state: State, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a process of its own, ready; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.serve.sweeps.worker_program"),
        *(str(state.data_dir), str(folder / "keys"), "0.05"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await process.stdout.readline() == b"ready\n"
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
