"""`kill -9` of front door, worker and Redis at random points under load: nothing acknowledged
is lost, nothing happens twice.

TEST_KILL_ROUNDS and TEST_SEED repeat or lengthen a run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
import pytest

from pipeline.models.cache import ModelCache
from serve.demo.caller import Caller
from serve.demo.receiver import Receiver
from serve.demo.stage import take_selfies
from tests.faults.history import History, complaints
from tests.faults.load import PHONE_HEADERS, Clients, Photos, live, look
from tests.fixtures import silent
from tests.helpers.running import Running, running

ROUNDS = int(os.environ.get("TEST_KILL_ROUNDS", "50"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 6
PARTS = ("front door", "worker", "redis")
PAUSES_S = (0.1, 1.5)  # between two kills
CALLBACKS_S_MAX = 90.0  # a lease of 45 s and a retry may lie in between
TRIGGERS = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": {"login": True}}


@pytest.mark.models
async def test_what_was_acknowledged_survives_kills(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After 50 kills every enrolment, session, verdict, callback and erasure is there once."""
    selfies = take_selfies(model_cache, silent)
    photos = Photos(selfies.enrolled[0], (selfies.same_man, selfies.enrolled[1]), selfies.stranger)
    chance, history, killed = random.Random(SEED), History(), Counter[str]()  # noqa: S311
    async with running(tmp_path / "var", workers=2) as service:
        secret = service.credentials()["webhook_secret"]
        async with Receiver(secret) as receiver, aiohttp.ClientSession() as http:
            clients = await _clients(service, http, receiver, photos, history)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for number in range(CLIENTS):
                    own = random.Random(f"{SEED}-{number}")  # noqa: S311
                    tasks.create_task(live(clients, own, f"client-{number}", stop))
                for _ in range(ROUNDS):
                    await asyncio.sleep(chance.uniform(*PAUSES_S))
                    killed[_kill(service, chance)] += 1
                await service.until_ready()
                stop.set()
            await _quiet(receiver, history)
            found = [
                line
                for journey in history.journeys
                for line in complaints(journey, await look(clients, journey, told(receiver)))
            ]
            refused = receiver.refused
        started = [process for _, process in service.processes()]
    with capsys.disabled():
        print(
            f"\nkill rounds: seed {SEED}, killed {dict(killed)}; {len(history.journeys)} customers,"
            f" acknowledged {dict(history.acknowledged)}, unknown {dict(history.unknown)},"
            f" broken promises {len(found)}"
        )
    assert found == []
    assert refused == 0
    assert sum(killed.values()) == ROUNDS
    assert min(history.acknowledged.values()) > 0
    assert [process for process in started if process.is_running()] == []


def told(receiver: Receiver) -> Callable[[str], tuple[tuple[int, str, str], ...]]:
    """Sequence, status and webhook-id of every callback that a session's receiver got."""
    return lambda session_id: tuple(
        (callback.sequence, callback.status, callback.id) for callback in receiver.of(session_id)
    )


def _kill(service: Running, chance: random.Random) -> str:
    """Kill one live process of a part, without a word; which part it was."""
    alive = service.processes()
    for part in chance.sample(PARTS, len(PARTS)):
        if victims := [process for role, process in alive if role == part]:
            with suppress(psutil.NoSuchProcess):
                chance.choice(victims).kill()
            return part
    return "none"


async def _clients(
    service: Running,
    http: aiohttp.ClientSession,
    receiver: Receiver,
    photos: Photos,
    history: History,
) -> Clients:
    key = service.credentials()["test_api_key"]
    tenant = Caller(http, service.url, {"Authorization": f"Bearer {key}"})
    settled = [
        await tenant.call("PATCH", "/api/v1/tenant", {"allowed_origins": [receiver.origin]}),
        await tenant.call("PATCH", "/api/v1/kyc/preferences", TRIGGERS),
    ]
    assert [answer.status for answer in settled] == [200, 200]
    phone = Caller(http, service.url, PHONE_HEADERS)
    return Clients(tenant, phone, receiver.url, photos, history)


async def _quiet(receiver: Receiver, history: History) -> None:
    """Wait until every verdict that was answered has been called back, or the time for it is up.

    Callbacks of a customer who was erased may have gone with them.
    """
    expected = {
        journey.session_id: len(journey.verdicts)
        for journey in history.journeys
        if journey.session_id is not None and not journey.is_erasing
    }
    with suppress(TimeoutError):
        async with asyncio.timeout(CALLBACKS_S_MAX):
            for session_id, number in expected.items():
                await receiver.wait_for(session_id, number, CALLBACKS_S_MAX)
