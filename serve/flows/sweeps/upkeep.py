"""Whoever was erased is taken out of what sweeps came to: nobody reads of them from the moment on
that they are gone, and within the hour nothing is kept of them either.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from serve.deps import Deps
from serve.domain.customer import Customer
from serve.domain.ids import Mode
from serve.domain.sweeps.sweep import Sweep, SweepStatus
from serve.errors import ServeError
from serve.flows.sweeps.people import World, customers_of, gone_faces, named
from serve.observe import logs
from serve.ports.search import Tails

FIRST_S = 60.0  # from the start to the first round
ROUND_S = 3_600.0
PAGE = 100


async def run_sweep_upkeep(deps: Deps, stop: asyncio.Event) -> None:
    """A round each hour until `stop`, unless nobody has come or gone since the last."""
    before: Tails | None = None
    wait_s = FIRST_S
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
        if stop.is_set():
            return
        wait_s = ROUND_S
        try:
            tails = await deps.face_log.tails()
            if tails != before:
                await forget_gone(deps)
                before = tails
        except ServeError as error:  # the next round tries again, and not in an hour
            logs.write("sweeps not cleared of the erased", code=error.code)
            wait_s = FIRST_S
        except Exception as error:  # noqa: BLE001 (one sweep's defect must not stop the worker)
            logs.write_error("sweeps not cleared of the erased", error)


async def forget_gone(deps: Deps) -> int:
    """Take everybody who has gone out of all that is kept; how many pairs went."""
    went = 0
    for tenant in await deps.directory.tenants():
        for mode in Mode:
            async for sweep in _done(deps, (tenant.id, mode)):
                went += await _forget(deps, sweep)
    return went


async def _done(deps: Deps, world: World) -> AsyncIterator[Sweep]:
    cursor = ""
    while True:
        page = await deps.sweeps.page(*world, cursor, PAGE)
        for sweep in page.items:
            if sweep.status is SweepStatus.DONE:
                yield sweep
        cursor = page.next_cursor
        if not cursor:
            return


async def _forget(deps: Deps, sweep: Sweep) -> int:
    pairs, tail = await deps.sweeps.edges(sweep.id)
    faces = await asyncio.to_thread(named, (*pairs, *tail))
    for ring in await deps.sweeps.rings(sweep.id):
        for key in ring.members:
            faces.setdefault(key, set())
    people = await customers_of(deps, (sweep.tenant_id, sweep.mode), faces)
    gone = await asyncio.to_thread(_gone, people, faces)
    return await deps.sweeps.forget(sweep.id, gone) if gone else 0


def _gone(people: Mapping[str, Customer], faces: Mapping[str, set[str]]) -> frozenset[str]:
    """Who is not there any more, or not with each of these faces."""
    return frozenset(
        key for key, some in faces.items() if key not in people or gone_faces(people, {key: some})
    )
