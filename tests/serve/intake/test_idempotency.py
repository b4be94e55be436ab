"""`Idempotency-Key` over real HTTP, on every route that an API key may change something by."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from serve.api.call import Route
from serve.errors import Code, ServeError
from serve.store.intake.idempotency import RedisIdempotency
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import Door, assert_documented, front_door
from tests.helpers.service import Fault
from tests.serve.intake.changes import ASKED, KEY, TAKING, Effects, Request, effects

__all__ = ["effects"]
REPLAYED = "Idempotency-Replayed"
AT_ONCE = 50
SUCCESS = range(200, 300)
WAIT_S = 20.0  # for what comes in milliseconds

each_route = pytest.mark.parametrize("route", TAKING, ids=lambda route: route.name)


async def asked(route: Route[Any, Any], door: Door, effects: Effects) -> Request:
    """The request of a route, when all it needs is ready; effects count from here."""
    request = await ASKED[route.name](door)
    assert request.method == route.method
    effects.number = 0
    return request


async def end_leases(link: Redis) -> None:
    """As if 30 s had gone by."""
    async for key in link.scan_iter("*:idem:*"):
        await link.hset(key, "t", "0")


def test_no_route_is_forgotten() -> None:
    """Each route that an API key may change something by has its request in these tests."""
    assert set(ASKED) == {route.name for route in TAKING}
    assert len(TAKING) == 18


@each_route
async def test_the_same_request_is_answered_the_same(
    link: Redis, keyring: Keyring, route: Route[Any, Any], effects: Effects
) -> None:
    """The repeat has the first one's status, body and type, an id of its own, and no effect."""
    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        first = await request.send(door)
        assert first.status in SUCCESS, first.body
        assert REPLAYED not in first.headers
        for key in (KEY, f'"{KEY}"'):
            again = await request.send(door, key)
            assert (again.status, again.body) == (first.status, first.body)
            assert again.headers[REPLAYED] == "true"
            assert again.headers["Content-Type"] == first.headers["Content-Type"]
            assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
        assert effects.number == 1


@each_route
async def test_another_request_under_a_key_is_a_mismatch(
    link: Redis, keyring: Keyring, route: Route[Any, Any], effects: Effects
) -> None:
    """Another path or body is 422 and changes nothing; under another key it is its own request."""
    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        assert request.other is not None
        assert (await request.send(door)).status in SUCCESS
        refused = await request.other.send(door)
        assert (refused.status, refused.code) == (422, "idempotency_mismatch")
        assert_documented(refused, route.method, route.path)
        assert effects.number == 1
        alone = await request.other.send(door, "another key")
        assert alone.code != "idempotency_mismatch"
        assert REPLAYED not in alone.headers


@each_route
async def test_fifty_at_once_are_one(
    link: Redis, keyring: Keyring, route: Route[Any, Any], effects: Effects
) -> None:
    """One effect and one first answer; the others wait or see it again; another body is 422."""
    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        other = request.other
        assert other is not None
        answers = await asyncio.gather(*(request.send(door) for _ in range(AT_ONCE)))
        firsts = [
            item for item in answers if item.status in SUCCESS and REPLAYED not in item.headers
        ]
        replays = [item for item in answers if item.headers.get(REPLAYED) == "true"]
        told_to_wait = [item for item in answers if item.code == "idempotency_in_progress"]
        assert (len(firsts), effects.number) == (1, 1)
        assert len(replays) + len(told_to_wait) == AT_ONCE - 1
        assert all(item.body == firsts[0].body for item in replays)
        for item in told_to_wait:
            assert (item.status, item.headers["Retry-After"]) == (409, "1")
        others = await asyncio.gather(*(other.send(door) for _ in range(AT_ONCE)))
        assert {item.code for item in others} == {"idempotency_mismatch"}
        assert effects.number == 1


