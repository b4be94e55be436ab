"""The listener for operators: readiness by part, metrics summed, or nothing at all."""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp
import pytest

from serve.domain.headroom import Shortage
from serve.errors import Code, ServeError
from serve.processes.admin import open_admin
from serve.processes.child import Program
from serve.processes.supervisor import Supervisor

IDLE = (sys.executable, "-m", "tests.serve.processes.child_program", "idle")
DEADLINE_S = 60.0


async def answers() -> None:
    """A Redis that is there."""


async def fails() -> None:
    """A Redis that is not."""
    raise ServeError(Code.STATE_UNAVAILABLE, "no answer")


async def asked(url: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
        return answer.status, await answer.json()


async def test_readiness_names_every_part() -> None:
    """503 until the last child is ready, 200 then, 503 again once it stops."""
    supervisor = Supervisor([Program("door 1", IDLE)], os.environ)
    async with open_admin("127.0.0.1:0", supervisor, answers) as url, asyncio.timeout(DEADLINE_S):
        status, found = await asked(url)
        assert (status, found["parts"]) == (503, {"door 1": "down", "redis": "ready"})
        stop = asyncio.Event()
        running = asyncio.create_task(supervisor.run(stop))
        await supervisor.until_ready()
        assert await asked(url) == (
            200,
            {"ready": True, "stopping": False, "parts": {"door 1": "ready", "redis": "ready"}},
        )
        stop.set()
        await running
        status, found = await asked(url)
        assert (status, found["stopping"]) == (503, True)
    supervisor.close()


async def test_a_store_short_of_room_is_told_and_ready() -> None:
    """What the store has too little of is shown; open sessions go on, so the service is ready."""
    supervisor = Supervisor([], os.environ)
    for short_of, shown in ((no_room, "disk"), (unknown, "unknown")):
        async with open_admin("127.0.0.1:0", supervisor, answers, short_of) as url:
            status, found = await asked(url)
        assert (status, found["short_of"]) == (200, shown)
    supervisor.close()


async def no_room() -> Shortage | None:
    """A full disk."""
    return Shortage.DISK


async def unknown() -> Shortage | None:
    """A disk that cannot be looked at."""
    raise ServeError(Code.STORAGE_LOW, "planned")


async def test_a_redis_that_does_not_answer_is_not_ready() -> None:
    """The service is up, but cannot take work."""
    supervisor = Supervisor([], os.environ)
    async with open_admin("127.0.0.1:0", supervisor, fails) as url:
        assert await asked(url) == (
            503,
            {"ready": False, "stopping": False, "parts": {"redis": "down"}},
        )
    supervisor.close()


async def test_metrics_are_those_of_the_service() -> None:
    """The text format, with the names of our catalogue."""
    supervisor = Supervisor([], os.environ)
    async with (
        open_admin("127.0.0.1:0", supervisor, answers) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/metrics") as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        assert "limen_http_requests_total" in await answer.text()
    supervisor.close()


async def test_the_listener_can_be_turned_off() -> None:
    """An empty address opens no port."""
    supervisor = Supervisor([], os.environ)
    open_before = len(list(Path("/proc/self/fd").iterdir()))  # noqa: ASYNC240
    async with open_admin("", supervisor, answers) as url:
        assert url == ""
        assert len(list(Path("/proc/self/fd").iterdir())) == open_before  # noqa: ASYNC240
    supervisor.close()


async def test_a_taken_address_is_refused() -> None:
    """Two services on one machine need two addresses, and are told so."""
    supervisor = Supervisor([], os.environ)
    async with open_admin("127.0.0.1:0", supervisor, answers) as url:
        address = url.removeprefix("http://")
        with pytest.raises(ServeError) as caught:
            await open_admin(address, supervisor, answers).__aenter__()
        assert caught.value.code is Code.ADDRESS_IN_USE
    supervisor.close()
