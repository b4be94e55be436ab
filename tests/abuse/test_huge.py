"""Heads, bodies and JSON beyond every measure: refused in kilobytes, whatever they announce."""

import asyncio
import gzip
import json
import os
from collections.abc import Callable

import psutil
import pytest
from redis.asyncio import Redis

from serve.api.intake.body import VALUES_MAX, parse
from serve.api.wire import OpenBody, SubmitBody
from serve.errors import Code, ServeError
from serve.store.vault.keyring import Keyring
from tests.abuse.wire import connected, statuses, until_closed
from tests.helpers.front_door import KYC, PHONE, Door, front_door

OPEN, SUBMIT = f"{KYC}/face/session", f"{KYC}/face/submit"
START = "GET /healthz HTTP/1.1\r\nHost: limen\r\n"
FLOODS = {
    "65 headers": START + "X: a\r\n" * 64 + "\r\n",
    "10,000 headers": START + "X: a\r\n" * 10_000 + "\r\n",
    "a name of 9 KB": START + "X" * 9_000 + ": a\r\n\r\n",
    "a value of 9 KB": START + "X: " + "a" * 9_000 + "\r\n\r\n",
    "a value of 1 MB": START + "X: " + "a" * 2**20 + "\r\n\r\n",
    "a value without end": START + "X: " + "a" * 2**22,
    "a path of 9 KB": f"GET /{'a' * 9_000} HTTP/1.1\r\nHost: limen\r\n\r\n",
    "a query of 1 MB": f"GET /healthz?{'a=b&' * 2**18} HTTP/1.1\r\nHost: limen\r\n\r\n",
    "a method of 1 MB": f"{'A' * 2**20} / HTTP/1.1\r\n\r\n",
    "a version of 1 MB": f"GET / HTTP/1.{'1' * 2**20}\r\n\r\n",
    "a cookie of 1 MB": START + "Cookie: " + "a=b;" * 2**18 + "\r\n\r\n",
}
LARGE = 10 * 2**20 - 2**10
MEMORY_GROWTH_BYTES_MAX = 64 * 2**20


async def heard(door: Door, *parts: bytes) -> bytes:
    """What the door says to `parts` until it closes."""
    async with connected(door.url) as (reader, writer):
        saying = asyncio.create_task(until_closed(reader))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass  # it has heard enough
        return await saying


async def test_a_flood_of_headers_is_cut_off(link: Redis, keyring: Keyring) -> None:
    """11 heads beyond the limits on their lines and their number: 400 or nothing, and the end."""
    async with front_door(link, keyring, head_seconds_max=5) as door:
        for name, flood in FLOODS.items():
            said = await heard(door, flood.encode())
            assert statuses(said) in ([], [400]), name
        most = START + "X: a\r\n" * 62 + "Connection: close\r\n\r\n"
        assert statuses(await heard(door, most.encode())) == [200]


def head(door: Door, path: str, *lines: str) -> bytes:
    fixed = (
        f"POST {path} HTTP/1.1",
        "Host: limen",
        f"User-Agent: {PHONE}",
        "Content-Type: application/json",
        f"Authorization: Bearer {door.tenant.test_api_key}",
    )
    return "\r\n".join([*fixed, *lines, "Connection: close", "", ""]).encode()


CHUNKS: dict[str, tuple[list[bytes], int]] = {
    "one byte at a time": ([b"1\r\n \r\n"] * 70_000, 413),
    "one large chunk": ([b"100000\r\n" + b" " * 2**20], 413),
    "the largest length": ([b"7fffffffffffffff\r\n" + b" " * 2**17], 413),
    "an extension of 1 MB": ([b"1;" + b"a" * 2**20 + b"\r\n \r\n0\r\n\r\n"], 400),
    "10,000 trailers": ([b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 10_000 + b"\r\n"], 400),
    "nothing at all": ([b"0\r\n\r\n"], 400),
}


async def test_chunks_are_counted_as_they_come(link: Redis, keyring: Keyring) -> None:
    """However a body without a length is cut up, it ends at the limit of its route."""
    async with front_door(link, keyring) as door:
        start = head(door, OPEN, "Transfer-Encoding: chunked")
        said = await asyncio.gather(*(heard(door, start, *parts) for parts, _ in CHUNKS.values()))
        assert (await door.call("GET", "/healthz")).status == 200
    for (kind, (_, status)), one in zip(CHUNKS.items(), said, strict=True):
        assert statuses(one) in ([status], []), kind  # nothing, where the reset outran the answer