@each_route
async def test_different_bodies_at_once_are_one_effect(
    link: Redis, keyring: Keyring, route: Route[Any, Any], effects: Effects
) -> None:
    """Whichever request comes first has the key; all of the other kind are 422."""
    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        assert request.other is not None
        both = [request, request.other] * (AT_ONCE // 2)
        answers = await asyncio.gather(*(item.send(door) for item in both))
        mismatches = [item.code == "idempotency_mismatch" for item in answers]
        assert sum(mismatches) == AT_ONCE // 2
        assert len({*mismatches[::2]}) == len({*mismatches[1::2]}) == 1
        assert effects.number <= 1


@each_route
async def test_a_crash_before_the_answer_is_kept_repeats_nothing(
    link: Redis, keyring: Keyring, route: Route[Any, Any], effects: Effects
) -> None:
    """Whoever asks again waits for the lease, and then gets what the one effect answers."""
    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        effects.unfinished = True
        first = await request.send(door)
        assert first.status in SUCCESS
        effects.unfinished = False
        assert (await request.send(door)).code == "idempotency_in_progress"
        await end_leases(link)
        retry = await request.send(door)
        assert (retry.status, retry.body) == (first.status, first.body)
        assert effects.number == 1
        assert (await request.send(door)).headers[REPLAYED] == "true"


@each_route
async def test_a_lost_reply_repeats_nothing(
    link: Redis, keyring: Keyring, route: Route[Any, Any], effects: Effects
) -> None:
    """503 after the effect, or before it, is not kept: asked again there is one effect in all."""
    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        effects.faults = [Fault.BEFORE, Fault.AFTER]
        for number in (0, 1):
            lost = await request.send(door)
            assert (lost.status, lost.code) == (503, "state_unavailable")
            assert effects.number == number
        assert request.other is not None
        assert (await request.other.send(door)).code == "idempotency_mismatch"
        retry = await request.send(door)
        assert retry.status in SUCCESS, retry.body
        assert effects.number == 1
        again = await request.send(door)
        assert (again.body, again.headers[REPLAYED]) == (retry.body, "true")


@each_route
async def test_a_key_that_is_none_is_refused(
    link: Redis, keyring: Keyring, route: Route[Any, Any], effects: Effects
) -> None:
    """Too long, empty between its quotes, not ASCII, cut short: 400, and nothing happens."""
    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        for key in ("k" * 256, '""', '"cut short', "clé", '"a", "b"'):
            refused = await request.send(door, key)
            assert (refused.status, refused.code) == (400, "idempotency_key_invalid")
            assert_documented(refused, route.method, route.path)
        assert effects.number == 0


@each_route
async def test_a_store_out_of_reach_refuses(
    link: Redis,
    keyring: Keyring,
    route: Route[Any, Any],
    effects: Effects,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no claim can be made nothing is carried out: 503."""

    async def out_of_reach(*_args: object) -> None:
        raise ServeError(Code.STATE_UNAVAILABLE, "no answer")

    async with front_door(link, keyring) as door:
        request = await asked(route, door, effects)
        monkeypatch.setattr(RedisIdempotency, "claim", out_of_reach)
        refused = await request.send(door)
        assert (refused.status, refused.code) == (503, "state_unavailable")
        assert effects.number == 0


@pytest.mark.parametrize(
    "lines",
    [
        b"Idempotency-Key: a\r\nIdempotency-Key: a\r\n",
        b"Idempotency-Key:\r\n",
        b"Idempotency-Key: a\xff\xfeb\r\n",
        b"Idempotency-Key: cl\xc3\xa9\r\n",
        b"Idempotency-Key: a\x00b\r\n",
        b"Idempotency-Key: a\tb\r\n",
        b"Idempotency-Key: a\r\n b\r\n",
        b"Idempotency-Key: " + b"k" * 5_000 + b"\r\n",
        b'Idempotency-Key: "a"; sk="b"\r\n',
    ],
)
async def test_hostile_bytes_are_refused(link: Redis, keyring: Keyring, lines: bytes) -> None:
    """Twice, empty, no ASCII, folded, far too long: 400, and no record is made."""
    async with front_door(link, keyring) as door:
        place = urlsplit(door.url)
        head = (
            "DELETE /api/v1/customers/alice HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {door.tenant.test_api_key}\r\n"
        ).encode()
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(head + lines + b"\r\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert answer.partition(b" ")[2].startswith(b"400 "), answer[:200]
        assert [key async for key in link.scan_iter("*:idem:*")] == []
