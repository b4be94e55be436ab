"""What breaks a rule of the protocol closes the stream with the code for it, and is no attempt."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.domain.ids import make_token
from serve.domain.liveness.credits import CREDITS
from serve.domain.liveness.wire import Frame, write_frame
from serve.errors import Code, ServeError
from serve.flows.liveness.stream import FRAME_WAIT_S_MAX
from serve.flows.liveness.viewing import REFUSALS_MAX
from serve.observe import metrics
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, KYC, ORIGIN, Door
from tests.helpers.images import bare_jpeg, jpeg, jpeg_frame, picture
from tests.serve.stream.stage import faces_of, stream_door, talking, told

BYTES_MAX = 2**14
LARGE = jpeg_frame(0xC0, 2_900, 2_900)


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    async with stream_door(link, keyring, frame_bytes_max=BYTES_MAX, frames_per_s_max=60) as opened:
        yield opened


@pytest.mark.parametrize(
    "first",
    [
        "", "start", "[]", "{}", '{"type":"submit"}', b"bytes", b"", "x" * 2_000,
        '{"type":"start"}', '{"type":"start","token":"st_x","more":1}',
    ],
)  # fmt: skip
async def test_anything_but_a_start_first_is_refused(door: Door, first: str | bytes) -> None:
    """4400, before any token is looked for."""
    async with talking(door) as talk:
        if isinstance(first, str):
            await talk.socket.send_str(first)
        else:
            await talk.socket.send_bytes(first)
        assert await talk.closing() == (4400, "message_invalid")


@pytest.mark.parametrize(
    "later",
    [
        "nonsense", '{"type":"start","token":"st_x"}', '{"type":"submit"}', b"short",
        '{"type":"hello"}',
    ],
)  # fmt: skip
async def test_a_message_out_of_place_is_refused(door: Door, later: str | bytes) -> None:
    """4400: a second start, a submit of nothing, and what is no message at all."""
    token = await door.ready_token()
    async with talking(door) as talk:
        await talk.start(token)
        if isinstance(later, str):
            await talk.socket.send_str(later)
        else:
            await talk.socket.send_bytes(later)
        assert await talk.closing() == (4400, "message_invalid")
    assert (await told(door, token))[1] == 3


async def test_a_silent_client_is_not_waited_for(link: Redis, keyring: Keyring) -> None:
    """4408: a start comes in time, or the place is another's."""
    async with stream_door(link, keyring, start_seconds_max=0.05) as door, talking(door) as talk:
        assert await talk.closing() == (4408, "stream_too_slow")


async def test_a_clip_is_submitted_in_time(link: Redis, keyring: Keyring) -> None:
    """4408, and no attempt."""
    async with stream_door(link, keyring, seconds_max=5) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            await talk.start(token)
            await talk.frame(JOHN)
            assert await talk.closing() == (4408, "stream_too_slow")
        assert (await told(door, token))[1] == 3


@pytest.mark.parametrize("token", ["st_x", "", make_token(7, bytes(32))])
async def test_an_unknown_token_is_refused(door: Door, token: str) -> None:
    """4404, whether or not it could be one."""
    async with talking(door) as talk:
        problem = (await talk.start(token))["problem"]
        assert (problem["status"], problem["code"]) == (404, "not_found")
        assert (await talk.closing())[0] == 4404


async def test_wrong_guesses_are_counted(door: Door) -> None:
    """Who tries too many tokens is not let in any more, on this way or another."""
    for number in range(60):
        async with talking(door) as talk:
            await talk.start(make_token(7, number.to_bytes(32, "big")))
    assert (await door.call("GET", f"{KYC}/face/verify/st_x", key="")).status == 429


async def test_a_page_of_another_tenant_is_refused(door: Door) -> None:
    """4403: its origin is known, but not to the tenant of this token."""
    token = await door.ready_token()
    async with talking(door, Origin="https://b.example") as talk:
        problem = (await talk.start(token))["problem"]
        assert problem["code"] == "origin_refused"
        assert (await talk.closing())[0] == 4403
    for origin in (ORIGIN, "https://limen.example"):
        async with talking(door, Origin=origin) as talk:
            assert (await talk.start(token))["type"] == "hello"


