"""Processes of the benchmark's own: a service, `limen run` in an empty folder; and partners, which
are told by lines of JSON what to do and answer by lines of JSON.
"""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from serve.domain.quota import Quota
from serve.errors import Code, ServeError
from serve.settings import EngineKind, Settings, variable

START_S_MAX = 120.0
STOP_S_MAX = 60.0
LINE_BYTES_MAX = 2**20  # of what a partner says
LINES_MAX = 200  # said before it listens
METRICS_BYTES_MAX = 2**22
BOUNDLESS = {
    **dict.fromkeys((f"{quota}_per_s" for quota in Quota), "1000000"),
    "test_share": "1",
    "inflight_submits_max": "1000000",
    "address_per_s": "1000000",
}
"""Settings of `[quota]` that nobody runs into."""
LIMEN = (sys.executable, "-m", "serve")

_LISTENS = re.compile(r"listening on (https?://\S+)")
_REFUSED = re.compile(r"limen: (.*)")  # a coded error; any other line may hold secrets
_OPERATORS = re.compile(r"(https?://\S+)/metrics")


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, where its metrics are, and its first process."""

    url: str
    metrics_url: str
    pid: int

    async def metrics(self, http: aiohttp.ClientSession) -> str:
        """All its metrics, in Prometheus' text format."""
        async with http.get(self.metrics_url) as answer:
            return (await answer.content.read(METRICS_BYTES_MAX)).decode()


def environment(settings: Settings, engine: EngineKind) -> dict[str, str]:
    """This process's own, with the models that the command line chose, on free ports."""
    return {
        **os.environ,
        variable("models", "cache_dir"): str(settings.models.cache_dir),
        variable("pipeline", "detector"): settings.pipeline.detector,
        variable("pipeline", "threads"): str(settings.pipeline.threads),
        variable("engine", "kind"): engine,
        variable("engine", "queue_max"): str(settings.engine.queue_max),
        variable("admin", "listen"): "127.0.0.1:0",
        variable("server", "connections_per_address_max"): str(settings.server.connections_max),
        **{variable("quota", key): value for key, value in BOUNDLESS.items()},
    }


@asynccontextmanager
async def run_service(data_dir: Path, environment: Mapping[str, str]) -> AsyncIterator[Service]:
    """A service over `data_dir` on free ports of this machine, stopped at the end.

    It has a demo tenant, whose keys lie in `demo.json` there. Raises `server_unreachable` when
    it does not start.
    """
    command = (*LIMEN, "run", "--demo", "--data-dir", str(data_dir), "--port", "0")
    process = await asyncio.create_subprocess_exec(
        *command, env=dict(environment), stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    draining: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(START_S_MAX):
            url, metrics_url = await _addresses(process)
        draining = asyncio.create_task(_drain(process))
        yield Service(url, metrics_url, process.pid)
    except TimeoutError as error:
        raise ServeError(Code.SERVER_UNREACHABLE, "it does not get ready") from error
    finally:
        await _stop(process)
        if draining is not None:
            await draining


async def _addresses(process: Process) -> tuple[str, str]:
    assert process.stdout is not None
    listens = operators = refused = None
    for _ in range(LINES_MAX):
        line = (await process.stdout.readline()).decode()
        if not line:
            break
        listens = _LISTENS.search(line) or listens
        operators = _OPERATORS.search(line) or operators
        refused = _REFUSED.match(line) or refused
        if listens and operators:
            return listens[1], f"{operators[1]}/metrics"
    said = refused[1] if refused else "no reason given"
    raise ServeError(Code.SERVER_UNREACHABLE, f"it ended before it listened: {said}")


async def _drain(process: Process) -> None:
    """Read on, so that it never waits for its reader."""
    assert process.stdout is not None
    while await process.stdout.read(2**16):
        pass


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Partner:
    """The process, and the two ends of what is said."""

    process: Process

    async def ask(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Say one line; its next one."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        await self.process.stdin.drain()
        return await self.said()

    async def said(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return found


@asynccontextmanager
async def partner(module: str) -> AsyncIterator[Partner]:
    """`python -m module`, told by lines of JSON until the block ends, and it with its input."""
    command = (sys.executable, "-m", module)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX
    )
    assert process.stdin is not None
    try:
        yield Partner(process)
    finally:
        process.stdin.close()
        await process.wait()
