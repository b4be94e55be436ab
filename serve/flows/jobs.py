"""Accepted selfies, judged when there is time: claimed, judged, and left for later if need be."""

import asyncio
from typing import Any

from serve.deps import Deps
from serve.domain.change import Job
from serve.domain.ids import Subject
from serve.errors import ServeError
from serve.flows.submit import judge_job
from serve.observe import logs, metrics

JOBS_INFLIGHT_MAX = 16
JOBS_STOP_S = 10.0  # a job that takes longer to end comes back when its lease runs out


async def run_jobs(deps: Deps, stop: asyncio.Event) -> None:
    """Judge accepted selfies until `stop` is set, at most 16 at once."""
    running: set[asyncio.Task[None]] = set()
    wakeups = deps.jobs.wakeups()
    woken: asyncio.Future[int | None] = asyncio.ensure_future(anext(wakeups))
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stop.is_set():
            if woken.done():
                woken.result()
                woken = asyncio.ensure_future(anext(wakeups))
            running = {task for task in running if not task.done()}
            room = JOBS_INFLIGHT_MAX - len(running)
            claimed = await _claim(deps, room)
            running |= {asyncio.create_task(_run_job(deps, *item)) for item in claimed}
            signals = running if len(claimed) == room else {woken}
            await asyncio.wait({stopped, *signals}, return_when=asyncio.FIRST_COMPLETED)
        if running:
            await asyncio.wait(running, timeout=JOBS_STOP_S)
    finally:
        left: set[asyncio.Future[Any]] = {woken, stopped, *running}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _claim(deps: Deps, room: int) -> list[tuple[Subject, Job]]:
    try:
        claimed = await deps.jobs.claim(room)
    except ServeError as error:  # the next wake-up tries again
        logs.write("jobs not claimed", code=error.code)
        return []
    metrics.set_jobs_due(len(claimed))
    return claimed


async def _run_job(deps: Deps, subject: Subject, job: Job) -> None:
    try:
        await judge_job(deps, subject, job)
    except ServeError as error:
        logs.write("job left for later", code=error.code, job_id=job.header.id)
    except Exception as error:  # noqa: BLE001 (one job's defect must not stop the others)
        logs.write_error("job failed", error, job_id=job.header.id)
