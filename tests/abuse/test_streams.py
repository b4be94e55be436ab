"""Streams that are abused: each is gone by its bound, and others stream on meanwhile."""

import asyncio
import gc
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import pytest
from redis.asyncio import Redis

from serve.api.liveness.line import Line
from serve.api.liveness.streams import BEATS_MAX
from serve.bench.streams.crowd import Hold, hold
from serve.domain.liveness.credits import CREDITS
from serve.domain.liveness.wire import STREAM_PATH, SUBPROTOCOL, Frame, write_frame
from serve.flows.liveness.stream import Stream
from serve.outbound.phone import Ended, Refused, Start, connected, opened
from serve.sections import StreamSection
from serve.store.vault.keyring import Keyring
from tests.abuse.test_crowd import many_files
from tests.abuse.test_slow import outlast, served_meanwhile
from tests.abuse.wire import PATIENCE_S, statuses, until_closed
from tests.abuse.wire import connected as plain
from tests.helpers.front_door import JOHN, PHONE, Door, front_door

EACH = 20
KINDS = (Stream, Line)
HALF_OPEN = 1_000
FRAMES = 4
START_S = 1.0
QUICK = StreamSection(start_seconds_max=START_S)
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
HANDSHAKE = (
    f"GET {STREAM_PATH} HTTP/1.1\r\nHost: limen\r\nUser-Agent: {PHONE}\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
).encode()
OPENED = HANDSHAKE + b"\r\n"
AGENT = {"User-Agent": PHONE}


