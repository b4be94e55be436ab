"""Images for which the engine has no room, over real sockets: refused early, and for nothing."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.observe import metrics
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    JOHN,
    KYC,
    PHONE,
    WAIT_S,
    Door,
    assert_documented,
    front_door,
    text,
)

SUBMIT, ENROL = f"{KYC}/face/submit", "/api/v1/customers/alice/faces"
CLIENTS, UPLOADS_EACH = 20, 10
BODY_BYTES = 2 * 2**20
PATIENCE_S = 60.0
FULL = "HTTP/1.1 503 Service Unavailable"


@asynccontextmanager
async def connected(door: Door) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A plain socket to the door, with patience."""
    host, _, port = door.url.removeprefix("http://").partition(":")
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            writer.close()
            await writer.wait_closed()


def head(path: str, credential: str, size: int, *lines: str) -> bytes:
    """The head of an upload."""
    fields = [
        f"POST {path} HTTP/1.1",
        "Host: limen",
        f"User-Agent: {PHONE}",
        f"Authorization: Bearer {credential}",
        "Content-Type: application/json",
        f"Content-Length: {size}",
        *lines,
    ]
    return "\r\n".join([*fields, "", ""]).encode()


async def answered(reader: StreamReader) -> tuple[str, Mapping[str, str], Any]:
    """The next answer: its first line, its headers in small letters, its JSON."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return first, headers, json.loads(await reader.readexactly(int(headers["content-length"])))


def held_bytes() -> float:
    """Bytes of bodies that this process holds, those that other tests forgot among them."""
    return metrics.REGISTRY.get_sample_value("limen_body_bytes") or 0.0


async def refused_uploads(door: Door, path: str, credential: str) -> int:
    """Uploads one after the other on one connection; how many were refused as they should be,
    with no more bytes held than when the first began.

    Half of each body is sent, and the other half once the answer is there.
    """
    refused, held_before = 0, held_bytes()
    async with connected(door) as (reader, writer):
        for _ in range(UPLOADS_EACH):
            writer.write(head(path, credential, BODY_BYTES) + b" " * (BODY_BYTES // 2))
            first, headers, body = await answered(reader)
            is_right = first == FULL and headers["retry-after"] == str(WAIT_S)
            refused += is_right and body["code"] == "overloaded" and held_bytes() == held_before
            writer.write(b" " * (BODY_BYTES // 2))
            await writer.drain()
    return refused


async def test_200_uploads_are_refused_unread(link: Redis, keyring: Keyring) -> None:
    """While the queue is full each is 503 with `Retry-After` before its body is there; nothing of
    it is held, the session knows nothing of it, and its connection serves the next request.
    """
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        told = await door.call("GET", f"{KYC}/face/verify/{token}", key="")
        examined = door.faces.examined
        door.faces.crowded.add(door.tenant.tenant.id)
        counts = await asyncio.gather(
            *(refused_uploads(door, SUBMIT, token) for _ in range(CLIENTS))
        )
        assert sum(counts) == CLIENTS * UPLOADS_EACH
        assert door.faces.examined == examined
        assert (await door.call("GET", f"{KYC}/face/verify/{token}", key="")).body == told.body
        door.faces.crowded.clear()
        assert (await door.submit(token)).body["status"] == "approved"


async def test_an_enrolment_is_refused_by_its_key(link: Redis, keyring: Keyring) -> None:
    """The API key says whose image it would be; another tenant's is let in."""
    async with front_door(link, keyring) as door:
        door.faces.crowded.add(door.tenant.tenant.id)
        async with connected(door) as (reader, writer):
            writer.write(head(ENROL, door.tenant.test_api_key, BODY_BYTES))
            first, headers, _ = await answered(reader)
            assert (first, headers["retry-after"]) == (FULL, str(WAIT_S))
        assert_documented(await door.enrol(), "POST", "/api/v1/customers/{customer_id}/faces")
        other = door.stranger.test_api_key
        assert (await door.call("POST", ENROL, {"image": text(JOHN)}, key=other)).status == 201


async def test_the_engine_hears_of_uploads_on_their_way(link: Redis, keyring: Keyring) -> None:
    """From an upload's first byte until its request is answered, or ends without an answer."""
    async with front_door(link, keyring) as door:
        key, other = door.tenant.test_api_key, "/api/v1/customers/bob/faces"
        for sent in (0, BODY_BYTES // 2):
            async with connected(door) as (_, writer):
                writer.write(head(ENROL, key, BODY_BYTES) + b" " * sent)
                await let_in(door, key, 1)
        await let_in(door, key, 0)
        assert (await door.call("POST", other, {"image": text(JOHN)}, key=key)).status == 201
        await let_in(door, key, 0)


async def let_in(door: Door, key: str, number: int) -> None:
    """Wait until the engine is told of so many uploads beside one that asks."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with connected(door) as (reader, writer):
                writer.write(head("/api/v1/customers/carol/faces", key, 2) + b"{}")
                await answered(reader)
            if door.faces.let_in == number:
                return


async def test_a_token_in_the_body_is_refused_before_its_session_moves(
    link: Redis, keyring: Keyring
) -> None:
    """Where only the body says whose image it is, it is read and given back, and no more."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        told = await door.call("GET", f"{KYC}/face/verify/{token}", key="")
        door.faces.crowded.add(door.tenant.tenant.id)
        held_before = held_bytes()
        answer = await door.submit(token)
        assert (answer.status, answer.headers["Retry-After"]) == (503, str(WAIT_S))
        assert door.faces.let_in == 0  # beside itself
        assert_documented(answer, "POST", SUBMIT)
        assert held_bytes() == held_before
        assert (await door.call("GET", f"{KYC}/face/verify/{token}", key="")).body == told.body


async def test_who_prefers_to_wait_is_let_in(link: Redis, keyring: Keyring) -> None:
    """A capture to be judged later does not need the engine now."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        door.faces.crowded.add(door.tenant.tenant.id)
        for authorization in (f"Bearer {token}", "Bearer of nothing"):
            answer = await door.submit(token, Authorization=authorization, Prefer="respond-async")
            assert answer.status == 202


@pytest.mark.parametrize(
    ("size", "kind", "status"), [(2**25, "application/json", 413), (9, "text/plain", 415)]
)
async def test_what_can_never_be_taken_is_told_so(
    link: Redis, keyring: Keyring, size: int, kind: str, status: int
) -> None:
    """A body that is too large or of the wrong kind is not asked to come again later."""
    async with front_door(link, keyring) as door:
        door.faces.crowded.add(door.tenant.tenant.id)
        async with connected(door) as (reader, writer):
            said = head(ENROL, door.tenant.test_api_key, size)
            writer.write(said.replace(b"application/json", kind.encode()))
            first, _, _ = await answered(reader)
            assert first.startswith(f"HTTP/1.1 {status} ")


async def test_a_client_that_waits_is_told_to_begin_anew(link: Redis, keyring: Keyring) -> None:
    """`Expect: 100-continue` is answered by the refusal alone, and by the connection's end."""
    async with front_door(link, keyring) as door:
        door.faces.crowded.add(door.tenant.tenant.id)
        async with connected(door) as (reader, writer):
            key, expect = door.tenant.test_api_key, "Expect: 100-continue"
            writer.write(head(ENROL, key, BODY_BYTES, expect))
            first, headers, _ = await answered(reader)
            assert (first, headers["connection"]) == (FULL, "close")