async def test_a_wrong_tag_is_refused(door: Door) -> None:
    """4422: a frame that was made without the nonce, as one of another session is."""
    token = await door.ready_token()
    async with talking(door) as talk:
        await talk.start(token)
        await talk.socket.send_bytes(write_frame(Frame(0, 0, JOHN), b"another nonce..."))
        assert await talk.closing() == (4422, "frame_invalid")
    assert faces_of(door).frames == []


async def test_a_sequence_that_went_by_is_refused(door: Door) -> None:
    """4422: the same frame again, or an older one."""
    token = await door.ready_token()
    async with talking(door) as talk:
        await talk.start(token)
        talk.seq = 5
        await talk.frame(JOHN)
        talk.seq = 5
        await talk.frame(JOHN)
        assert await talk.closing() == (4422, "frame_invalid")


@pytest.mark.parametrize(
    "other",
    [
        jpeg(picture(64, 96)),
        bare_jpeg(LARGE),
        bare_jpeg(*[b"\xff\xfe\x00\x02"] * 300, LARGE),
        b"GIF89a",
    ],
    ids=["turned", "large", "large behind 300 empty comments", "of another format"],
)
async def test_a_frame_of_another_size_is_refused(door: Door, other: bytes) -> None:
    """4422, and no attempt: a phone that was turned, one that sends more pixels than it may, also
    where nobody reads that far, or what no phone's camera is. No model has looked at it.
    """
    token = await door.ready_token()
    first = jpeg(picture(96, 64))
    faces_of(door).gate = asyncio.Event()
    async with talking(door) as talk:
        await talk.start(token)
        await talk.frame(first)
        await talk.frame(other)
        assert await talk.closing() == (4422, "frame_invalid")
    assert faces_of(door).frames == [first]
    assert (await told(door, token))[1] == 3


async def test_a_flood_is_ended(door: Door) -> None:
    """4429 at the first frame without a credit; the models saw no more than may be under way."""
    token = await door.ready_token()
    faces_of(door).gate = asyncio.Event()
    async with talking(door) as talk:
        await talk.start(token)
        for _ in range(3 * CREDITS):
            await talk.frame(JOHN)
        assert await talk.closing() == (4429, "too_many_frames")
    assert len(faces_of(door).frames) <= 2
    assert (await told(door, token))[1] == 3


async def test_a_frame_over_the_limit_is_not_taken(door: Door) -> None:
    """1009, by the protocol beneath: it is never whole in memory."""
    token = await door.ready_token()
    async with talking(door) as talk:
        await talk.start(token)
        await talk.frame(bytes(BYTES_MAX))
        assert (await talk.hear_until("hint"))["seq"] == 0
        await talk.frame(bytes(BYTES_MAX + 1))
        assert (await talk.closing())[0] == 1009


@pytest.mark.parametrize("size", [600_000, 4_000_000])
async def test_who_is_still_sending_too_much_hears_why(door: Door, size: int) -> None:
    """A whole photo of a camera, say: 1009, counted as such, and nothing waits for a resume."""
    token = await door.ready_token()
    before = ended_with(1009)
    async with talking(door) as talk:
        hello = await talk.start(token)
        await talk.frame(JOHN)
        await talk.hear_until("hint")
        await talk.frame(bytes(size))
        assert (await talk.closing())[0] == 1009
    async with talking(door) as again:
        assert (await again.start(token, resume=hello["stream"]))["next"] == 0
    assert ended_with(1009) == before + 1


def ended_with(code: int) -> float:
    """Streams that have ended with this code."""
    labels = {"close_code": str(code)}
    return metrics.REGISTRY.get_sample_value("limen_streams_total", labels) or 0.0


