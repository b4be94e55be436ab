"""Connections over real sockets: counted, bounded, and told why when they are too many."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network

import pytest
from redis.asyncio import Redis

from serve.api.intake.connections import ConnectionBudget, ConnectionLimits
from serve.errors import Code, ServeError
from serve.observe import metrics
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import Door, front_door

PATIENCE_S = 30.0
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: limen\r\n\r\n"


@asynccontextmanager
async def connection(
    door: Door, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A socket to the door from an address of this machine."""
    host, _, port = door.url.removeprefix("http://").partition(":")
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
        try:
            yield reader, writer
        finally:
            writer.close()


def held() -> float:
    return metrics.REGISTRY.get_sample_value("limen_connections") or 0.0


async def until_held(number: float) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while held() != number:  # noqa: ASYNC110 (the other side of a socket)
            await asyncio.sleep(0.01)


def limits(connections_max: int, per_address_max: int, *trusted: str) -> ConnectionLimits:
    return ConnectionLimits(
        connections_max, per_address_max, 20.0, 30.0, tuple(ip_network(text) for text in trusted)
    )


def is_one_too_many(budget: ConnectionBudget, peer: str) -> bool:
    try:
        budget.check(budget.take(peer))
    except ServeError as error:
        return error.code is Code.OVERLOADED
    return False


def test_an_address_has_its_share_and_all_have_the_whole() -> None:
    """The second connection of an address is one too many, the fourth of all; given back, not."""
    budget = ConnectionBudget(limits(3, 1))
    peers = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert [is_one_too_many(budget, peer) for peer in peers] == [False, True, False, True]
    for _ in range(2):
        budget.give("192.0.2.1")
    budget.give("192.0.2.3")
    assert budget.held == 1
    assert not is_one_too_many(budget, "192.0.2.3")
    budget.give("192.0.2.2")
    budget.give("192.0.2.3")


def test_a_household_is_one_address_and_a_proxy_is_none() -> None:
    """IPv6 counts by /64, IPv4 however it is written; a trusted proxy has no share of its own."""
    budget = ConnectionBudget(limits(100, 1, "10.0.0.0/8"))
    assert not is_one_too_many(budget, "2001:db8::1")
    assert is_one_too_many(budget, "2001:db8::2")
    assert not is_one_too_many(budget, "192.0.2.1")
    assert is_one_too_many(budget, "::ffff:192.0.2.1")
    assert [is_one_too_many(budget, "10.1.2.3") for _ in range(9)] == [False] * 9
    for address in ["2001:db8::/64"] * 2 + ["192.0.2.1"] * 2 + ["unknown"] * 9:
        budget.give(address)
    assert budget.held == 0


async def test_one_connection_too_many_is_told_so(link: Redis, keyring: Keyring) -> None:
    """503 with `Retry-After` and a problem document, unasked; the others are served on."""
    async with front_door(link, keyring, connections_max=4) as door, AsyncExitStack() as opened:
        before = held()
        kept = [await opened.enter_async_context(connection(door)) for _ in range(4)]
        await until_held(before + 4)
        async with connection(door) as (reader, _):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            body = json.loads(await reader.read())
        assert head.startswith("HTTP/1.1 503 Service Unavailable\r\n")
        assert "Retry-After: 2\r\n" in head
        assert 'RateLimit-Policy: "address";q=' in head
        assert "Content-Type: application/problem+json" in head
        assert (body["code"], body["detail"]) == ("overloaded", "too many connections")
        for reader, writer in kept:
            writer.write(HEALTH)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        await until_held(before + 4)
        kept[0][1].close()
        await until_held(before + 3)
        assert (await door.call("GET", "/healthz")).status == 200


async def test_an_address_that_took_its_share_harms_no_other(link: Redis, keyring: Keyring) -> None:
    """Beyond its share one address is refused, and another is served beside it."""
    async with (
        front_door(link, keyring, connections_per_address_max=3) as door,
        AsyncExitStack() as opened,
    ):
        firsts = []
        for number in range(20):
            reader, writer = await opened.enter_async_context(connection(door, "127.0.0.2"))
            if number < 3:
                writer.write(HEALTH)
            firsts.append(await reader.readline())
        assert [line.split()[1] for line in firsts] == [b"200"] * 3 + [b"503"] * 17
        assert (await door.call("GET", "/healthz")).status == 200


async def test_nonsense_is_told_how_its_address_stands(link: Redis, keyring: Keyring) -> None:
    """What is no request counts as one, and the answer says what is left."""
    async with front_door(link, keyring) as door:
        left = []
        for _ in range(2):
            async with connection(door) as (reader, writer):
                writer.write(b"no HTTP at all\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert " 400 Bad Request\r\n" in head
                left.append(int(head.partition('RateLimit: "address";r=')[2].partition(";")[0]))
        assert left[0] > 0
        assert left[1] > 0


@pytest.mark.parametrize("number", [1, 5])
async def test_a_broken_connection_is_counted_out(
    number: int, link: Redis, keyring: Keyring
) -> None:
    """Hung up, reset or refused as nonsense: nothing stays counted."""
    async with front_door(link, keyring) as door:
        before = held()
        for said in (b"", b"GET", b"\x16\x03\x01 no HTTP at all\r\n\r\n", HEALTH):
            async with AsyncExitStack() as opened:
                for _ in range(number):
                    _, writer = await opened.enter_async_context(connection(door))
                    writer.write(said)
                    await writer.drain()
            await until_held(before)
        assert held() == before