def spoken(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A client's WebSocket frame, masked with zeros."""
    first = opcode | (FINAL if final else 0)
    assert len(payload) < 126
    return struct.pack("!BB4x", first, MASKED | len(payload)) + payload


def closing_code(heard: bytes) -> int:
    """What the server closed with, by its last frame; 0 where it said nothing of the kind."""
    frames = heard.partition(b"\r\n\r\n")[2]
    last = 0
    while frames:
        opcode, size = frames[0] & 0x0F, frames[1] & 0x7F
        start = 2
        if size == 126:
            (size,), start = struct.unpack_from("!H", frames, 2), 4
        payload, frames = frames[start : start + size], frames[start + size :]
        if opcode == CLOSE:
            (last,) = struct.unpack_from("!H", payload)
    return last


async def streamed(door: Door, token: str) -> Ended:
    """An honest stream of a few frames; how it ended."""
    async with opened(door.client, Start(door.url, token, headers=AGENT)) as phone:
        for number in range(FRAMES):
            await phone.send(JOHN, 100 * number)
        return await phone.submit()


@asynccontextmanager
async def streaming_meanwhile(door: Door) -> AsyncIterator[list[int]]:
    """Somebody else's streams, one after the other, for as long as the block runs."""
    token, ended = await door.ready_token(), list[int]()

    async def again() -> None:
        while True:
            ended.append((await streamed(door, token)).status)

    task = asyncio.create_task(again())
    try:
        yield ended
        while not ended:  # noqa: ASYNC110 (at least one)
            await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


SLOW_HANDSHAKES = {
    "a handshake that stops": (HANDSHAKE, b""),
    "a handshake by the byte": (HANDSHAKE, b"X: " + b"a" * 9_000),
    "headers without end": (HANDSHAKE, b"X: a\r\n"),
}
LONG_START = struct.pack("!BBH4x", FINAL | TEXT, MASKED | 126, 1_000)
SLOW_STARTS = {
    "silent": (OPENED, b""),
    "a start that stops": (OPENED + spoken(TEXT, b'{"type":"start"}')[:9], b""),
    "a start by the byte": (
        OPENED + struct.pack("!BBH4x", FINAL | TEXT, MASKED | 126, 1_000),
        b" ",
    ),
    "a start in pieces": (OPENED + spoken(TEXT, b"{", final=False), spoken(0, b" ", final=False)),
    "pings": (OPENED, spoken(PING, b"")),
    "pongs": (OPENED, spoken(PONG, b"")),
}


async def test_a_slow_handshake_is_gone_by_its_deadline(link: Redis, keyring: Keyring) -> None:
    """20 clients of each of 3 kinds are cut off without an answer; requests and streams go on."""
    async with (
        front_door(link, keyring, head_seconds_max=0.5) as door,
        streaming_meanwhile(door) as streams,
        served_meanwhile(door) as answered,
    ):
        kinds = [kind for kind in SLOW_HANDSHAKES for _ in range(EACH)]
        heard = await asyncio.gather(*(outlast(door, *SLOW_HANDSHAKES[kind]) for kind in kinds))
    assert [kind for kind, one in zip(kinds, heard, strict=True) if statuses(one)] == []
    assert set(answered) == {200}
    assert set(streams) <= {200, 422}


async def test_a_slow_start_is_gone_by_its_deadline(link: Redis, keyring: Keyring) -> None:
    """20 clients of each of 6 kinds are closed with 4408, whatever keeps them alive."""
    async with (
        front_door(link, keyring, stream=QUICK) as door,
        streaming_meanwhile(door) as streams,
        served_meanwhile(door) as answered,
    ):
        kinds = [kind for kind in SLOW_STARTS for _ in range(EACH)]
        heard = await asyncio.gather(*(outlast(door, *SLOW_STARTS[kind]) for kind in kinds))
    found = {kind: closing_code(one) for kind, one in zip(kinds, heard, strict=True)}
    assert found == dict.fromkeys(SLOW_STARTS, 4408)
    assert set(answered) == {200}
    assert set(streams) <= {200, 422}


async def test_half_open_sockets_are_shut_out_by_their_bound(link: Redis, keyring: Keyring) -> None:
    """1,000 sockets that never start are closed with 4408 within seconds of their deadline, and
    nothing is held for them; requests and streams go on meanwhile.
    """
    with many_files() as files:
        number = min(HALF_OPEN, files // 2)
        async with (
            front_door(link, keyring, stream=QUICK, connections_per_address_max=5_000) as door,
            streaming_meanwhile(door) as streams,
            served_meanwhile(door) as answered,
            AsyncExitStack() as stack,
        ):
            sides = [await stack.enter_async_context(plain(door.url)) for _ in range(number)]
            for _, writer in sides:
                writer.write(OPENED)
            heard = await asyncio.gather(*(until_closed(reader) for reader, _ in sides))
    assert Counter(map(closing_code, heard)) == {4408: number}
    assert set(answered) == {200}
    assert set(streams) <= {200, 422}


async def test_more_sockets_than_there_may_be_are_answered_503(
    link: Redis, keyring: Keyring
) -> None:
    """Beyond `stream.sockets_max` a handshake is refused; when one has gone the next is let in."""
    token_max = StreamSection(sockets_max=EACH)
    async with front_door(link, keyring, stream=token_max) as door, AsyncExitStack() as stack:
        token = await door.ready_token()
        first = [
            await stack.enter_async_context(connected(door.client, door.url, AGENT))
            for _ in range(EACH)
        ]
        with pytest.raises(Refused) as refused:
            await streamed(door, token)
        assert refused.value.ended.status == 503
        await first[0].close()
        async with asyncio.timeout(PATIENCE_S):
            while (ended := await tried(door, token)) is None:  # noqa: ASYNC110 (the other side)
                await asyncio.sleep(0.01)
    assert ended.status in {200, 422}


async def tried(door: Door, token: str) -> Ended | None:
    """An honest stream, or None where it is refused."""
    try:
        return await streamed(door, token)
    except Refused:
        return None


async def test_a_flood_without_credit_is_closed(link: Redis, keyring: Keyring) -> None:
    """20 clients that send more frames than they have credits for are closed with 4429, one frame
    after the last credit; no more than that is looked at, and an honest stream is.
    """
    async with front_door(link, keyring) as door, streaming_meanwhile(door) as streams:
        codes = await asyncio.gather(*(flood(door, number) for number in range(EACH)))
        honest = door.faces.examined
    assert codes == [4429] * EACH
    assert set(streams) <= {200, 422}
    assert honest <= EACH * CREDITS + (len(streams) + 1) * (FRAMES + 8)


async def test_a_flood_of_pings_is_closed(link: Redis, keyring: Keyring) -> None:
    """20 clients that send them by the thousand are closed with 4429; requests and streams of
    others go on between one ping and the next.
    """
    pings = spoken(PING, b"") * (2 * BEATS_MAX)
    async with (
        front_door(link, keyring) as door,
        streaming_meanwhile(door) as streams,
        served_meanwhile(door) as answered,
    ):
        heard = await asyncio.gather(*(outlast(door, OPENED + pings, b"") for _ in range(EACH)))
    assert [closing_code(one) for one in heard] == [4429] * EACH
    assert set(answered) == {200}
    assert set(streams) <= {200, 422}


async def own_token(door: Door, number: int) -> str:
    """The token of a session of a customer whom nobody else asks for."""
    customer = f"flood-{number}"
    assert (await door.enrol(customer=customer)).status in {200, 201}
    return str((await door.open(customer_id=customer)).body["token"])


async def flood(door: Door, number: int) -> int:
    """All frames at once; the closing code."""
    token = await own_token(door, number)
    async with connected(door.client, door.url, AGENT) as socket:
        await socket.send_json({"type": "start", "token": token})
        nonce = bytes.fromhex((await socket.receive_json())["nonce"])
        with suppress(ConnectionError):
            for seq in range(10 * CREDITS):
                await socket.send_bytes(write_frame(Frame(seq, seq, JOHN), nonce))
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
        return socket.close_code or 0


async def test_a_stream_that_ended_leaves_nothing_behind(link: Redis, keyring: Keyring) -> None:
    """Of 20 streams with their hello, and 20 that were judged, no part of ours is in memory when
    their sockets are closed, without the collector's help.
    """
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        tokens = tuple([await own_token(door, number) for number in range(EACH)])
        gc.collect()
        gc.disable()
        try:
            async with hold(Hold(door.url, EACH, tokens)) as held:
                assert (held.open, living()) == (EACH, dict.fromkeys(KINDS, EACH))
            for _ in range(EACH):
                assert (await streamed(door, token)).status in {200, 422}
            async with asyncio.timeout(PATIENCE_S):
                while living():  # noqa: ASYNC110 (the other side of sockets)
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


def living() -> dict[type, int]:
    """How many objects of a stream there are, by their kind."""
    return dict(Counter(kind for each in gc.get_objects() if (kind := type(each)) in KINDS))
