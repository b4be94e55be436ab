"""Requests whose end two readers could place differently: one answer, and the connection's end."""

import asyncio

import pytest
from redis.asyncio import Redis

from serve.store.vault.keyring import Keyring
from tests.abuse.wire import connected, statuses, until_closed
from tests.helpers.front_door import KYC, Door, front_door

OPEN = f"{KYC}/face/session"
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: limen\r\n\r\n"
CHUNKED = ("Transfer-Encoding: chunked",)


def post(*lines: str, end: str = "\r\n", version: str = "HTTP/1.1") -> bytes:
    """The head of a POST with these lines."""
    fixed = (f"POST {OPEN} {version}", "Host: limen", "Content-Type: application/json")
    return end.join([*fixed, *lines, "", ""]).encode("latin-1")


def chunks(text: str) -> bytes:
    return post(*CHUNKED) + text.encode("latin-1")


LENGTHS = [
    "Content-Length: 0\r\nContent-Length: 38", "Content-Length: 38\r\nContent-Length: 0",
    "Content-Length: 2\r\nContent-Length: 2", "Content-Length: 2, 2", "Content-Length: 0, 38",
    "Content-Length: +2", "Content-Length: -1", "Content-Length: 0x2", "Content-Length: 2 2",
    "Content-Length: 1_0", "Content-Length:", "Content-Length: 2.0", "Content-Length: two",
    "Content-Length: \xb2", "Content-Length : 2", "Content-Length\t: 2", " Content-Length: 2",
    "Content-Length: 99999999999999999999", "Content-Length: 18446744073709551618",
]  # fmt: skip
CODINGS = [
    "Transfer-Encoding: chunked\r\nContent-Length: 38",
    "Content-Length: 38\r\nTransfer-Encoding: chunked",
    "Content-Length: 2\r\nTransfer-Encoding: identity", "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity", "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x0b",
    "Transfer-Encoding : chunked", "Transfer-Encoding: gzip", "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding:\r\n chunked", "Transfer\x00-Encoding: chunked",
    "Transfer_Encoding: chunked",
]  # fmt: skip
FIELDS = [
    "X-Folded: a\r\n b", "X-Folded: a\r\n\tb", "X-Bare: a\rb", "X-Bare: a\nContent-Length: 38",
    "X-Null: a\x00b", "X Space: a", "(X): a", ": a", "X-Colonless", "\x7fX: a", "X\xe9: a",
    "Host: other", "X-Control: \x01",
]  # fmt: skip
CHUNKS = [
    "0x2\r\n{}\r\n0\r\n\r\n", "+2\r\n{}\r\n0\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n",
    " 2\r\n{}\r\n0\r\n\r\n",
    "2 \r\n{}\r\n0\r\n\r\n", "2_0\r\n{}\r\n0\r\n\r\n", "2\n{}\n0\n\n", "2\r\n{}\r\r\n0\r\n\r\n",
    "2\r\n{}0\r\n\r\n", "2\r\n{}XX0\r\n\r\n", "g\r\n{}\r\n0\r\n\r\n", "\r\n0\r\n\r\n",
    "fffffffffffffffff\r\n{}", "ffffffffffffffff\r\n{}", "8000000000000000\r\n{}",
    "2;a=b\nc\r\n{}\r\n0\r\n\r\n", "2;\x00\r\n{}\r\n0\r\n\r\n", "2\r{}\r\n0\r\n\r\n",
]  # fmt: skip
STARTS = [
    f"POST\t{OPEN}\tHTTP/1.1", f"POST {OPEN}",
    f"POST {OPEN} HTTP/1.10", f"POST {OPEN} HTTP/11.1", f"POST {OPEN} HTTP/2.0",
    f"POST {OPEN} http/1.1", f"POST {OPEN} HTTP/1.1 ", f"POST {OPEN}\x00 HTTP/1.1",
    "PRI * HTTP/2.0", f"P\x00ST {OPEN} HTTP/1.1", f"(POST) {OPEN} HTTP/1.1", "\x16\x03\x01\x02",
    f"POST {OPEN} HTTP/0.9", f" POST {OPEN} HTTP/1.1", "GARBAGE", f"POST {OPEN} ICE/1.0",
]  # fmt: skip


def vectors() -> list[bytes]:
    """Every request that ends where readers differ, or is none."""
    found = [post(lines) + b"{}" for lines in (*LENGTHS, *CODINGS)]
    found += [post("Content-Length: 2", lines) + b"{}" for lines in FIELDS]
    found += [chunks(text) for text in CHUNKS]
    found += [
        f"{start}\r\nHost: limen\r\nContent-Length: 2\r\n\r\n{{}}".encode("latin-1")
        for start in STARTS
    ]
    found += [
        post("Content-Length: 2", end="\n") + b"{}",
        post(*CHUNKED, version="HTTP/1.0") + b"2\r\n{}\r\n0\r\n\r\n",
        b"\x00" * 64, b" " * 9_000,
    ]  # fmt: skip
    return found


async def said(door: Door, data: bytes) -> bytes:
    """All that the door says to `data` until it closes."""
    async with connected(door.url) as (reader, writer):
        writer.write(data + HIDDEN * 3)
        return await until_closed(reader)


async def test_no_request_hides_in_another(
    link: Redis, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """86 ways to say two lengths or none: at most one answer, of 4xx, and the connection ends;
    what was refused as malformed is told so in a problem document, and quoted nowhere.
    """
    async with front_door(link, keyring, head_seconds_max=1) as door:
        heard = await asyncio.gather(*(said(door, data) for data in vectors()))
        assert (await door.call("GET", "/healthz")).status == 200
    answered = [statuses(one) for one in heard]
    assert [found for found in answered if found not in ([400], [401])] == []
    malformed = [one for one in heard if statuses(one) == [400]]
    assert all(b'"code": "request_malformed"' in one for one in malformed)
    assert not any(word in one for one in malformed for word in (b"Folded", b"aiohttp", b"Python"))
    assert (len(answered), len(malformed)) == (86, 84)
    with capsys.disabled():
        print(f"\n{len(answered)} vectors, {answered.count([400])} malformed, 0 requests hidden")


async def test_honest_requests_in_a_row_are_all_answered(link: Redis, keyring: Keyring) -> None:
    """Where the lengths agree, each of four requests on one connection has its answer."""
    async with front_door(link, keyring, head_seconds_max=1) as door:
        for body in (post("Content-Length: 2") + b"{}", chunks("2\r\n{}\r\n0\r\n\r\n")):
            assert statuses(await said(door, body)) == [401, 200, 200, 200]
