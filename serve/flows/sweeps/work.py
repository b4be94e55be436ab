"""Whoever works on sweeps: tiles by lease, planning and ending by holds, any number of workers.

A sweep is taken as it stands: a queued one is planned, tiles of a running one are worked on, and
one whose tiles are all there is ended. What a worker leaves behind, killed at whatever point,
another takes up once its lease has run out.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from index.sweep.grid import Tile
from index.sweep.kernel import Kernel
from serve.deps import Deps
from serve.domain.sweeps.progress import has_too_many
from serve.domain.sweeps.sweep import (
    LAPSES_MAX,
    PAIRS_MAX,
    SALVAGED_MAX,
    Sweep,
    SweepFailure,
    SweepPlan,
    SweepStatus,
    TileResult,
)
from serve.errors import Code, ServeError
from serve.flows.sweeps.blocks import Blocks
from serve.flows.sweeps.finish import end_sweep, give_up, too_many
from serve.flows.sweeps.plan import plan_sweep
from serve.flows.sweeps.tiles import HaltedError, Pace, TooMany, Work, work_on
from serve.observe import logs
from serve.observe import sweeps as metrics
from serve.ports import Hold, TileLease

LOOK_S = 0.5  # between two looks at what there is to do, while there is something
IDLE_S = 2.0  # and while there is nothing
RENEW_S = 15.0  # a third of a lease
AHEAD = 1  # tiles claimed beyond the threads: their blocks are read meanwhile
WRITES_MAX = 30  # tries to write what a tile came to, a second apart: less than its lease lasts
OUTAGES = {Code.STATE_UNAVAILABLE, Code.DURABILITY_UNAVAILABLE, Code.STORAGE_LOW}

OnProgress = Callable[[Sweep], None]
Source = Callable[[], Awaitable[list[Sweep]]]


def nobody_looks(sweep: Sweep) -> None:
    """Progress of which nobody is told."""


@dataclass(frozen=True, slots=True)
class Options:
    """`threads` work on tiles, for `share` of the time each, above 0 and at most 1. Blocks that are
    kept take `memory_bytes`, about. `block_size` faces are in one, 0 for what suits a gallery;
    `pairs_max` may be found by a sweep. Tiles under way have `stop_s` to end at a stop.
    """

    threads: int
    memory_bytes: int
    share: float = 1.0
    block_size: int = 0
    pairs_max: int = PAIRS_MAX
    stop_s: float = 10.0


class Sweeper:
    """One worker, of one event loop. It does one thing at a time: `run` or `carry_out`."""

    def __init__(self, deps: Deps, kernel: Kernel, options: Options) -> None:
        self._deps = deps
        self._options = options
        self._work = Work(kernel, Pace(options.share), options.pairs_max)
        self._threads: ThreadPoolExecutor  # these two while it is opened
        self._blocks: Blocks
        self._plans: dict[str, SweepPlan] = {}
        self._sweeps: dict[str, Sweep] = {}
        self._turns: Counter[str] = Counter()
        self._failures: Counter[tuple[str, Tile | None]] = Counter()
        self._leases: set[TileLease] = set()
        self._untried: set[TileLease] = set()
        self._holds: dict[str, Hold] = {}
        self._dropped: set[Hold] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_work: set[Future[TileResult | TooMany]] = set()
        self._looked_s = -math.inf
        self._on_progress: OnProgress = nobody_looks

    @property
    def is_idle(self) -> bool:
        """Whether none of its threads is at a tile."""
        return all(each.done() for each in tuple(self._at_work))

    async def run(self, stop: asyncio.Event) -> None:
        """Work on everybody's sweeps until `stop`; on return a thread may still be at a tile."""
        async with self._opened():
            await self._until(stop, self._deps.sweeps.active, goes_on=True)

    async def carry_out(self, asked: Sweep, on_progress: OnProgress = nobody_looks) -> Sweep:
        """Work on one sweep until it is over, beside whoever else does; the sweep as it ended,
        though another may have ended it before we looked. `on_progress` is told of it as it moves.
        """

        async def watched() -> list[Sweep]:
            left = [each for each in await self._deps.sweeps.active() if each.id == asked.id]
            if not left:
                over.set()
            return left

        over = asyncio.Event()
        self._on_progress = on_progress
        async with self._opened():
            await self._until(over, watched)
        ended = await self._deps.sweeps.one(asked.tenant_id, asked.mode, asked.id)
        assert ended is not None, "a sweep is kept for 90 days"
        on_progress(ended)
        return ended

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Threads and leases, all given back at the end."""
        self._work.pace.halted.clear()
        self._threads = ThreadPoolExecutor(self._options.threads, "limen-sweep")
        self._blocks = Blocks(
            self._deps, self._work.kernel, self._options.memory_bytes, self._threads
        )
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            self._work.pace.halted.set()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._options.stop_s)
            left = {renewing, *self._tasks}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._blocks.close()
            with suppress(ServeError):
                await self._deps.sweeps.release_tiles(list(self._untried))
                for hold in self._dropped:
                    await self._deps.sweeps.release(hold)
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._tasks, self._untried, self._dropped = set(), set(), set()

    async def _until(self, stop: asyncio.Event, source: Source, *, goes_on: bool = False) -> None:
        """Look and begin until `stop`; `goes_on` says that no defect ends it."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.ensure_future(stop.wait())
        is_out = False
        try:
            while not stop.is_set():
                try:
                    if loop.time() - self._looked_s >= self._look_s:
                        self._looked_s = loop.time()
                        self._look_at(await source())
                    if not stop.is_set():
                        await self._fill()
                    is_out = False
                except ServeError as error:  # what is under way goes on
                    if not is_out:
                        logs.write("sweeps cannot be looked at", code=error.code)
                    is_out = True
                except Exception as error:
                    if not goes_on:
                        raise
                    logs.write_error("sweeps cannot be looked at", error)
                wait_s = max(0.0, self._looked_s + self._look_s - loop.time())
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait({stopped, *self._tasks}, timeout=wait_s, return_when=first)
                self._tasks = {task for task in self._tasks if not task.done()}
        finally:
            stopped.cancel()

    @property
    def _look_s(self) -> float:
        return LOOK_S if self._sweeps or self._tasks else IDLE_S

    def _look_at(self, active: list[Sweep]) -> None:
        """What is under way now; what was and is not takes no more room."""
        ids = {sweep.id for sweep in active}
        self._blocks.keep(ids)
        self._plans = {each: plan for each, plan in self._plans.items() if each in ids}
        self._turns = Counter({each: self._turns[each] for each in ids})
        self._failures = Counter(
            {each: count for each, count in self._failures.items() if each[0] in ids}
        )
        known, self._sweeps = self._sweeps, {sweep.id: sweep for sweep in active}
        for sweep in active:
            self._see(sweep, known.get(sweep.id))

    def _see(self, sweep: Sweep, known: Sweep | None) -> None:
        """A sweep as it was at some moment, unless it is known as of a later one: answers overtake
        each other.
        """
        if known is not None and known.tiles_done > sweep.tiles_done:
            sweep = known
        self._sweeps[sweep.id] = sweep
        self._on_progress(sweep)

    async def _fill(self) -> None:
        """Begin what there is room for: of each sweep in turn, who had the fewest first."""
        room = self._options.threads + AHEAD - len(self._tasks)
        idle: set[str] = set()
        while room > 0:
            waiting = [sweep for sweep in self._sweeps.values() if sweep.id not in idle]
            if not waiting:
                return
            sweep = min(waiting, key=lambda each: self._turns[each.id])
            if await self._begin(sweep):
                self._turns[sweep.id] += 1
                room -= 1
            else:
                idle.add(sweep.id)

    async def _begin(self, sweep: Sweep) -> bool:
        """Begin one thing of this sweep; False when there is none to do here and now."""
        if sweep.id in self._holds:
            return False
        if sweep.model_id != self._deps.model_id:
            return await self._begin_held(sweep, _model_changed)
        if sweep.status is SweepStatus.QUEUED:
            return await self._begin_held(sweep, self._plan)
        for lease in await self._deps.sweeps.claim_tiles(sweep.id, 1):
            self._leases.add(lease)
            self._spawn(self._tile(sweep, lease))
            return True
        is_ready = sweep.tiles_done >= sweep.tiles
        return is_ready and await self._begin_held(sweep, self._end)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _begin_held(
        self, sweep: Sweep, job: Callable[[Hold, Sweep], Awaitable[SweepFailure | None]]
    ) -> bool:
        """Do what one worker at a time may do, if nobody else does."""
        hold = await self._deps.sweeps.hold(sweep.id)
        if hold is None:
            return False
        self._holds[sweep.id] = hold
        self._spawn(self._held(hold, sweep, job))
        return True

    async def _held(
        self, hold: Hold, seen: Sweep, job: Callable[[Hold, Sweep], Awaitable[SweepFailure | None]]
    ) -> None:
        """`job`, and the end of the sweep where it fails. One that breaks is tried again when its
        hold has run out, a few times.
        """
        try:
            sweep = await self._deps.sweeps.one(seen.tenant_id, seen.mode, seen.id)
            if sweep is None or sweep.status is not seen.status:
                await self._deps.sweeps.release(hold)
                return
            failure = await job(hold, sweep)
            if failure is SweepFailure.TOO_MANY_PAIRS:
                await self._say_too_many(hold, TooMany(sweep, np.empty(0)))
            elif failure is not None:
                await give_up(self._deps, hold, sweep, failure)
        except asyncio.CancelledError:
            self._dropped.add(hold)
            raise
        except ServeError as error:
            logs.write("sweep put off", code=error.code, sweep_id=seen.id)
        except Exception as error:  # noqa: BLE001 (one sweep's defect must not stop the others)
            logs.write_error("sweep failed", error, sweep_id=seen.id)
            self._failures[seen.id, None] += 1
            if self._failures[seen.id, None] >= SALVAGED_MAX:
                with suppress(ServeError):
                    await give_up(self._deps, hold, seen, SweepFailure.TILE_FAILED)
        finally:
            self._holds.pop(seen.id, None)
            self._sweeps.pop(seen.id, None)  # until it is looked at anew
            self._looked_s = -math.inf

    async def _plan(self, hold: Hold, sweep: Sweep) -> SweepFailure | None:
        return await plan_sweep(self._deps, hold, sweep, self._options.block_size)

    async def _end(self, hold: Hold, sweep: Sweep) -> SweepFailure | None:
        return await end_sweep(self._deps, hold, sweep, self._options.pairs_max)

    async def _tile(self, sweep: Sweep, lease: TileLease) -> None:
        """One tile, from its lease to what it came to."""
        is_tried = False
        try:
            if lease.tries > LAPSES_MAX:
                await self._give_up(sweep, SweepFailure.TILE_FAILED)
            else:
                await self._work_on(sweep, lease)
            is_tried = True
        except HaltedError:
            pass
        except ServeError as error:
            logs.write("tile put off", code=error.code, sweep_id=sweep.id)
            is_tried = True
        except Exception as error:  # noqa: BLE001 (one tile's defect must not stop the others)
            logs.write_error("tile failed", error, sweep_id=sweep.id, attempt=lease.tries)
            metrics.count_tile_failure()
            is_tried = True
            await self._fail(sweep, lease)
        finally:
            self._leases.discard(lease)
            if not is_tried:
                self._untried.add(lease)

    async def _fail(self, sweep: Sweep, lease: TileLease) -> None:
        """Count a failure of this tile here, which is tried again when its lease has run out; a few
        end the sweep.
        """
        self._failures[sweep.id, lease.tile] += 1
        if self._failures[sweep.id, lease.tile] >= SALVAGED_MAX:
            with suppress(ServeError):
                await self._give_up(sweep, SweepFailure.TILE_FAILED)

    async def _work_on(self, sweep: Sweep, lease: TileLease) -> None:
        plan = self._plans.get(sweep.id) or await self._deps.sweeps.planned(sweep.id)
        if plan is None:  # it is over
            return
        self._plans[sweep.id] = plan
        tile = lease.tile
        first = await self._blocks.get(sweep, plan, tile.row)
        second = await self._blocks.get(sweep, plan, tile.column)
        seen = self._sweeps.get(sweep.id, sweep)
        work = self._threads.submit(work_on, self._work, seen, tile, first, second)
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)
        result = await asyncio.wrap_future(work)
        if isinstance(result, TooMany):
            await self._stop_at(result)
        else:
            await self._write(lease, result)

    async def _write(self, lease: TileLease, result: TileResult) -> None:
        """Write what a tile came to, through an outage of the store."""
        for tries in range(1, WRITES_MAX + 1):
            try:
                after = await self._deps.sweeps.finish_tile(lease, result)
                break
            except ServeError as error:
                if error.code not in OUTAGES or tries == WRITES_MAX:
                    raise
            await asyncio.sleep(2 * LOOK_S)
        if after is None:  # it is over: nobody asks for this any more
            self._sweeps.pop(lease.sweep_id, None)
            return
        metrics.count_tile(result.compared, result.busy_ms / 1_000)
        if lease.sweep_id in self._sweeps:
            self._see(after, self._sweeps[lease.sweep_id])
        if has_too_many(after, self._options.pairs_max):
            await self._stop_at(TooMany(after, np.empty(0)))

    async def _stop_at(self, found: TooMany) -> None:
        """Give a sweep up by whose tiles its threshold is seen to be none."""
        hold = await self._deps.sweeps.hold(found.sweep.id)
        if hold is not None:
            await self._say_too_many(hold, found)

    async def _say_too_many(self, hold: Hold, found: TooMany) -> None:
        detail = await too_many(self._deps, found, self._options.pairs_max)
        failure = SweepFailure.TOO_MANY_PAIRS
        await give_up(self._deps, hold, found.sweep, failure, detail)

    async def _give_up(self, sweep: Sweep, failure: SweepFailure) -> None:
        hold = await self._deps.sweeps.hold(sweep.id)
        if hold is not None:
            await give_up(self._deps, hold, sweep, failure)

    async def _renew(self) -> None:
        """Keep what is under way ours, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                if self._leases:
                    await self._deps.sweeps.renew_tiles(list(self._leases))
                for sweep_id, hold in list(self._holds.items()):
                    renewed = await self._deps.sweeps.renew(hold)
                    if renewed is not None and sweep_id in self._holds:
                        self._holds[sweep_id] = renewed
            except ServeError as error:
                logs.write("leases of sweeps not renewed", code=error.code)


async def _model_changed(hold: Hold, sweep: Sweep) -> SweepFailure | None:  # noqa: ARG001
    return SweepFailure.MODEL_CHANGED
