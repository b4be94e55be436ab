"""A whole service of real processes, started as an operator starts it, and broken on purpose."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from serve.bench.processes import role_of
from serve.bench.service import BOUNDLESS, Service, run_service
from serve.settings import variable

READY_S_MAX = 60.0
POLL_S = 0.05
LIMITS = {  # that a test would run into, and no operator
    "LIMEN_ADMIN_LISTEN": "127.0.0.1:0",
    "LIMEN_SERVER_CRASHES_PER_MINUTE_MAX": "10000",
    "LIMEN_SERVER_REFUSALS_PER_MINUTE_MAX": "1000000",
    **{variable("quota", key): value for key, value in BOUNDLESS.items()},
}


@dataclass(frozen=True, slots=True)
class Running:
    """A running service and its folder."""

    service: Service
    data_dir: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.service.url

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Its live processes with what they are: `front door`, `worker`, `redis`, `supervisor`."""
        supervisor = psutil.Process(self.service.pid)
        found = [("supervisor", supervisor)]
        for child in supervisor.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found.append((role_of(child.cmdline()), child))
        return found

    async def until_ready(self) -> None:
        """Wait until every part is ready. Raises TimeoutError."""
        async with asyncio.timeout(READY_S_MAX), aiohttp.ClientSession() as http:
            while not await self._is_ready(http):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(POLL_S)

    async def _is_ready(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(self.service.metrics_url.replace("/metrics", "/readyz")) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def credentials(self) -> dict[str, Any]:
        """The demo tenant's keys."""
        found: dict[str, Any] = json.loads((self.data_dir / "demo.json").read_text())
        return found


@asynccontextmanager
async def running(
    data_dir: Path, workers: int = 1, engine: str = "ray", **settings: str
) -> AsyncIterator[Running]:
    """`limen run --demo` on free ports until the block ends, then stopped as an operator does.

    `settings` are further variables, as LIMEN_ENGINE_FALLBACK="true".
    """
    chosen = {"LIMEN_SERVER_WORKERS": str(workers), "LIMEN_ENGINE_KIND": engine}
    environment = {**os.environ, **LIMITS, **chosen, **settings}
    async with run_service(data_dir, environment) as service:
        yield Running(service, data_dir)
