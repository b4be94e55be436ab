"""`kill -9` of front door, workers and Redis at random points under load: nothing acknowledged
is lost, nothing happens twice.

TEST_KILL_ROUNDS and TEST_SEED repeat or lengthen a run.
"""

import asyncio
import os
import random
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

ROUNDS = int(os.environ.get("TEST_KILL_ROUNDS", "50"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 6
PARTS = ("front door", "worker", "sweeper", "redis")
PAUSES_S = (0.1, 1.5)  # between two kills


@pytest.mark.models
async def test_what_was_acknowledged_survives_kills(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After 50 kills every enrolment, session, verdict, callback and erasure is there once."""
    photos = take_photos(model_cache)
    chance, history, killed = random.Random(SEED), History(), Counter[str]()  # noqa: S311
    async with running(tmp_path / "var", workers=2, engine="local") as service:
        secret = service.credentials()["webhook_secret"]
        async with Receiver(secret) as receiver, aiohttp.ClientSession() as http:
            clients = await open_clients(service, http, receiver, photos, history)
            async with loaded(clients, SEED, CLIENTS):
                for _ in range(ROUNDS):
                    await asyncio.sleep(chance.uniform(*PAUSES_S))
                    killed[_kill(service, chance)] += 1
                await service.until_ready()
            found = await broken_promises(clients, receiver)
            refused = receiver.refused
        started = [process for _, process in service.processes()]
    with capsys.disabled():
        print(summary(f"kill rounds: killed {dict(killed)}", SEED, history, found))
    assert found == []
    assert refused == 0
    assert sum(killed.values()) == ROUNDS
    assert min(history.acknowledged.values()) > 0
    assert [process for process in started if process.is_running()] == []


def _kill(service: Running, chance: random.Random) -> str:
    """Kill one live process of a part, without a word; which part it was."""
    alive = service.processes()
    for part in chance.sample(PARTS, len(PARTS)):
        if victims := [process for role, process in alive if role == part]:
            with suppress(psutil.NoSuchProcess):
                chance.choice(victims).kill()
            return part
    return "none"
