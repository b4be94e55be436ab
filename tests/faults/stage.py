"""What the fault tests are played with: photos, clients, a receiver, and the end of a run."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from pipeline.models.cache import ModelCache
from serve.demo.caller import Caller
from serve.demo.receiver import Receiver
from serve.demo.stage import take_selfies
from tests.faults.history import History
from tests.faults.load import PHONE_HEADERS, Clients, Photos
from tests.fixtures import silent
from tests.helpers.running import Running

CALLBACKS_S_MAX = 90.0  # a lease of 45 s and a retry may lie in between
TRIGGERS = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": {"login": True}}


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
    service: Running,
    http: aiohttp.ClientSession,
    receiver: Receiver,
    photos: Photos,
    history: History,
) -> Clients:
    """The demo tenant's test world, set up so that each login wants a face."""
    key = service.credentials()["test_api_key"]
    tenant = Caller(http, service.url, {"Authorization": f"Bearer {key}"})
    settled = [
        await tenant.call("PATCH", "/api/v1/tenant", {"allowed_origins": [receiver.origin]}),
        await tenant.call("PATCH", "/api/v1/kyc/preferences", TRIGGERS),
    ]
    assert [answer.status for answer in settled] == [200, 200]
    phone = Caller(http, service.url, PHONE_HEADERS)
    return Clients(tenant, phone, receiver.url, photos, history)


async def until_quiet(receiver: Receiver, history: History) -> None:
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
