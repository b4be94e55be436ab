"""What workers are made of: blocks kept within bounds, a pace, a stop that does not wait."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis

from index.entry import Gallery
from index.sweep import choose
from index.sweep.choose import open_kernel
from pipeline.errors import Code
from serve.domain.sweeps.sweep import Segment, Sweep, SweepPlan
from serve.errors import ServeError
from serve.flows.sweeps import ask, upkeep
from serve.flows.sweeps.blocks import Blocks
from serve.flows.sweeps.tiles import HaltedError, Pace
from serve.flows.transact import new_operation
from serve.observe.registry import REGISTRY
from serve.ports import GalleryLog, LoggedFace, LoggedFaces
from serve.processes.sweep import sweeper_kernel, sweeper_options
from serve.sections import SweepDevice, SweepsSection
from serve.settings import Settings
from serve.store.vault.keyring import Keyring
from tests.serve.sweeps.scene import Scene, a_scene
from tests.serve.sweeps.worker_program import SlowKernel

FACES = 100
BLOCKS = 7  # of 16
SMALL = 3 * 16 * (2 * 32 * 4 + 256)  # bytes of three of them


@dataclass(slots=True)
class CountedLog:
    """Another log of a gallery, and which segments of it were read. It tells where nobody stands
    until it `may_tell`.
    """

    log: GalleryLog
    read: list[Segment] = field(default_factory=list)
    may_tell: asyncio.Event = field(default_factory=asyncio.Event)
    is_asked: bool = False

    async def faces(self, gallery: Gallery, segment: Segment) -> LoggedFaces:
        self.read.append(segment)
        return await self.log.faces(gallery, segment)

    async def places(
        self, gallery: Gallery, segment: Segment
    ) -> AsyncIterator[Sequence[LoggedFace]]:
        self.is_asked = True
        await self.may_tell.wait()
        async for batch in self.log.places(gallery, segment):
            yield batch


@pytest.fixture
async def scene(link: Redis, keyring: Keyring) -> Scene:
    """A hundred strangers, whose log counts how often it is read."""
    made = a_scene(link, keyring)
    made.deps = replace(made.deps, gallery_log=CountedLog(made.deps.gallery_log))
    await made.crowd(FACES)
    return made


def log_of(scene: Scene) -> CountedLog:
    log = scene.deps.gallery_log
    assert isinstance(log, CountedLog)
    return log


def reads(scene: Scene) -> list[Segment]:
    return log_of(scene).read


async def running(scene: Scene) -> tuple[Sweep, SweepPlan]:
    log_of(scene).may_tell.set()
    sweep = await scene.planned(await scene.asked())
    plan = await scene.deps.sweeps.planned(sweep.id)
    assert plan is not None
    return sweep, plan


async def test_a_block_is_read_once_by_all_who_want_it(scene: Scene) -> None:
    """Twenty who ask at the same time get one block, read once; whoever asks later gets it too."""
    sweep, plan = await running(scene)
    with ThreadPoolExecutor(2) as threads:
        blocks = Blocks(scene.deps, open_kernel("cpu"), 2**24, threads)
        found = await asyncio.gather(*(blocks.get(sweep, plan, 0) for _ in range(20)))
        assert all(block is found[0] for block in found)
        assert await blocks.get(sweep, plan, 0) is found[0]
        assert len(reads(scene)) == len(plan.blocks[0].segments)
        blocks.keep(set())
        assert blocks.size_bytes == 0


async def test_blocks_take_no_more_than_they_may(scene: Scene) -> None:
    """However many are asked for, those that are kept stay within the bound; the last used stay."""
    sweep, plan = await running(scene)
    with ThreadPoolExecutor(2) as threads:
        blocks = Blocks(scene.deps, open_kernel("cpu"), SMALL, threads)
        for number in range(BLOCKS):
            held = await blocks.get(sweep, plan, number)
            assert len(held) == plan.blocks[number].faces
            assert blocks.size_bytes <= SMALL
        before = len(reads(scene))
        await blocks.get(sweep, plan, BLOCKS - 1)
        assert len(reads(scene)) == before
        await blocks.get(sweep, plan, 0)
        assert len(reads(scene)) > before


async def test_little_memory_costs_time_alone(scene: Scene) -> None:
    """With room for hardly any block the same pairs are found."""
    log_of(scene).may_tell.set()
    done = await scene.carried_out(await scene.asked(), memory_bytes=1)
    assert set(await scene.found(done)) == set(scene.truth(scene.deps.scale.native(0.36)))


def test_a_halt_ends_every_rest() -> None:
    """A thread that owes an hour's rest for its last tile stops at once, and so do those that owe
    nothing; before the halt these do not wait.
    """
    pace = Pace(share=0.5)
    pace.rest()
    pace.worked(3_600.0)
    threading.Timer(0.05, pace.halted.set).start()
    with pytest.raises(HaltedError):
        pace.rest()
    fresh = Pace(share=1.0)
    fresh.worked(3_600.0)
    fresh.rest()
    fresh.halted.set()
    with pytest.raises(HaltedError):
        fresh.rest()


async def test_a_stop_does_not_wait_for_a_long_tile(scene: Scene) -> None:
    """It ends in time with a thread still at a tile, which has been given back to others."""
    sweep, _ = await running(scene)
    stop = asyncio.Event()
    kernel = SlowKernel(2.0)
    worker = scene.sweeper(kernel, threads=1, stop_s=0.05)
    working = asyncio.create_task(worker.run(stop))
    async with asyncio.timeout(60):
        while not kernel.tiles:  # noqa: ASYNC110 (a thread tells nobody)
            await asyncio.sleep(0.01)
        stop.set()
        await working
        assert not worker.is_idle
        leases = await scene.deps.sweeps.claim_tiles(sweep.id, 100)
        assert len(leases) == sweep.tiles
        while not worker.is_idle:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_stop_gives_a_plan_back(scene: Scene) -> None:
    """Stopped in the middle of planning, it leaves the sweep to whoever comes next, at once."""
    asked = await scene.asked()
    stop = asyncio.Event()
    working = asyncio.create_task(scene.sweeper(stop_s=0.05).run(stop))
    async with asyncio.timeout(60):
        while not log_of(scene).is_asked:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.01)
        assert await scene.deps.sweeps.hold(asked.id) is None
        stop.set()
        await working
    assert await scene.deps.sweeps.hold(asked.id) is not None


async def test_work_and_ends_are_counted(scene: Scene) -> None:
    """Tiles, pairs and seconds of work, and how sweeps ended: done, canceled or why they failed."""
    log_of(scene).may_tell.set()

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"limen_{name}_total", labels) or 0.0

    def counts() -> tuple[float, ...]:
        ends = (value("sweeps_ended", outcome=each) for each in ("done", "canceled"))
        return value("sweep_tiles"), value("sweep_pairs"), *ends

    before = counts()
    done = await scene.swept()
    canceled = await scene.asked()
    await ask.cancel(scene.deps, scene.live, canceled.id, new_operation(scene.deps))
    wanted = (done.tiles, done.compared, 1, 1)
    assert tuple(now - then for now, then in zip(counts(), before, strict=True)) == wanted
    assert value("sweep_busy_seconds") > 0


def test_a_gpu_that_cannot_be_had_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it is missed in a sentence; without a wish whatever there is will do."""
    monkeypatch.setattr(choose, "_torch_tiles", lambda: None)
    wanted = Settings(sweeps=SweepsSection(device=SweepDevice.CUDA))
    with pytest.raises(ServeError) as refused:
        sweeper_kernel(wanted)
    assert refused.value.code is Code.DEVICE_UNAVAILABLE
    assert "torch is not installed" in refused.value.detail
    assert sweeper_kernel(Settings()).name.startswith("numpy")


