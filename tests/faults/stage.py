"""What the fault tests are played with: photos, clients, a receiver, and the end of a run."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import aiohttp

from pipeline.models.cache import ModelCache
from serve.demo.caller import Caller
from serve.demo.receiver import Receiver
from serve.demo.stage import take_selfies
from tests.faults.history import History, Journey, complaints
from tests.faults.load import PHONE_HEADERS, Clients, Photos, live, look
from tests.fixtures import silent

CALLBACKS_S_MAX = 90.0  # a lease of 45 s and a retry may lie in between
LOOKS_AT_ONCE = 8
TRIGGERS = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": {"login": True}}


class Played(Protocol):
    """A service with a demo tenant, in this process or in its own."""

    @property
    def url(self) -> str:
        """Where it listens."""

    def credentials(self) -> dict[str, Any]:
        """The demo tenant's keys."""


def take_photos(model_cache: ModelCache) -> Photos:
    """Real selfies from the models' own package."""
    selfies = take_selfies(model_cache, silent)
    return Photos(selfies.enrolled[0], (selfies.same_man, selfies.enrolled[1]), selfies.stranger)


def told(receiver: Receiver) -> Callable[[str], tuple[tuple[int, str, str], ...]]:
    """Sequence, status and webhook-id of every callback that a session's receiver got."""
    return lambda session_id: tuple(
        (callback.sequence, callback.status, callback.id) for callback in receiver.of(session_id)
    )


async def open_clients(
    service: Played,
    http: aiohttp.ClientSession,
    receiver: Receiver,
    photos: Photos,
    history: History,
) -> Clients:
    """The demo tenant's test world, set up so that each login wants a face."""
    key = service.credentials()["test_api_key"]
    tenant = Caller(http, service.url, {"Authorization": f"Bearer {key}"})
    settled = [
        await tenant.call(
            "PATCH",
            "/api/v1/tenant",
            {"allowed_origins": [receiver.origin], "liveness_policy": "match_only"},
        ),
        await tenant.call("PATCH", "/api/v1/kyc/preferences", TRIGGERS),
    ]
    assert [answer.status for answer in settled] == [200, 200]
    phone = Caller(http, service.url, PHONE_HEADERS)
    return Clients(tenant, phone, receiver.url, photos, history)


async def until_quiet(
    receiver: Receiver, history: History, patience_s: float = CALLBACKS_S_MAX
) -> None:
    """Wait until every verdict that was answered has been called back, or the time for it is up.

    Callbacks of a customer who was erased may have gone with them.
    """
    expected = {
        journey.session_id: len(journey.verdicts)
        for journey in history.journeys
        if journey.session_id is not None and not journey.is_erasing
    }
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            for session_id, number in expected.items():
                await receiver.wait_for(session_id, number, patience_s)


@asynccontextmanager
async def loaded(
    clients: Clients, seed: int, number: int, name: str = "client"
) -> AsyncIterator[None]:
    """So many clients at work while the block runs; afterwards each tells its story out. Their
    customers' names begin with `name`.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in range(number):
            own = random.Random(f"{seed}-{each}")  # noqa: S311
            tasks.create_task(live(clients, own, f"{name}-{each}", stop))
        yield
        stop.set()


async def broken_promises(
    clients: Clients, receiver: Receiver, patience_s: float = CALLBACKS_S_MAX
) -> list[str]:
    """What the service did to its word, once everything is quiet."""
    history, places = clients.history, asyncio.Semaphore(LOOKS_AT_ONCE)
    await until_quiet(receiver, history, patience_s)

    async def judged(journey: Journey) -> list[str]:
        async with places:
            return list(complaints(journey, await look(clients, journey, told(receiver))))

    found = await asyncio.gather(*map(judged, history.journeys))
    return [line for lines in found for line in lines]


def summary(what: str, seed: int, history: History, found: Sequence[str]) -> str:
    """A line with the counts of a run."""
    return (
        f"\n{what}: seed {seed}; {len(history.journeys)} customers,"
        f" acknowledged {dict(history.acknowledged)}, unknown {dict(history.unknown)},"
        f" broken promises {len(found)}"
    )
