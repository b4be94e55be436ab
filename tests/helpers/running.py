"""A whole service of real processes, started as an operator starts it, and broken on purpose."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.helpers.tree import ROOT

START_S_MAX = 120.0
READY_S_MAX = 60.0
STOP_S_MAX = 60.0
POLL_S = 0.05
LISTENING = re.compile(r"^listening on (\S+)$")
OPERATORS = re.compile(r"^for operators: (\S+)/readyz")


@dataclass(frozen=True, slots=True)
class Running:
    """A running service: its URL, its operators' URL, its folder and its supervisor."""

    url: str
    operators: str
    data_dir: Path
    supervisor: asyncio.subprocess.Process

    def processes(self, part: str) -> list[psutil.Process]:
        """The live processes of a part: `door`, `work` or `redis-server`."""
        return [
            child
            for child in psutil.Process(self.supervisor.pid).children(recursive=True)
            if _is(child, part)
        ]

    async def until_ready(self) -> None:
        """Wait until every part is ready. Raises TimeoutError."""
        async with asyncio.timeout(READY_S_MAX), aiohttp.ClientSession() as http:
            while not await self._is_ready(http):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(POLL_S)

    async def _is_ready(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"{self.operators}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def credentials(self) -> dict[str, Any]:
        """The demo tenant's keys."""
        found: dict[str, Any] = json.loads((self.data_dir / "demo.json").read_text())
        return found


def _is(process: psutil.Process, part: str) -> bool:
    with suppress(psutil.Error):
        command = process.cmdline()
        return part in command or (bool(command) and command[0].endswith(part))
    return False


@asynccontextmanager
async def running(data_dir: Path, log: Path, workers: int = 1) -> AsyncIterator[Running]:
    """`limen run --demo` on free ports until the block ends, then stopped as an operator does."""
    environment = {
        **os.environ,
        "LIMEN_ADMIN_LISTEN": "127.0.0.1:0",
        "LIMEN_SERVER_CRASHES_PER_MINUTE_MAX": "10000",
        "LIMEN_SERVER_REFUSALS_PER_MINUTE_MAX": "1000000",
    }
    with log.open("wb") as errors:
        supervisor = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "serve", "run", "--demo", "--port", "0",
            "--data-dir", str(data_dir), "--workers", str(workers),
            cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        async with asyncio.timeout(START_S_MAX):
            url, operators = await _addresses(supervisor)
        yield Running(url, operators, data_dir, supervisor)
    finally:
        if supervisor.returncode is None:
            supervisor.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_S_MAX):
                await supervisor.wait()


async def _addresses(supervisor: asyncio.subprocess.Process) -> tuple[str, str]:
    assert supervisor.stdout is not None
    url = ""
    async for line in supervisor.stdout:
        text = line.decode().strip()
        if found := LISTENING.match(text):
            url = found[1]
        if found := OPERATORS.match(text):
            return url, found[1]
    raise AssertionError("it ended before it listened")
