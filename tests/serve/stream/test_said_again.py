"""What a person handed in is judged once, and the answer is heard, however connections break."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import WSCloseCode
from redis.asyncio import Redis

from serve.domain.liveness.wire import STREAM_ID_BYTES
from serve.flows.handoff import find_handoff
from serve.flows.liveness.parking import name_of, unpark
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import KYC, Door
from tests.serve.stream.stage import Talk, clip, faces_of, stream_door, talking, told

Doors = tuple[Door, Door]


@pytest_asyncio.fixture
async def doors(link: Redis, keyring: Keyring) -> AsyncIterator[Doors]:
    """Two doors of one install."""
    async with stream_door(link, keyring) as one, stream_door(link, keyring, one.deps) as two:
        yield one, two


async def begun(talk: Talk, token: str) -> str:
    """A stream of somebody else's face; its id."""
    hello = await talk.start(token)
    for image in clip(b"mary", hello["steps"])[:2]:
        await talk.frame(image)
    await talk.hear_until("hint")
    return str(hello["stream"])


async def hand_in(talk: Talk) -> None:
    await talk.socket.send_json({"type": "submit"})


async def until(door: Door, token: str, status: str) -> None:
    while (await told(door, token))[0] != status:  # noqa: ASYNC110 (another door's doing)
        await asyncio.sleep(0.01)


async def held(door: Door, talk: Talk, token: str) -> tuple[str, asyncio.Event]:
    """A stream that is being judged until the event is set; its id, and the event."""
    stream = await begun(talk, token)
    faces_of(door).gate = gate = asyncio.Event()
    await hand_in(talk)
    await until(door, token, "processing")
    return stream, gate


async def until_judged(door: Door, token: str, left: int) -> None:
    while (await told(door, token))[1] != left:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def said(answer: dict[str, object]) -> str:
    """The verdict of a done, or the code of a problem."""
    result = answer.get("result") or answer.get("problem")
    assert isinstance(result, dict), answer
    return str(result.get("code") or result["status"])


async def test_a_done_into_the_void_is_said_again_at_once(doors: Doors) -> None:
    """A phone that changed its network does not wait until its old connection is known to be dead:
    nobody there says goodbye.
    """
    one, two = doors
    for here in doors:
        token = await one.ready_token()
        async with talking(one) as silent, talking(here) as again:
            stream = await begun(silent, token)
            await hand_in(silent)
            left = 2 if here is one else 1
            await until_judged(two, token, left)
            assert said(await again.start(token, resume=stream)) == "declined"
        assert (await told(one, token))[1] == left


async def test_who_asks_too_early_is_told_when_to_ask_again(doors: Doors) -> None:
    """While the clip is judged a resume is told to come back, and then hears the verdict; there is
    one attempt.
    """
    one, two = doors
    token = await one.ready_token()
    async with talking(one) as silent:
        stream, gate = await held(one, silent, token)
        async with talking(two) as early:
            answer = await early.start(token, resume=stream)
            assert (said(answer), answer["retry_after_s"]) == ("submission_in_progress", 1)
        gate.set()
        await until(one, token, "declined")
        for _ in range(2):  # what was said again may be lost again
            async with talking(two) as again:
                assert said(await again.start(token, resume=stream)) == "declined"
    assert await told(one, token) == ("declined", 2)


async def test_two_sockets_that_submit_are_judged_once(doors: Doors) -> None:
    """A newer stream may begin before the older's clip is judged; of both only one is an attempt,
    and whoever comes second is told so.
    """
    one, two = doors
    token = await one.ready_token()
    faces_of(one).gate = gate = asyncio.Event()
    async with talking(one) as older, talking(two) as newer:
        first = await older.start(token)
        for image in clip(b"mary", first["steps"])[:2]:
            await older.frame(image)
        await hand_in(older)
        assert (await newer.start(token))["nonce"] == first["nonce"]
        gate.set()
        assert said(await older.hear_until("done")) == "declined"
        await newer.frame(b"mary")
        assert said(await newer.submit()) == "challenge_mismatch"
    assert await told(one, token) == ("declined", 2)


async def test_an_answer_outlives_a_phone_that_says_submit_twice(doors: Doors) -> None:
    """The second ends the stream by the rules, and what came of the first is heard by a resume."""
    one, _ = doors
    token = await one.ready_token()
    async with talking(one) as talk:
        stream = await begun(talk, token)
        faces_of(one).gate = gate = asyncio.Event()
        await hand_in(talk)
        await hand_in(talk)
        gate.set()
        assert await talk.closing() == (4400, "message_invalid")
    async with talking(one) as again:
        answer = await again.start(token, resume=stream)
        while answer["type"] == "problem":
            async with talking(one) as later:
                answer = await later.start(token, resume=stream)
        assert said(answer) == "declined"
    assert await told(one, token) == ("declined", 2)


async def test_who_left_during_the_judging_hears_it_later(doors: Doors) -> None:
    """A page that is loaded anew says goodbye, and has not heard the answer."""
    one, two = doors
    token = await one.ready_token()
    async with talking(one) as talk:
        stream, gate = await held(one, talk, token)
        await talk.socket.close(code=WSCloseCode.GOING_AWAY)
    gate.set()
    await until(one, token, "declined")
    async with talking(two) as again:
        assert said(await again.start(token, resume=stream)) == "declined"


async def test_a_session_that_is_erased_while_it_is_judged_is_gone(doors: Doors) -> None:
    """4404, and nothing of the clip decides anything."""
    one, _ = doors
    token = await one.ready_token()
    async with talking(one) as talk:
        _, gate = await held(one, talk, token)
        assert (await one.call("DELETE", "/api/v1/customers/alice")).status == 200
        gate.set()
        assert await talk.closing() == (4404, "not_found")


async def test_a_session_that_is_judged_cannot_be_canceled(doors: Doors) -> None:
    """Until there is a verdict, which the stream is told."""
    one, _ = doors
    token = await one.ready_token()
    async with talking(one) as talk:
        _, gate = await held(one, talk, token)
        listed = await one.call("GET", f"{KYC}/face/sessions?customer_id=alice")
        path = f"{KYC}/face/sessions/{listed.body['data'][0]['id']}/cancel"
        assert (await one.call("POST", path)).code == "submission_in_progress"
        gate.set()
        assert said(await talk.hear_until("done")) == "declined"


async def test_of_a_judged_clip_only_the_answer_waits(doors: Doors) -> None:
    """Nothing of what was seen is kept for a stream that will not go on."""
    one, _ = doors
    token = await one.ready_token()
    handoff, _ = await find_handoff(one.deps, token)
    async with talking(one) as silent:
        stream = await begun(silent, token)
        await hand_in(silent)
        await until_judged(one, token, 2)
        async with talking(one) as other:
            await other.start(token, resume=stream)
            parked = await unpark(one.deps, handoff, name_of(token, stream))
    assert len(stream) == 2 * STREAM_ID_BYTES
    assert parked is not None
    assert parked.sight is None
    assert parked.answer is not None
    assert json.loads(parked.answer.body)["status"] == "declined"
