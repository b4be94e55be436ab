"""A stream that has lost its connection goes on, on any front door, and no attempt is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
from aiohttp import ClientSession
from redis.asyncio import Redis

from pipeline.decision.policy import LivenessPolicy
from pipeline.liveness.challenge import Asked, Step
from serve.domain.headroom import Shortage
from serve.domain.ids import Mode
from serve.domain.liveness.sight import Sight
from serve.domain.progress import SubmitAnswer
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows.liveness.clip import StreamClip
from serve.flows.liveness.parking import PARKED_BYTES_MAX, Parked, packed, unpacked
from serve.flows.tenants import change_settings
from serve.store import names
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, Door
from tests.pipeline.liveness import heads
from tests.serve.stream.stage import Talk, clip, faces_of, stream_door, talking, told

NEVER_S = 60  # a gap that no test makes
STEPS = (Step.NOD, Step.BLINK)
ASKED = Asked(STEPS, b"lot")


@asynccontextmanager
async def losing(door: Door) -> AsyncIterator[Talk]:
    """A talk whose connection breaks at the end of the block, without a goodbye."""
    async with ClientSession() as http, talking(replace(door, client=http)) as talk:
        yield talk
        await http.close()


async def until_parked(link: Redis) -> None:
    """Wait until some stream lies in the store."""
    while not [key async for key in link.scan_iter(match="{p*}:parked:*")]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_a_clip_goes_on_at_another_door(link: Redis, keyring: Keyring) -> None:
    """What was seen at the first is known at the second: half here, half there, one verdict."""
    async with (
        stream_door(link, keyring, frames_per_s_max=13, gap_s_max=NEVER_S) as first,
        stream_door(link, keyring, first.deps, frames_per_s_max=13, gap_s_max=NEVER_S) as second,
    ):
        token = await first.ready_token()
        async with losing(first) as talk:
            hello = await talk.start(token)
            frames = clip(JOHN, hello["steps"])
            half = len(frames) * 2 // 3
            await talk.show(frames[:half])
            while not any(heard.get("done") for heard in talk.heard[1:]):
                await talk.hear()
            seq = talk.seq
        async with talking(second) as talk:
            again = await talk.start(token, resume=hello["stream"])
            assert (again["nonce"], again["next"]) == (hello["nonce"], seq)
            assert again["done"] == 1
            assert again["step"] == hello["steps"][1]
            await talk.show(frames[half:])
            answer = await talk.submit()
        assert answer["result"]["status"] == "approved"


async def test_an_action_in_the_gap_costs_no_attempt(link: Redis, keyring: Keyring) -> None:
    """What was on its way when the connection broke nobody has seen: the clip is taken again."""
    async with stream_door(link, keyring, frames_per_s_max=13, gap_s_max=NEVER_S) as door:
        required = TenantPatch(liveness_policy=LivenessPolicy.REQUIRED)
        await change_settings(door.deps, door.tenant.tenant.id, required)
        token = await door.ready_token()
        async with losing(door) as talk:
            hello = await talk.start(token)
            frames = clip(JOHN, hello["steps"])
            await talk.show(frames[:12])
            while len(faces_of(door).frames) < 12:
                await talk.hear()
        async with talking(door) as talk:
            assert (await talk.start(token, resume=hello["stream"]))["next"] == 12
            talk.seq = 18
            await talk.show(frames[18:20])
            answer = await talk.submit()
        assert (answer["status"], answer["code"]) == (422, "capture_unfit")
        assert (await told(door, token))[1] == 3


async def test_after_a_long_gap_the_clip_begins_anew(link: Redis, keyring: Keyring) -> None:
    """Under the same challenge, and with sequence numbers that go on."""
    async with stream_door(link, keyring, gap_s_max=0) as door:
        token = await door.ready_token()
        async with losing(door) as talk:
            hello = await talk.start(token)
            await talk.frame(JOHN)
            await talk.hear_until("hint")
        async with talking(door) as talk:
            again = await talk.start(token, resume=hello["stream"])
            assert (again["nonce"], again["next"], again["done"]) == (hello["nonce"], 1, 0)
            await talk.frame(JOHN)
            assert (await talk.submit())["status"] == 422
        assert (await told(door, token))[1] == 3


async def test_a_stream_is_taken_up_once(link: Redis, keyring: Keyring) -> None:
    """Whoever brings its id a second time begins anew, as does who has another token."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        other = str((await door.open(event="password_change")).body["token"])
        async with losing(door) as talk:
            hello = await talk.start(token)
            await talk.frame(JOHN)
            await talk.hear_until("hint")
        await until_parked(link)
        async with talking(door) as talk:
            assert (await talk.start(other, resume=hello["stream"]))["next"] == 0
        async with talking(door) as talk:
            assert (await talk.start(token, resume=hello["stream"]))["next"] == 1
        async with talking(door) as talk:
            assert (await talk.start(token, resume=hello["stream"]))["next"] == 0


async def test_a_newer_stream_goes_on_with_one_that_is_still_open(
    link: Redis, keyring: Keyring
) -> None:
    """A phone that changes networks comes back before the old connection is known to be lost."""
    async with (
        stream_door(link, keyring) as first,
        stream_door(link, keyring, first.deps) as second,
    ):
        token = await first.ready_token()
        async with talking(first) as talk:
            hello = await talk.start(token)
            await talk.frame(JOHN)
            await talk.hear_until("hint")
            async with talking(second) as newer:
                again = await newer.start(token, resume=hello["stream"])
                assert again["next"] == 1
                assert await talk.closing() == (4409, "stream_superseded")


