"""Front doors, worker, engine and the whole service restarted in turn under load (SIGTERM): nobody
who asks is cut off, and all that was acknowledged is there.

TEST_ROLLING_ROUNDS lengthens a run, TEST_SEED repeats one.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import aiohttp
import pytest

from pipeline.models.cache import ModelCache
from serve.demo.receiver import Receiver
from tests.faults.history import History
from tests.faults.load import live
from tests.faults.stage import broken_promises, loaded, open_clients, summary, take_photos
from tests.helpers.running import Running, running

ROUNDS = int(os.environ.get("TEST_ROLLING_ROUNDS", "1"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 3
ASKING = 4  # of each kind
WORK_S = 4.0
CALL_S_MAX = 60.0
NOBODY = {"reference": "r", "customer_id": "nobody", "event": "login"}  # for whom nothing is opened


@dataclass
class Asked:
    """What became of requests, on connections that are kept and on new ones."""

    answers: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    async def ask(self, http: aiohttp.ClientSession, url: str, kind: str) -> None:
        start = monotonic()
        try:
            async with http.post(url, json=NOBODY) as answer:
                await answer.read()
                is_told = answer.status == 503 and "Retry-After" in answer.headers
                self.answers[f"{kind} {answer.status}{' and when' if is_told else ''}"] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.answers[f"{kind} {type(error).__name__}"] += 1
        self.slowest_s = max(self.slowest_s, monotonic() - start)


@asynccontextmanager
async def asking(service: Running) -> AsyncIterator[Asked]:
    """A tenant that asks without pause while the block runs; a POST, which no client repeats by
    itself.
    """
    asked, stop = Asked(), asyncio.Event()
    headers = {"Authorization": f"Bearer {service.credentials()['test_api_key']}"}
    url = f"{service.url}/api/v1/kyc/face/session"

    async def go_on(http: aiohttp.ClientSession, kind: str) -> None:
        while not stop.is_set():
            await asked.ask(http, url, kind)
            await asyncio.sleep(0.005)

    timeout = aiohttp.ClientTimeout(total=CALL_S_MAX)
    kept = aiohttp.TCPConnector(keepalive_timeout=10)
    fresh = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(connector=kept, headers=headers, timeout=timeout) as keeping,
        aiohttp.ClientSession(connector=fresh, headers=headers, timeout=timeout) as opening,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(ASKING):
            tasks.create_task(go_on(keeping, "kept"))
            tasks.create_task(go_on(opening, "new"))
        yield asked
        stop.set()


@pytest.mark.models
@pytest.mark.parametrize(
    ("engine", "parts"), [("local", {"front door", "worker", "sweeper"}), ("ray", {"engine"})]
)
async def test_a_rolling_restart_cuts_nobody_off(
    engine: str,
    parts: set[str],
    model_cache: ModelCache,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While front doors, worker or engine are told to end in turn, every request is answered, with
    2xx or 503 and when to ask again; afterwards every promise was kept.
    """
    photos, history = take_photos(model_cache), History()
    async with running(tmp_path / "var", workers=2, engine=engine) as service:
        secret = service.credentials()["webhook_secret"]
        async with Receiver(secret) as receiver, aiohttp.ClientSession() as http:
            clients = await open_clients(service, http, receiver, photos, history)
            async with loaded(clients, SEED, CLIENTS), asking(service) as asked:
                for _ in range(ROUNDS):
                    ended = [each for role, each in service.processes() if role in parts]
                    assert ended
                    for process in ended:
                        process.send_signal(signal.SIGTERM)
                        await asyncio.to_thread(process.wait, CALL_S_MAX)
                        await service.until_ready()
            found = await broken_promises(clients, receiver)
    with capsys.disabled():
        print(summary("rolling restart", SEED, history, found))
        print(f"rolling restart: {dict(asked.answers)}, slowest {asked.slowest_s:.1f} s")
    assert found == []
    assert asked.answers.keys() <= {
        f"{kind} {status}" for kind in ("kept", "new") for status in ("200", "503 and when")
    }


@pytest.mark.models
async def test_a_restart_of_all_loses_nothing(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service told to end under load, and started again: what was acknowledged is there once,
    what was not is there once or not at all, and every verdict is called back.
    """
    photos, history = take_photos(model_cache), History()
    secret = ""
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(aiohttp.ClientSession())
        receiver: Receiver | None = None
        for number in range(ROUNDS):
            async with running(tmp_path / "var", workers=2, engine="local") as service:
                if receiver is None:
                    secret = service.credentials()["webhook_secret"]
                    receiver = await opened.enter_async_context(Receiver(secret))
                clients = await open_clients(service, http, receiver, photos, history)
                going = [
                    asyncio.create_task(
                        live(clients, chance(number, each), f"{number}-{each}", asyncio.Event())
                    )
                    for each in range(CLIENTS)
                ]
                await asyncio.sleep(WORK_S)
            for task in going:
                task.cancel()  # nobody answers them any more
            await asyncio.gather(*going, return_exceptions=True)
        assert receiver is not None
        async with running(tmp_path / "var", workers=2, engine="local") as service:
            clients = await open_clients(service, http, receiver, photos, history)
            found = await broken_promises(clients, receiver)
    with capsys.disabled():
        print(summary(f"restart of all, {ROUNDS} times", SEED, history, found))
    assert found == []
    assert min(history.acknowledged.values()) > 0


def chance(number: int, client: int) -> random.Random:
    """A client's luck."""
    return random.Random(f"{SEED}-{number}-{client}")  # noqa: S311
