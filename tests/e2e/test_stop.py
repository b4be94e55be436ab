"""A stop as an operator does it."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.models.cache import ModelCache
from serve.bench.processes import role_of
from serve.inference.place import recorded
from tests.helpers.running import running

START_S_MAX = 60.0
POLL_S = 0.02


@pytest.mark.models
async def test_a_stop_leaves_nothing_behind(model_cache: ModelCache, tmp_path: Path) -> None:
    """Supervisor, doors, workers, engine, Ray, Redis are gone, and what they wrote is private."""
    assert model_cache.pack_dir("default").is_dir()
    async with running(tmp_path / "var", workers=2) as service:
        started = service.processes()
        roles = Counter(role for role, _ in started)
        assert roles.pop("Ray control") >= 4  # its head, store of state, node and controller
        assert roles == {
            "front door": 2, "redis": 1, "supervisor": 1, "worker": 1, "sweeper": 1,
            "engine": 1, "replica": 1, "shard": 1,
        }  # fmt: skip
    assert [role for role, process in started if process.is_running()] == []
    assert exposed(tmp_path / "var") == []
    assert recorded(tmp_path / "var") is None  # the folder of Ray's files and the engine's socket


@pytest.mark.models
async def test_a_stop_does_not_wait_for_a_replica_that_never_gets_ready(
    model_cache: ModelCache, tmp_path: Path
) -> None:
    """Nor is the engine killed for waiting: it sees to it that its cluster ends."""
    assert model_cache.pack_dir("default").is_dir()
    command = (sys.executable, "-m", "serve", "run", "--data-dir", str(tmp_path), "--port", "0")
    service = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "LIMEN_ENGINE_KIND": "ray"}, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(START_S_MAX):
        replica = await first_replica(psutil.Process(service.pid))
    replica.suspend()
    started = psutil.Process(service.pid).children(recursive=True)
    service.terminate()
    said, _ = await service.communicate()
    assert service.returncode == 0
    assert "process killed" not in said.decode()
    assert [process for process in started if process.is_running()] == []


async def first_replica(supervisor: psutil.Process) -> psutil.Process:
    """As soon as there is one."""
    while True:
        for child in supervisor.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if role_of(child.cmdline()) == "replica":
                    return child
        await asyncio.sleep(POLL_S)


def exposed(folder: Path) -> list[str]:
    """Files that others may read, and sockets that were left."""
    return [
        str(path) for path in folder.rglob("*") if path.stat().st_mode & 0o077 or path.is_socket()
    ]
