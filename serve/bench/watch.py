"""A service watched over one point: what it counted and used, its memory, what else ran here."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from serve.bench.counters import Counters, counters_of
from serve.bench.processes import lost, machine_busy_s, usage
from serve.bench.service import Service

EVERY_S = 0.5


@dataclass(slots=True)
class Watched:
    """What was seen until now, and once the block has ended all of it.

    `rss_bytes` are the resident bytes of all processes together, every half second. `lost` names
    the parts that died meanwhile: then nobody knows what they had spent. `busy_s` is what all
    cores of the machine worked beside the service and this process.
    """

    spent: Counters = field(default_factory=lambda: Counters({}))
    rss_bytes: list[int] = field(default_factory=list)
    lost: tuple[str, ...] = ()
    busy_s: float = 0.0
    wall_s: float = 0.0

    def others(self, generator_s: float) -> float:
        """The part of the machine that neither service, generator nor benchmark took; 0 to 1."""
        left_s = self.busy_s - generator_s
        return max(0.0, left_s / (self.wall_s * (os.cpu_count() or 1))) if self.wall_s else 0.0


@asynccontextmanager
async def watching(service: Service, http: aiohttp.ClientSession) -> AsyncIterator[Watched]:
    """Watch while the block runs."""
    seen = Watched()
    before = usage(service.pid)
    counted = counters_of(await service.metrics(http), {r: u.cpu_s for r, u in before.items()})
    wall_s, busy_s, own_s = time.perf_counter(), machine_busy_s(), time.process_time()
    sampling = asyncio.create_task(_sample(service, seen.rss_bytes))
    try:
        yield seen
    finally:
        sampling.cancel()
    seen.wall_s = time.perf_counter() - wall_s
    seen.busy_s = machine_busy_s() - busy_s - (time.process_time() - own_s)
    after = usage(service.pid)
    now = counters_of(await service.metrics(http), {r: u.cpu_s for r, u in after.items()})
    seen.spent = now.since(counted)
    seen.busy_s -= sum(seen.spent.cpu_s.values())
    seen.lost = tuple(lost(before, after))


async def _sample(service: Service, into: list[int]) -> None:
    while True:
        into.append(sum(used.rss_bytes for used in usage(service.pid).values()))
        await asyncio.sleep(EVERY_S)
