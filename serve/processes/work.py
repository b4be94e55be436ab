"""The worker process: callbacks on their way out, and what time does to records."""

import asyncio
import random

from serve.app import open_deps
from serve.flows.delivery import run_delivery
from serve.flows.upkeep.deadlines import run_upkeep
from serve.flows.upkeep.erasures import run_erasures
from serve.flows.upkeep.room import run_watch
from serve.outbound.sender import open_sender
from serve.processes.lifeline import Announce
from serve.settings import Settings


async def run_work(settings: Settings, announce: Announce, stop: asyncio.Event) -> None:
    """Deliver callbacks and sweep until `stop`; `announce` once connected."""
    async with (
        open_deps(settings, with_models=False, supervised=True) as deps,
        open_sender(settings.callbacks) as sender,
        asyncio.TaskGroup() as tasks,
    ):
        delivery = run_delivery(
            deps, sender, stop,
            random=random.SystemRandom().random, inflight_max=settings.callbacks.inflight_max,
        )  # fmt: skip
        upkeep = (run_upkeep(deps, stop), run_erasures(deps, stop), run_watch(deps, stop))
        for loop in (delivery, *upkeep):
            tasks.create_task(loop)
        announce()
