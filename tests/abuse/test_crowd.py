"""Many connections on one door process: what each costs, and that the others are served."""

import asyncio
import resource
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipeline.models.cache import ModelCache
from tests.abuse.door_process import DoorProcess, door_process

CONNECTIONS = 10_000
FILES_SPARE = 1_000
SLOW = 1_000
ASKED = 500
BYTES_EACH_MAX = 30 * 2**10
BATCH = 250
PATIENCE_S = 120.0
ROOMY = {
    "LIMEN_SERVER_CONNECTIONS_MAX": "20000",
    "LIMEN_SERVER_CONNECTIONS_PER_ADDRESS_MAX": "20000",
    "LIMEN_SERVER_HEAD_SECONDS_MAX": "600",
}
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: limen\r\n\r\n"


@contextmanager
def many_files() -> Iterator[int]:
    """How many connections this process may open, within the hard limit on its files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + FILES_SPARE
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield allowed - FILES_SPARE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def sockets(url: str, number: int) -> Iterator[list[socket.socket]]:
    """So many connections to the door, none of which has said anything."""
    host, _, port = url.removeprefix("http://").partition(":")
    opened: list[socket.socket] = []
    try:
        while len(opened) < number:
            made = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
            opened.append(made)
        for each in opened:
            each.settimeout(0)
        yield opened
    finally:
        for each in opened:
            each.close()


async def held(door: DoorProcess, number: int) -> int:
    """Wait until the door holds so many connections; how many it does."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := await door.connections()) < number:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)
    return found


async def answered_each(opened: list[socket.socket]) -> int:
    """One request on every connection, some at a time; how many were answered 200."""
    loop, good = asyncio.get_running_loop(), 0

    async def one(each: socket.socket) -> bool:
        await loop.sock_sendall(each, REQUEST)
        return (await loop.sock_recv(each, 4_096)).startswith(b"HTTP/1.1 200 ")

    for start in range(0, len(opened), BATCH):
        good += sum(await asyncio.gather(*map(one, opened[start : start + BATCH])))
    return good


async def drip(opened: list[socket.socket]) -> None:
    """A byte more of a head on every connection, again and again."""
    for each in opened:
        each.send(b"GET /healthz HTTP/1.1\r\nX: ")
    while True:
        for each in opened:
            with suppress(BlockingIOError):
                each.send(b"a")
        await asyncio.sleep(0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.models
async def test_a_crowd_costs_little_and_stands_in_nobody_s_way(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 connections, or as many as open files allow, take less than 30 KB each, silent or
    kept alive; beside 1,000 that drip a head byte by byte 500 requests of 500 are answered.
    """
    async with door_process(tmp_path, **ROOMY) as door:
        assert {(await door.ask("GET", "/api/v1/tenant"))[0] for _ in range(100)} == {200}
        own, bare = await door.connections(), door.memory_bytes()
        with many_files() as number, sockets(door.service.url, number) as opened:
            assert await held(door, number) <= number + own
            silent = (door.memory_bytes() - bare) / number
            assert await answered_each(opened) == number
            assert await held(door, number) >= number
            used = (door.memory_bytes() - bare) / number
            assert (await door.ask("GET", "/api/v1/tenant"))[0] == 200
        with sockets(door.service.url, SLOW) as opened:
            await held(door, SLOW)
            dripping = asyncio.create_task(drip(opened))
            found = Counter([(await door.ask("GET", "/api/v1/tenant"))[0] for _ in range(ASKED)])
            assert await door.connections() >= SLOW
            dripping.cancel()
    with capsys.disabled():
        print(
            f"\n{number} connections: {silent / 1024:.1f} KB each silent, {used / 1024:.1f} KB"
            f" after a request; beside {SLOW} slow ones {found[200]} of {ASKED} answered"
        )
    assert max(silent, used) < BYTES_EACH_MAX
    assert found == {200: ASKED}