def test_workers_share_the_machine() -> None:
    """Half of the cores, one at least, or as many as are asked for; memory as is asked for."""
    cores = os.cpu_count() or 1
    assert sweeper_options(Settings()).threads == max(1, cores // 2)
    chosen = Settings(sweeps=SweepsSection(threads=3, memory_mib=16, share=0.25))
    options = sweeper_options(chosen, chosen.sweeps.share)
    assert (options.threads, options.memory_bytes, options.share) == (3, 2**24, 0.25)


async def test_upkeep_looks_when_somebody_came_or_went(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round is made where the log has moved since the last, and none where it has not."""
    rounds: list[int] = []

    async def counted(deps: object) -> int:
        rounds.append(len(scene.people.enrolled))
        return 0

    monkeypatch.setattr(upkeep, "forget_gone", counted)
    monkeypatch.setattr(upkeep, "FIRST_S", 0.01)
    monkeypatch.setattr(upkeep, "ROUND_S", 0.01)
    stop = asyncio.Event()
    keeping = asyncio.create_task(upkeep.run_sweep_upkeep(scene.deps, stop))
    async with asyncio.timeout(60):
        while len(rounds) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len(rounds) == 1
        await scene.people.erase("one 1")
        while len(rounds) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stop.set()
        await keeping
    assert rounds == [FACES, FACES - 1]
