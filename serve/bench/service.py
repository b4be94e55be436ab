"""A service of the benchmark's own: `limen run` in an empty folder, its processes watched."""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from serve.bench.figures import DOOR, Spent
from serve.errors import Code, ServeError

START_S_MAX = 120.0
STOP_S_MAX = 60.0
LINES_MAX = 200  # said before it listens
METRICS_BYTES_MAX = 2**22
ENGINE_METRIC = "limen_engine_cpu_seconds_total"
LIMEN = (sys.executable, "-m", "serve")
ROLES = {"door": DOOR, "work": "worker"}

_LISTENS = re.compile(r"listening on (https?://\S+)")
_REFUSED = re.compile(r"limen: (.*)")  # a coded error; any other line may hold secrets
_OPERATORS = re.compile(r"(https?://\S+)/metrics")


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, where its metrics are, and its first process."""

    url: str
    metrics_url: str
    pid: int

    async def spent(self, http: aiohttp.ClientSession) -> Spent:
        """Processor seconds up to now."""
        async with http.get(self.metrics_url) as answer:
            text = (await answer.content.read(METRICS_BYTES_MAX)).decode()
        return Spent(cpu_s_by_process(self.pid), metric_sum(text, ENGINE_METRIC))


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


def cpu_s_by_process(pid: int) -> dict[str, float]:
    """User and system seconds of a process and all below it, by what they are.

    Of Redis the children that it has waited for count as well: it forks to rewrite its file.
    """
    found: dict[str, float] = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            role = "supervisor" if process.pid == pid else role_of(process.cmdline())
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds = times.user + times.system
        if role == "redis":
            seconds += times.children_user + times.children_system
        found[role] = found.get(role, 0.0) + seconds
    return found


def role_of(command: Sequence[str]) -> str:
    """What a process of the service is, by its command line."""
    if command and "redis-server" in command[0]:
        return "redis"
    words = [word for word in command if not word.startswith("-")]
    return next((ROLES[word] for word in words if word in ROLES), "other")


def metric_sum(text: str, name: str) -> float:
    """The sum over all labels of one metric in Prometheus' text format; 0 where it is absent."""
    lines = (line for line in text.splitlines() if re.match(rf"{re.escape(name)}[ {{]", line))
    return sum(float(line.rpartition("}")[2].split()[0] if "}" in line else line.split()[1])
               for line in lines)  # fmt: skip


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
