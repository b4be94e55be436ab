"""The engine lost under load, part by part: what was asked of it is done elsewhere or refused,
nobody is judged twice or charged an attempt, and the front doors live on.

TEST_ENGINE_ROUNDS and TEST_SEED repeat or lengthen a run.
"""

import asyncio
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
import pytest

from pipeline.models.cache import ModelCache
from serve.demo.receiver import Receiver
from tests.faults.history import History
from tests.faults.stage import broken_promises, loaded, open_clients, summary, take_photos
from tests.helpers.running import Running, running

ROUNDS = int(os.environ.get("TEST_ENGINE_ROUNDS", "1"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 6
# Parts of the engine, by a word of their command lines.
PARTS = {
    "replica": "ray::ServeReplica",
    "raylet": "raylet/raylet",
    "gcs": "gcs_server",
    "engine": "serve.processes engine",
    "head": "cluster.head_process",
}
LOADED_S = 1.0  # of work before each loss
BACK_S_MAX = 90.0


@pytest.mark.models
async def test_the_doors_outlive_every_part_of_the_engine(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After replica, node, head and driver were killed under load, all is counted once and the
    doors are the processes that they were.
    """
    photos, history, killed = take_photos(model_cache), History(), Counter[str]()
    async with running(tmp_path / "var", workers=2) as service:
        doors = _doors(service)
        assert len(doors) == 2
        secret = service.credentials()["webhook_secret"]
        async with Receiver(secret) as receiver, aiohttp.ClientSession() as http:
            clients = await open_clients(service, http, receiver, photos, history)
            async with loaded(clients, SEED, CLIENTS):
                for part in [*PARTS] * ROUNDS:
                    await asyncio.sleep(LOADED_S)
                    killed[part] += await _kill(service, part)
                    await _until_judging(history)
            found = await broken_promises(clients, receiver)
        assert _doors(service) == doors
        started = _of_install(service)
        assert started
    with capsys.disabled():
        print(summary(f"engine losses: killed {dict(killed)}", SEED, history, found))
    assert found == []
    assert killed == dict.fromkeys(PARTS, ROUNDS)
    assert [process for process in started if _is_running(process)] == []


def _is_running(process: psutil.Process) -> bool:
    """Alive, and not only waiting for whoever inherited it to hear of its end."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _of_install(service: Running) -> list[psutil.Process]:
    """Every process that runs for this data directory, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(service.data_dir) in " ".join(process.environ().values()):
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def _doors(service: Running) -> set[int]:
    return {process.pid for role, process in service.processes() if role == "front door"}


async def _kill(service: Running, part: str) -> int:
    """Kill one process of a part, once there is one; 1."""
    async with asyncio.timeout(BACK_S_MAX):
        while True:
            for _, process in service.processes():
                with suppress(psutil.NoSuchProcess):
                    if PARTS[part] in " ".join(process.cmdline()):
                        process.kill()
                        return 1
            await asyncio.sleep(0.05)


async def _until_judging(history: History) -> None:
    """Wait until images are judged again."""
    before = sum(history.acknowledged.values())
    async with asyncio.timeout(BACK_S_MAX):
        while sum(history.acknowledged.values()) < before + 2 * CLIENTS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.models
async def test_doors_with_models_of_their_own_refuse_nobody(
    model_cache: ModelCache, tmp_path: Path
) -> None:
    """With `engine.fallback` an engine that is lost, and lost again, costs no request."""
    photos, history = take_photos(model_cache), History()
    async with running(tmp_path / "var", LIMEN_ENGINE_FALLBACK="true") as service:
        secret = service.credentials()["webhook_secret"]
        async with Receiver(secret) as receiver, aiohttp.ClientSession() as http:
            clients = await open_clients(service, http, receiver, photos, history)
            async with loaded(clients, SEED, CLIENTS):
                for part in ("raylet", "engine"):
                    await _until_judging(history)
                    await _kill(service, part)
                await _until_judging(history)
    assert history.unknown == Counter()
