"""What ends a session ends its stream, on whichever door, without a further word of the client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from redis.asyncio import Redis

from serve.domain.ids import Subject
from serve.errors import Code, ServeError
from serve.ports.liveness import Ending, Endings, Places
from serve.store.ledger import RedisLedger
from serve.store.liveness.endings import RedisEndings
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, KYC, Door, deps_on
from tests.helpers.service import Clock, ShiftedLedger
from tests.serve.stream.stage import MovingFaces, stream_door, talking

Doors = tuple[Door, Door]


@pytest_asyncio.fixture
async def doors(link: Redis, keyring: Keyring) -> AsyncIterator[Doors]:
    """Two doors of one install; tokens are of the first's tenant."""
    async with stream_door(link, keyring) as one, stream_door(link, keyring, one.deps) as two:
        yield one, two


async def canceled(door: Door, token: str) -> None:
    listed = await door.call("GET", f"{KYC}/face/sessions?customer_id=alice")
    (session_id,) = (item["id"] for item in listed.body["data"][:1])
    path = f"{KYC}/face/sessions/{session_id}/cancel"
    assert (await door.call("POST", path)).status == 200


async def decided(door: Door, token: str) -> None:
    assert (await door.submit(token)).body["status"] == "approved"


async def exhausted(door: Door, token: str) -> None:
    for image in (b"mary", b"nora", b"olga"):
        assert (await door.submit(token, image)).body["status"] == "declined"


async def opened_anew(door: Door, token: str) -> None:
    assert (await door.open(reference="order-2")).body["token"] != token


async def erased(door: Door, token: str) -> None:
    assert (await door.call("DELETE", "/api/v1/customers/alice")).status == 200


@pytest.mark.parametrize(
    ("act", "ended"),
    [
        (canceled, (4409, "session_closed")),
        (decided, (4409, "session_closed")),
        (exhausted, (4409, "attempts_exhausted")),
        (opened_anew, (4409, "session_closed")),
        (erased, (4404, "not_found")),
    ],
)
async def test_what_ends_a_session_ends_its_stream(
    doors: Doors, act: Callable[[Door, str], Any], ended: tuple[int, str]
) -> None:
    """Canceled, decided, replaced or erased at one door, it is closed at another, which is told."""
    one, two = doors
    token = await one.ready_token()
    async with talking(two) as talk:
        await talk.start(token)
        await act(one, token)
        assert await talk.closing() == ended


async def test_a_failed_attempt_elsewhere_does_not_end_it(doors: Doors) -> None:
    """The session goes on; only its challenge is another's now."""
    one, two = doors
    token = await one.ready_token()
    async with talking(two) as talk, talking(two) as later:
        first = await talk.start(token)
        assert (await one.submit(token, b"mary")).body["status"] == "declined"
        await talk.frame(JOHN)
        assert (await talk.hear_until("hint"))["seq"] == 0
        assert (await later.start(token))["nonce"] != first["nonce"]


@pytest.mark.parametrize("same", [True, False])
async def test_a_newer_stream_ends_the_older(doors: Doors, same: bool) -> None:
    """One stream of a session at a time, whether it began at the same door or at another."""
    one, two = doors
    token = await one.ready_token()
    async with talking(one) as older, talking(one if same else two) as newer:
        await older.start(token)
        assert (await newer.start(token))["type"] == "hello"
        assert await older.closing() == (4409, "stream_superseded")
        await newer.frame(JOHN)
        assert (await newer.hear_until("hint"))["seq"] == 0


async def test_streams_of_other_sessions_go_on(doors: Doors) -> None:
    """Only what is over is closed."""
    one, two = doors
    token = await one.ready_token()
    other = str((await one.open(event="password_change")).body["token"])
    async with talking(two) as talk, talking(two) as spared:
        await spared.start(other)
        await talk.start(token)
        await decided(one, token)
        assert await talk.closing() == (4409, "session_closed")
        await spared.frame(JOHN)
        assert (await spared.hear_until("hint"))["seq"] == 0


async def test_a_session_expires_under_its_stream(link: Redis, keyring: Keyring) -> None:
    """4410 when its ten minutes are over by Redis's clock; nobody has to look."""
    deps = deps_on(link, keyring, MovingFaces())
    clock = Clock(-599_000)  # what is opened now was opened that long ago
    ledger = deps.ledger
    assert isinstance(ledger, RedisLedger)
    shifted = ShiftedLedger(
        ledger.link, ledger.keyring, ledger.jobs_bytes_max, ledger.backup_retention_days,
        clock=clock,
    )  # fmt: skip
    async with stream_door(link, keyring, replace(deps, ledger=shifted)) as door:
        token = await door.ready_token()
        clock.shift_ms = 0
        async with talking(door) as talk:
            await talk.socket.send_json({"type": "start", "token": token})
            assert await talk.closing() == (4410, "token_expired")


@dataclass
class Deaf:
    """Endings of a Redis that is out of reach for a while, and has forgotten them by then."""

    real: Endings
    deaf: asyncio.Event
    hears: asyncio.Event

    async def places(self) -> Places:
        return await self.real.places()

    async def read(self, after: Places) -> tuple[Places, Sequence[Ending]]:
        if not self.deaf.is_set():
            await self.deaf.wait()
            raise ServeError(Code.STATE_UNAVAILABLE, "gone")
        await self.hears.wait()
        return await self.real.read(await self.real.places())

    async def supersede(self, subject: Subject, ending: Ending) -> None:
        await self.real.supersede(subject, ending)


async def test_what_was_told_while_redis_was_away_is_made_up_for(
    link: Redis, keyring: Keyring
) -> None:
    """Every open stream is looked at again; those whose session is over are closed."""
    faces = MovingFaces()
    deps = deps_on(link, keyring, faces)
    endings = Deaf(RedisEndings(link), asyncio.Event(), asyncio.Event())
    async with stream_door(link, keyring, replace(deps, endings=endings)) as door:
        token = await door.ready_token()
        other = str((await door.open(event="password_change")).body["token"])
        async with talking(door) as talk, talking(door) as spared:
            await talk.start(token)
            await spared.start(other)
            await decided(door, token)
            endings.deaf.set()
            assert await talk.closing() == (4409, "session_closed")
            await spared.frame(JOHN)
            assert (await spared.hear_until("hint"))["seq"] == 0
            endings.hears.set()


async def test_a_door_that_goes_lets_its_streams_go_on_elsewhere(
    link: Redis, keyring: Keyring
) -> None:
    """1001 at once; the same stream goes on at another door, with what was seen."""
    async with stream_door(link, keyring, gap_s_max=60) as staying, ClientSession() as http:
        async with AsyncExitStack() as held:
            opening = stream_door(link, keyring, staying.deps, gap_s_max=60)
            going = await held.enter_async_context(opening)
            token = await staying.ready_token()
            async with talking(replace(going, client=http)) as talk:
                hello = await talk.start(token)
                await talk.frame(JOHN)
                await talk.hear_until("hint")
                closed = asyncio.create_task(held.aclose())
                assert await talk.closing() == (1001, "")
                await closed
        async with talking(staying) as again:
            assert (await again.start(token, resume=hello["stream"]))["next"] == 1
