"""The whole path of a stream: hello, frames, hints, submit, done."""

from time import monotonic

import pytest
from redis.asyncio import Redis

from serve.flows.liveness.viewing import HINT_S
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import BROKEN, CROWD, JOHN, NOBODY
from tests.serve.stream.stage import clip, faces_of, stream_door, talking, told

MARY = b"mary"
PACE = 13  # a clip of four seconds that came within less than two would be no camera's


async def test_a_clip_is_streamed_followed_and_judged(link: Redis, keyring: Keyring) -> None:
    """Steps are told of as they are done, the verdict is the callback object, and the session
    is over.
    """
    async with stream_door(link, keyring, frames_per_s_max=PACE) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            hello = await talk.start(token)
            assert (hello["step"], hello["done"], hello["next"]) == (hello["steps"][0], 0, 0)
            await talk.show(clip(JOHN, hello["steps"]))
            answer = await talk.submit()
            assert answer["status"] == 200, answer
            assert answer["result"]["status"] == "approved"
            assert await talk.closing() == (1000, "")
        hints = [each for each in talk.heard if each["type"] == "hint"]
        assert [hint["done"] for hint in hints] == sorted(hint["done"] for hint in hints)
        assert hints[0]["step"] == hello["steps"][0]
        assert (await told(door, token))[0] == "approved"


async def test_somebody_else_is_declined(link: Redis, keyring: Keyring) -> None:
    """What is compared with the reference is a frame of the stream."""
    async with stream_door(link, keyring, frames_per_s_max=PACE) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            hello = await talk.start(token)
            await talk.show(clip(MARY, hello["steps"]))
            answer = await talk.submit()
        assert (answer["status"], answer["result"]["status"]) == (200, "declined")


async def test_an_unfit_clip_is_taken_again_under_the_same_challenge(
    link: Redis, keyring: Keyring
) -> None:
    """It is no attempt, and whoever connects again is asked for the same."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            first = await talk.start(token)
            await talk.frame(JOHN)
            answer = await talk.submit()
            assert (answer["status"], answer["code"]) == (422, "capture_unfit")
            assert await talk.closing() == (1000, "")
        async with talking(door) as talk:
            second = await talk.start(token)
        assert (second["nonce"], second["steps"]) == (first["nonce"], first["steps"])
        assert second["stream"] != first["stream"]
        assert (await told(door, token))[1] == 3


async def test_an_unreadable_frame_is_a_hint(link: Redis, keyring: Keyring) -> None:
    """The stream goes on, and its credit comes back."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            await talk.start(token)
            seq = await talk.frame(b"broken")
            hint = await talk.hear_until("hint")
            assert (hint["seq"], hint["feedback"]) == (seq, ["other"])
            assert (await talk.hear_until("credits"))["credits"] == 1
            assert faces_of(door).frames == [b"broken"]


@pytest.mark.parametrize(
    ("who", "hint"), [(NOBODY, "face_not_found"), (CROWD, "multi_face"), (BROKEN, "")]
)
async def test_frames_of_no_one_face_are_no_attempt(
    link: Redis, keyring: Keyring, who: bytes, hint: str
) -> None:
    """The clip is to be taken again, or was none at all."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            await talk.start(token)
            await talk.show([who] * 3)
            answer = await talk.submit()
        found = (answer.get("status"), answer.get("feedback"))
        assert found == ((422, [hint]) if hint else (None, None))
        assert (await told(door, token))[1] == 3


async def test_hints_are_a_few_a_second(link: Redis, keyring: Keyring) -> None:
    """However many frames come, while the step asked for is the same."""
    async with stream_door(link, keyring, frames_per_s_max=60) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            await talk.start(token)
            start_s = monotonic()
            await talk.show([JOHN] * 30)
            passed_s = monotonic() - start_s
        hints = [each for each in talk.heard if each["type"] == "hint"]
        assert 1 <= len(hints) <= 1 + passed_s / HINT_S
