"""A whole service in a process of its own: Redis, doors, worker, and nothing left behind."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from serve.processes.child import EXIT_REFUSED
from serve.store.local.embedded import join_embedded, own_embedded
from serve.store.vault.keyring import SECRETS
from tests.helpers.tree import ROOT

DEADLINE_S = 90.0
POLL_S = 0.02


@dataclass
class Service:
    """What a test knows of the service that it started."""

    parent: asyncio.subprocess.Process
    url: str
    admin: str

    def family(self) -> dict[str, psutil.Process]:
        """The children by what they run."""
        names = {
            "redis-server": "redis", "http": "door", "idle": "worker", "rest": "engine",
            "calm": "sweeper",
        }  # fmt: skip
        return {
            kind: child
            for child in psutil.Process(self.parent.pid).children(recursive=True)
            for word, kind in names.items()
            if any(word in Path(part).name for part in command_of(child))
        }

    async def ask(self, url: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def readiness(self) -> dict[str, Any]:
        status, text = await self.ask(f"{self.admin}/readyz")
        found: dict[str, Any] = json.loads(text)
        assert found["ready"] == (status == 200)
        return found

    async def until_ready(self) -> None:
        while not (await self.readiness())["ready"]:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty once it is gone."""
    try:
        found: list[str] = process.cmdline()
    except psutil.NoSuchProcess:
        return []
    return found


async def started(data_dir: Path, **settings: str) -> asyncio.subprocess.Process:
    """The service's process, its first lines still to be read."""
    names = {
        "LIMEN_STATE_DATA_DIR": str(data_dir),
        "LIMEN_SERVER_PORT": "0",
        "LIMEN_ADMIN_LISTEN": "127.0.0.1:0",
        **settings,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.serve.processes.service_program", "http", "idle"),
        cwd=ROOT,
        env={**os.environ, **names},
        stdout=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def serving(data_dir: Path, **settings: str) -> AsyncIterator[Service]:
    """A service that is ready; killed at the end if a test has not stopped it."""
    parent = await started(data_dir, **settings)
    assert parent.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            first, second = [(await parent.stdout.readline()).decode() for _ in range(2)]
            yield Service(parent, first.split()[-1], second.split()[2].removesuffix("/readyz"))
    finally:
        with suppress(ProcessLookupError):
            parent.kill()
        await parent.communicate()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (another process wakes nobody)
        await asyncio.sleep(POLL_S)


def is_gone(process: psutil.Process) -> bool:
    """Ended, whether or not anybody has asked for its exit status."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_a_service_starts_answers_and_stops(tmp_path: Path) -> None:
    """Ready when it says so; after SIGTERM every process is gone and the exit status is 0."""
    async with serving(tmp_path / "var") as service:
        assert (await service.ask(service.url))[0] == 200
        ready = dict.fromkeys(("redis", "door 1", "worker", "sweeper", "engine"), "ready")
        assert await service.readiness() == {
            "ready": True, "stopping": False, "parts": ready, "short_of": None,
        }  # fmt: skip
        assert (await service.ask(f"{service.admin}/metrics"))[0] == 200
        family = service.family()
        assert set(family) == {"redis", "door", "worker", "sweeper", "engine"}
        service.parent.terminate()
        assert await service.parent.wait() == 0
        assert all(map(is_gone, family.values()))
    async with own_embedded(tmp_path / "var", wait_s=0):
        assert (tmp_path / "var" / "keys" / "salt").stat().st_size == 32


async def test_ctrl_c_stops_as_well(tmp_path: Path) -> None:
    """SIGINT reaches only the supervisor, which stops the rest in order."""
    async with serving(tmp_path / "var") as service:
        family = service.family()
        service.parent.send_signal(signal.SIGINT)
        assert await service.parent.wait() == 0
        assert all(map(is_gone, family.values()))


async def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    """After `kill -9` no door, no worker and no Redis lives on, and a new start works."""
    async with serving(tmp_path / "var") as service:
        family = service.family()
        assert set(family) == {"redis", "door", "worker", "sweeper", "engine"}
        service.parent.kill()
        for process in family.values():
            await until(lambda process=process: is_gone(process))  # type: ignore[misc]
    async with serving(tmp_path / "var") as again:
        assert (await again.readiness())["ready"]


async def test_a_start_without_a_tenant_says_how_to_make_one(tmp_path: Path) -> None:
    """An operator who starts it for the first time is not left with a service nobody can use."""
    async with serving(tmp_path / "var") as service:
        assert service.parent.stdout is not None
        assert "limen tenant create" in (await service.parent.stdout.readline()).decode()


async def test_every_killed_part_comes_back(tmp_path: Path) -> None:
    """Door, worker, sweeper and Redis, each killed once: another process takes its place."""
    async with serving(tmp_path / "var") as service:
        for kind in ("door", "worker", "sweeper", "redis"):
            old = service.family()[kind]
            old.kill()
            while service.family().get(kind, old) == old:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
            await service.until_ready()
        assert (await service.ask(service.url))[0] == 200


async def test_a_second_service_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """It is told so, and the first one does not notice."""
    async with serving(tmp_path / "var") as service:
        family = service.family()
        second = await started(tmp_path / "var", LIMEN_STATE_REDIS_URL="redis://127.0.0.1:1")
        assert await second.wait() == EXIT_REFUSED
        assert "store_busy" in (await second.communicate())[0].decode()
        assert service.family() == family
        assert (await service.readiness())["ready"]


async def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    """Another service's port is never shared, even by the same user."""
    async with serving(tmp_path / "one") as service:
        port = service.url.rpartition(":")[2]
        second = await started(tmp_path / "two", LIMEN_SERVER_PORT=port)
        assert await second.wait() == EXIT_REFUSED
        assert "address_in_use" in (await second.communicate())[0].decode()


async def test_other_keys_are_refused(tmp_path: Path) -> None:
    """Records and keys that do not belong together stop the start; no server stays."""
    async with serving(tmp_path / "var") as service:
        service.parent.terminate()
        assert await service.parent.wait() == 0
    (tmp_path / "var" / "keys" / SECRETS[0]).write_bytes(bytes(32))
    refused = await started(tmp_path / "var")
    assert await refused.wait() == EXIT_REFUSED
    assert "keys_mismatch" in (await refused.communicate())[0].decode()
    async with own_embedded(tmp_path / "var", wait_s=0):
        pass


async def test_a_command_uses_the_store_of_a_running_service(tmp_path: Path) -> None:
    """It joins the service's Redis and leaves it running."""
    async with serving(tmp_path / "var") as service:
        redis = service.family()["redis"]
        async with join_embedded(tmp_path / "var") as socket:
            assert socket == tmp_path / "var" / "redis" / "redis.sock"
        assert service.family()["redis"].pid == redis.pid
        assert (await service.readiness())["ready"]