async def test_a_done_that_was_lost_is_said_again(link: Redis, keyring: Keyring) -> None:
    """The connection breaks while the clip is judged: there is one attempt, and its answer."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        faces = faces_of(door)
        async with losing(door) as talk:
            hello = await talk.start(token)
            for image in clip(b"mary", hello["steps"])[:2]:
                await talk.frame(image)
            await talk.hear_until("hint")
            faces.gate = asyncio.Event()
            await talk.socket.send_json({"type": "submit"})
            while not await is_processing(door, token):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        faces.gate.set()
        await until_parked(link)
        async with talking(door) as talk:
            answer = await talk.start(token, resume=hello["stream"])
            assert (answer["type"], answer["status"]) == ("done", 200)
            assert answer["result"]["status"] == "declined"
            assert await talk.closing() == (1000, "")
        assert (await told(door, token))[1] == 2


async def is_processing(door: Door, token: str) -> bool:
    return (await told(door, token))[0] == "processing"


async def test_an_erased_customer_leaves_no_stream(link: Redis, keyring: Keyring) -> None:
    """What waits to be resumed goes with everything else."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        async with losing(door) as talk:
            await talk.start(token)
            await talk.frame(JOHN)
            await talk.hear_until("hint")
        await until_parked(link)
        assert (await door.call("DELETE", "/api/v1/customers/alice")).status == 200
        assert [key async for key in link.scan_iter(match="{p*}:parked:*")] == []


class Short:
    """A store with room for what has begun alone."""

    async def check(self) -> None:
        raise ServeError(Code.STORAGE_LOW, "planned")

    async def short_of(self) -> Shortage | None:
        return Shortage.MEMORY


async def test_a_store_that_is_short_of_room_keeps_no_clip(link: Redis, keyring: Keyring) -> None:
    """Whoever lost the connection begins anew; megabytes of clips are not what it ends of."""
    async with stream_door(link, keyring, gap_s_max=NEVER_S) as roomy:
        token = await roomy.ready_token()
        deps = replace(roomy.deps, headroom=Short())
        async with stream_door(link, keyring, deps, gap_s_max=NEVER_S) as door:
            async with losing(door) as talk:
                hello = await talk.start(token)
                await talk.frame(JOHN)
                await talk.hear_until("hint")
            async with talking(door) as talk:
                again = await talk.start(token, resume=hello["stream"])
                assert (again["nonce"], again["next"]) == (hello["nonce"], 0)


async def test_streams_that_nobody_took_up_are_forgotten(link: Redis, keyring: Keyring) -> None:
    """However often a phone loses its connection, its customer owns only what is still there."""
    async with stream_door(link, keyring) as door:
        await door.ready_token()
        subject = door.deps.ledger.subject(door.tenant.tenant.id, Mode.TEST, "alice")
        await link.zadd(names.owned(subject), {"gone": 1})
        await door.deps.parking.park(subject, "name", b"stream")
        owned = await link.zrange(names.owned(subject), 0, -1)
        assert names.parked(subject.partition, "name").encode() in owned
        assert b"gone" not in owned


async def test_nothing_is_parked_for_a_customer_who_is_gone(link: Redis, keyring: Keyring) -> None:
    """Or who never was: there is no key to seal it under."""
    async with stream_door(link, keyring) as door:
        subject = door.deps.ledger.subject("ten_x", Mode.TEST, "nobody")
        await door.deps.parking.park(subject, "name", b"stream")
        assert await door.deps.parking.take(subject, "name") is None


def sight() -> tuple[Sight, StreamClip]:
    """What was seen of a whole clip, and the clip."""
    seen = Sight.begun(ASKED)
    for number, observation in enumerate(heads.clip(heads.poses(STEPS))):
        seen.add(observation, b"frame %d" % number)
    return seen, StreamClip("ab", tuple(seen.observations), dict(seen.images))


def test_a_parked_clip_is_the_same_clip() -> None:
    """All that it is judged by comes back to the last bit, and so does its digest."""
    before, submitted = sight()
    parked = Parked("ab", 41, before, [(1.5, 0.25)], dropped=3)
    found = unpacked(packed(parked))
    assert (found.nonce, found.least) == ("ab", 41)
    assert (found.light, found.dropped) == ([(1.5, 0.25)], 3)
    assert found.sight is not None
    assert found.sight.asked == ASKED
    assert found.sight.progress == before.progress
    assert found.sight.images == before.images
    again = StreamClip("ab", tuple(found.sight.observations), found.sight.images)
    assert again.digest == submitted.digest
    for one, other in zip(found.sight.observations, before.observations, strict=True):
        assert (one.seen is None) == (other.seen is None)
        assert np.array_equal(one.scene, other.scene)
        if one.seen is not None and other.seen is not None:
            assert np.array_equal(one.seen.points, other.seen.points)
            assert one.seen.pose == other.seen.pose


def test_what_is_too_large_is_parked_without_what_was_seen() -> None:
    """The stream goes on, and its clip begins anew."""
    before, _ = sight()
    number = next(iter(before.images))
    before.images[number] = bytes(PARKED_BYTES_MAX)
    found = unpacked(packed(Parked("ab", 41, before)))
    assert (found.least, found.sight) == (41, None)


def test_an_answer_is_parked_as_it_is() -> None:
    """Status and body."""
    answer = SubmitAnswer(200, b'{"status":"approved"}')
    assert unpacked(packed(Parked("ab", answer=answer))).answer == answer
