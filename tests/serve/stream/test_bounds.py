"""What streams hold in memory is bounded, also of messages that never become whole."""

import asyncio
import struct

from redis.asyncio import Redis

from serve.observe import metrics
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN
from tests.serve.stream.stage import Talk, faces_of, stream_door, talking

HALF_MIB = 2**19
LARGE = JOHN + bytes(256_000)  # two of them can come into half a MiB, but not be remembered there


def held_bytes() -> float:
    """What this process holds of bodies and frames."""
    found = metrics.REGISTRY.get_sample_value("limen_body_bytes")
    assert found is not None
    return found


def begin(talk: Talk, whole: int, sent: int) -> asyncio.Transport:
    """A binary message of `whole` bytes, of which `sent` are on their way and no more come; what
    it is sent over, which no goodbye can follow.
    """
    connection = talk.socket._response.connection  # noqa: SLF001 (half a message, it never sends)
    assert connection is not None
    transport = connection.transport
    assert transport is not None
    transport.write(struct.pack(">BBQ4s", 0x82, 0xFF, whole, bytes(4)) + bytes(sent))
    return transport


async def test_half_messages_are_counted(link: Redis, keyring: Keyring) -> None:
    """One address has half of the room; who would have more is sent away, and it is given back."""
    before = held_bytes()
    async with stream_door(link, keyring, inflight=2 * HALF_MIB) as door:
        token = await door.ready_token()
        async with talking(door) as talk, talking(door) as other:
            await talk.start(token)
            first = begin(talk, HALF_MIB, HALF_MIB - 4_096)
            while held_bytes() < before + HALF_MIB - 4_096:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            second = begin(other, HALF_MIB, 8_192)
            assert (await other.hear_until("problem"))["problem"]["code"] == "overloaded"
            first.abort()
            second.abort()
    assert held_bytes() == before


async def test_half_a_message_behind_a_whole_one_is_counted(link: Redis, keyring: Keyring) -> None:
    """What comes in one piece with a frame is no part of it."""
    before = held_bytes()
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            await talk.start(token)
            sending = asyncio.create_task(talk.frame(JOHN))
            await asyncio.sleep(0)
            transport = begin(talk, HALF_MIB, HALF_MIB // 8)
            await sending
            await talk.hear_until("hint")
            assert held_bytes() >= before + HALF_MIB // 8
            transport.abort()
    assert held_bytes() == before


async def test_frames_without_room_are_dropped(link: Redis, keyring: Keyring) -> None:
    """They are told of, their credits come back later, and the stream goes on."""
    before = held_bytes()
    async with stream_door(link, keyring, inflight=2 * HALF_MIB) as door:
        token = await door.ready_token()
        faces = faces_of(door)
        faces.gate = asyncio.Event()
        async with talking(door) as talk:
            await talk.start(token)
            await talk.frame(LARGE)
            await talk.frame(LARGE)
            assert (await talk.hear_until("hint"))["dropped"] == 1
            faces.gate.set()
            await talk.hear_until("credits")
            await talk.frame(JOHN)
            while len(faces.frames) < 2:
                await talk.hear()
    assert held_bytes() == before


async def test_a_stream_that_ends_gives_all_back(link: Redis, keyring: Keyring) -> None:
    """Whatever was waiting, being examined or kept."""
    before = held_bytes()
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        faces = faces_of(door)
        async with talking(door) as talk:
            await talk.start(token)
            await talk.frame(JOHN)
            await talk.hear_until("hint")
            faces.gate = asyncio.Event()
            for _ in range(5):
                await talk.frame(JOHN)
            await talk.hear_until("credits")
            assert held_bytes() > before
            await talk.socket.send_str("nonsense")
            assert (await talk.closing())[0] == 4400
    assert held_bytes() == before


async def test_a_clip_has_no_more_frames_than_it_may(link: Redis, keyring: Keyring) -> None:
    """After the last no credit comes back; one more frame is a flood."""
    async with stream_door(link, keyring, frames_max=8, frames_per_s_max=60) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            await talk.start(token)
            for number in range(8):
                while not talk.credits:
                    await talk.hear()
                await talk.frame(JOHN)
                while len(faces_of(door).frames) <= number:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await talk.frame(JOHN)
            assert await talk.closing() == (4429, "too_many_frames")
        assert len(faces_of(door).frames) == 8