CODINGS = ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP"]


@pytest.mark.parametrize("coding", CODINGS)
async def test_nothing_compressed_is_unpacked(coding: str, link: Redis, keyring: Keyring) -> None:
    """100 KB that would be 100 MB are refused by their header, in this many kilobytes."""
    bomb = gzip.compress(bytes(100 * 2**20), 9)
    async with front_door(link, keyring) as door:
        before = psutil.Process(os.getpid()).memory_info().rss
        for path in (OPEN, SUBMIT):
            lines = (f"Content-Encoding: {coding}", f"Content-Length: {len(bomb)}")
            assert statuses(await heard(door, head(door, path, *lines), bomb)) == [415]
        grown = psutil.Process(os.getpid()).memory_info().rss - before
    assert grown < MEMORY_GROWTH_BYTES_MAX


BOMBS: dict[str, Callable[[], bytes]] = {
    "lists": lambda: b'{"x": [' + b"[]," * (LARGE // 3) + b"[]]}",
    "objects": lambda: b'{"x": [' + b"{}," * (LARGE // 3) + b"{}]}",
    "keys": lambda: b"{" + b",".join(b'"%x":0' % i for i in range(LARGE // 10)) + b"}",
    "a key given often": lambda: b"{" + b'"a":0,' * (LARGE // 6) + b'"b":0}',
    "depth": lambda: b'{"x":' + b"[" * LARGE,
    "depth of objects": lambda: b'{"a":' * (LARGE // 5),
    "numbers": lambda: b'{"x": [' + b"1," * (LARGE // 2) + b"1]}",
    "one number": lambda: b'{"x": ' + b"9" * LARGE + b"}",
    "escapes": lambda: b'{"x": "' + b"\\u0041" * (LARGE // 6) + b'"}',
    "spaces": lambda: b" " * LARGE,
}


@pytest.mark.parametrize("kind", BOMBS)
async def test_json_costs_no_more_than_its_bytes(kind: str, link: Redis, keyring: Keyring) -> None:
    """10 MB of JSON of any shape are refused, and grow the process by less than 64 MB."""
    bomb = BOMBS[kind]()
    async with front_door(link, keyring) as door:
        process = psutil.Process(os.getpid())
        await door.call("POST", SUBMIT, b" " * len(bomb), key="", User_Agent=PHONE)
        before = process.memory_info().rss
        answer = await door.call("POST", SUBMIT, bomb, key="", User_Agent=PHONE)
        grown = process.memory_info().rss - before
    assert answer.status in {400, 422}
    assert grown < MEMORY_GROWTH_BYTES_MAX


def test_an_honest_body_has_room_for_its_values() -> None:
    """As many values as are allowed are looked at, and one more is not."""
    most = {"reference": "r", "customer_id": "c", "x": [0] * (VALUES_MAX - 3)}
    with pytest.raises(ServeError) as unknown:
        parse(json.dumps(most).encode(), OpenBody)
    assert unknown.value.code is Code.FIELD_INVALID
    with pytest.raises(ServeError) as many:
        parse(json.dumps({**most, "y": 0}).encode(), OpenBody)
    assert many.value.code is Code.BODY_INVALID
    image = "data:image/jpeg;base64," + "A" * 2**20
    assert parse(json.dumps({"proof": image}).encode(), SubmitBody).proof == image


async def test_a_client_that_reads_nothing_holds_nobody_up(link: Redis, keyring: Keyring) -> None:
    """Thousands of questions whose answers are left lying: others are served, and the bytes that
    wait for it are bounded by one answer and the buffers.
    """
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: limen\r\n\r\n"
    async with front_door(link, keyring) as door:
        process = psutil.Process(os.getpid())
        before = process.memory_info().rss
        async with connected(door.url) as (_, writer):
            writer.write(ask * 5_000)
            for _ in range(20):
                assert (await door.call("GET", "/healthz")).status == 200
            assert process.memory_info().rss - before < MEMORY_GROWTH_BYTES_MAX