async def test_a_session_that_is_over_takes_no_stream(door: Door) -> None:
    """4409 for one that was decided, at once."""
    token = await door.ready_token()
    assert (await door.submit(token)).body["status"] == "approved"
    async with talking(door) as talk:
        assert (await talk.start(token))["problem"]["code"] == "session_closed"
        assert (await talk.closing())[0] == 4409


def refused() -> ServeError:
    """Models without room. A new one each time: it remembers where it was raised, and for whom."""
    return ServeError(Code.OVERLOADED, "a full queue", retry_after_s=1)


async def test_models_that_refuse_for_long_end_it(door: Door) -> None:
    """Single frames are dropped and told of; after so many in a row it closes with 4503."""
    token = await door.ready_token()
    faces_of(door).troubles = [refused()]
    async with talking(door) as talk:
        await talk.start(token)
        await talk.frame(JOHN)
        assert (await talk.hear_until("hint"))["dropped"] == 1
        faces_of(door).troubles += [refused() for _ in range(3 * REFUSALS_MAX)]
        heard: dict[str, Any] = {}
        while heard.get("type") != "closed":
            while talk.credits:
                await talk.frame(JOHN)
            heard = await talk.hear()
        assert talk.socket.close_code == 4503
        assert talk.heard[-1]["problem"]["code"] == "overloaded"
    assert (await told(door, token))[1] == 3


async def test_no_clip_begins_while_frames_wait_for_long(door: Door) -> None:
    """The first frame is refused with 4503, and no attempt is counted; a moment later it begins."""
    token = await door.ready_token()
    waits_s = faces_of(door).waits_s
    waits_s[door.tenant.tenant.id] = FRAME_WAIT_S_MAX + 0.1
    async with talking(door) as talk:
        await talk.start(token)
        await talk.frame(JOHN)
        await talk.hear_until("problem")
        await talk.hear_until("closed")
        assert talk.socket.close_code == 4503
    waits_s[door.tenant.tenant.id] = FRAME_WAIT_S_MAX
    async with talking(door) as talk:
        await talk.start(token)
        await talk.frame(JOHN)
        await talk.hear_until("hint")
    assert (await told(door, token))[1] == 3


async def test_a_defect_says_nothing(door: Door) -> None:
    """4500, with no word of what broke."""
    token = await door.ready_token()
    faces_of(door).troubles = [RuntimeError("secret")]
    async with talking(door) as talk:
        await talk.start(token)
        await talk.frame(JOHN)
        assert await talk.closing() == (4500, "internal_error")
        assert "secret" not in str(talk.heard)


async def test_the_oldest_frame_makes_room(door: Door) -> None:
    """While the models are busy the newest are kept, the others are told of, and credits return."""
    token = await door.ready_token()
    faces = faces_of(door)
    faces.gate = asyncio.Event()
    async with talking(door) as talk:
        await talk.start(token)
        names = [b"john%d" % number for number in range(CREDITS)]
        for name in names:
            await talk.frame(name)
        await talk.hear_until("credits")  # of one that was dropped: nothing was examined yet
        await talk.hear_until("credits")
        faces.gate.set()
        while (await talk.hear_until("hint"))["dropped"] < 2:
            pass
        while len(faces.frames) < CREDITS - 2:
            await talk.hear()
    assert faces.frames == [*names[:2], *names[-2:]]


async def test_nothing_is_dropped_after_submit(door: Door) -> None:
    """What had come is examined, in its order, before it is judged; what comes later is not."""
    token = await door.ready_token()
    faces = faces_of(door)
    faces.gate = asyncio.Event()
    async with talking(door) as talk:
        await talk.start(token)
        for name in (b"john", b"mary", b"nobody", b"broken"):
            await talk.frame(name)
        await talk.socket.send_json({"type": "submit"})
        await talk.frame(b"late")
        faces.gate.set()
        assert (await talk.hear_until("done"))["status"] == 422
    assert faces.frames[:4] == [b"john", b"mary", b"nobody", b"broken"]
    assert b"late" not in faces.frames
