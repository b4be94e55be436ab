"""The tenant of a benchmark: enrols customers, and opens a session for every submission to come."""

import asyncio
import base64
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import aiohttp

from serve.domain.tenancy.preferences import Event, Triggers
from serve.errors import Code, ServeError

EVENTS = tuple(event for event in Event if getattr(Triggers(), event) is False)  # plain switches
IN_FLIGHT = 8
CUSTOMERS_MIN = 256  # several times what is in flight
CALL_S_MAX = 60.0
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


async def enrol(
    http: aiohttp.ClientSession, origin: str, reference: bytes, sessions_max: int, first: int = 0
) -> None:
    """Customers enough for `sessions_max` sessions at once, all with one reference image, numbered
    from `first` on.

    Raises `server_unreachable`, as everything here does that is refused.
    """
    # A selfie without a challenge is to be approved, or a benchmark of selfies would keep each.
    settings = {"allowed_origins": [origin], "liveness_policy": "match_only"}
    await call(http, "PATCH", "/api/v1/tenant", settings)
    triggers = dict.fromkeys(EVENTS, True)
    body = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": triggers}
    await call(http, "PATCH", "/api/v1/kyc/preferences", body)
    image = {"image": base64.b64encode(reference).decode()}
    await _together(
        call(http, "POST", f"/api/v1/customers/{_customer(first + number)}/faces", image)
        for number in range(customers_for(sessions_max))
    )


async def open_sessions(
    http: aiohttp.ClientSession, number: int, callback_url: str, first: int = 0
) -> tuple[str, ...]:
    """Tokens of fresh sessions; those of one customer lie as far apart as can be. What a customer,
    from `first` on, had open for the same event is superseded.
    """
    places = [divmod(index, customers_for(number)) for index in range(number)]
    answers = await _together(
        call(
            http,
            "POST",
            "/api/v1/kyc/face/session",
            {
                "reference": f"bench {index}",
                "customer_id": _customer(first + customer),
                "event": EVENTS[event],
                "callback_url": callback_url,
            },
        )
        for index, (event, customer) in enumerate(places)
    )
    return tuple(str(answer["token"]) for answer in answers)


async def call(
    http: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """One call of the API, which must succeed: 503 is asked again for a while, for a door that
    has just started may not have met its engine. Raises `server_unreachable`.
    """
    timeout = aiohttp.ClientTimeout(total=CALL_S_MAX)
    try:
        for pause_s in PAUSES_S:
            async with http.request(method, path, json=body, timeout=timeout) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
            if response.status != 503:
                break
            await asyncio.sleep(pause_s)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        detail = f"{method} {path}: {type(error).__name__}"
        raise ServeError(Code.SERVER_UNREACHABLE, detail) from error
    if not response.ok:
        detail = f"{method} {path} answered {response.status} {answer.get('code')}"
        raise ServeError(Code.SERVER_UNREACHABLE, detail)
    return answer


async def _together(
    calls: Iterable[Coroutine[Any, Any, dict[str, Any]]],
) -> list[dict[str, Any]]:
    """The answers in order, a few calls at a time."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(made: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        async with slots:
            return await made

    return await asyncio.gather(*map(one, calls))


def customers_for(sessions: int) -> int:
    """How many customers: so many that hardly two of one customer's captures are judged at once.
    That is rare, and the later one has to read again what the earlier one changed.
    """
    return max(-(-sessions // len(EVENTS)), min(sessions, CUSTOMERS_MIN))


def _customer(number: int) -> str:
    return f"bench-{number}"
