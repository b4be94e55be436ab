"""The worker process: callbacks on their way out, and what time does to records."""

import asyncio

from serve.processes.lifeline import Announce
from serve.settings import Settings


async def run_work(settings: Settings, announce: Announce, stop: asyncio.Event) -> None:
    """Deliver callbacks and sweep until `stop`; `announce` once connected."""
    del settings  # not yet: deliveries and sweeps are still to come
    announce()
    await stop.wait()
