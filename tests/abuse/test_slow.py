"""Clients that take their time: each is gone by its deadline, and others are served meanwhile."""

import asyncio
import socket
from asyncio import StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from serve.observe import metrics
from serve.store.vault.keyring import Keyring
from tests.abuse.wire import PATIENCE_S, connected, statuses, until_closed
from tests.helpers.front_door import KYC, Door, front_door

OPEN = f"{KYC}/face/session"
QUICK = {"head_seconds_max": 0.5, "body_seconds_max": 0.5}
EACH = 20
STEP_S = 0.05


def head(door: Door, *lines: str) -> bytes:
    """An honest head of a POST, whole."""
    fixed = (
        f"POST {OPEN} HTTP/1.1",
        "Host: limen",
        "Content-Type: application/json",
        f"Authorization: Bearer {door.tenant.test_api_key}",
    )
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


async def trickle(writer: StreamWriter, whole: bytes, then: bytes) -> None:
    """`whole` at once, then `then` byte by byte and again and again, until the server is gone."""
    writer.write(whole)
    with suppress(ConnectionError):
        while not writer.is_closing():
            for value in then:
                writer.write(bytes([value]))
                await writer.drain()
                await asyncio.sleep(STEP_S)


@asynccontextmanager
async def served_meanwhile(door: Door) -> AsyncIterator[list[int]]:
    """Requests of somebody else, one after the other, for as long as the block runs."""
    answered: list[int] = []

    async def ask() -> None:
        while True:
            answered.append((await door.call("GET", f"{KYC}/preferences")).status)

    asking = asyncio.create_task(ask())
    try:
        yield answered
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


async def outlast(door: Door, whole: bytes, then: bytes) -> bytes:
    """What a slow client hears until the server has closed."""
    async with connected(door.url) as (reader, writer):
        if not then:
            writer.write(whole)
            return await until_closed(reader)
        slow = asyncio.create_task(trickle(writer, whole, then))
        try:
            return await until_closed(reader)
        finally:
            slow.cancel()
            with suppress(asyncio.CancelledError):
                await slow


REQUEST = b"GET /healthz HTTP/1.1\r\nHost: limen\r\n"
SLOWLY = REQUEST + b"X: " + b"a" * 9_000
HEADS: dict[str, tuple[bytes, bytes]] = {
    "silent": (b"", b""),
    "a head that stops": (b"GET /healthz HTTP/1.1\r\nHost: li", b""),
    "a head by the byte": (b"", SLOWLY),
    "headers without end": (REQUEST, b"X: a\r\n"),
    "empty lines": (b"", b"\r\n"),
    "a second head that stops": (REQUEST + b"\r\n" + REQUEST, b""),
    "a second head by the byte": (REQUEST + b"\r\n", SLOWLY),
}
BODIES: dict[str, Callable[[Door], tuple[bytes, bytes]]] = {
    "a body that stops": lambda door: (head(door, "Content-Length: 99") + b"{", b""),
    "a body by the byte": lambda door: (head(door, "Content-Length: 9999"), b" "),
    "chunks by the byte": lambda door: (head(door, "Transfer-Encoding: chunked"), b"1\r\n \r\n"),
    "a chunk that stops": lambda door: (head(door, "Transfer-Encoding: chunked") + b"ff\r\n", b""),
    "a chunk's length without end": lambda door: (
        head(door, "Transfer-Encoding: chunked") + b"1;", b"a"),
    "trailers without end": lambda door: (
        head(door, "Transfer-Encoding: chunked") + b"0\r\n", b"X: a\r\n"),
    "told to go on, and silent": lambda door: (
        head(door, "Content-Length: 99", "Expect: 100-continue"), b""),
}  # fmt: skip


async def test_a_slow_head_is_gone_by_its_deadline(link: Redis, keyring: Keyring) -> None:
    """20 clients of each of 7 kinds are cut off, without an answer to what they never asked."""
    async with front_door(link, keyring, **QUICK) as door, served_meanwhile(door) as answered:
        kinds = [kind for kind in HEADS for _ in range(EACH)]
        heard = await asyncio.gather(*(outlast(door, *HEADS[kind]) for kind in kinds))
    for kind, one in zip(kinds, heard, strict=True):
        assert statuses(one) == ([200] if "second" in kind else []), kind
    assert len(answered) > 3
    assert set(answered) == {200}


async def test_a_slow_body_is_gone_by_its_deadline(link: Redis, keyring: Keyring) -> None:
    """20 clients of each of 7 kinds hear 408 and are cut off, however they go on."""
    async with front_door(link, keyring, **QUICK) as door, served_meanwhile(door) as answered:
        kinds = [kind for kind in BODIES for _ in range(EACH)]
        heard = await asyncio.gather(*(outlast(door, *BODIES[kind](door)) for kind in kinds))
    for kind, one in zip(kinds, heard, strict=True):
        said = one.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert statuses(said) == [408], kind
    assert len(answered) > 3
    assert set(answered) == {200}


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can tell")
async def test_a_client_that_reads_nothing_is_gone(link: Redis, keyring: Keyring) -> None:
    """20 clients that take none of their answers, few or many, are cut off; others are served."""
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: limen\r\n\r\n"
    before = held()
    async with front_door(link, keyring, **QUICK) as door, AsyncExitStack() as opened:
        for number in range(EACH):
            _, writer = await opened.enter_async_context(connected(door.url))
            writer.write(ask * (2_000 if number % 2 else 100))
        async with asyncio.timeout(PATIENCE_S):
            while held() < before + EACH:  # noqa: ASYNC110 (the other side of sockets)
                await asyncio.sleep(0.01)
            while held() > before + 1:  # the other client's
                assert (await door.call("GET", "/healthz")).status == 200
    assert held() == before


def held() -> float:
    """Connections held by doors of this process."""
    return metrics.REGISTRY.get_sample_value("limen_connections") or 0.0
