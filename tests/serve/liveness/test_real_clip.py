"""Clips of a rendered man over HTTP, with the real models and the default policies."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from pipeline.evidence import Pixels
from pipeline.image.decode import encode_jpeg
from pipeline.liveness.challenge import DRAWS, Step
from pipeline.liveness.judgement import Doubt
from pipeline.models.load import LoadedPack
from pipeline.render.perform import Clip, perform
from serve.demo.performer import Performer, performer_of
from serve.demo.tiles import STRANGER, make_selfie
from serve.domain.liveness.challenge import RANDOM_BYTES, draw
from serve.flows.liveness.clip import ClipFrame, FrameBurst
from serve.flows.liveness.look import Looked, look_at
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import KYC, Door, text
from tests.helpers.search.seeds import differences, read_seed
from tests.serve.liveness.real_door import asked, handed_in, real_door

pytestmark = pytest.mark.models

ACTIVE, AGE = "/api/v1/active-liveness", "/api/v1/age-estimate"
PHOTO_QUALITY, FRAMES_PER_S, SEED = 92, 6.0, 3


@pytest.fixture(scope="module")
def man(pack: LoadedPack, astronaut: Pixels) -> Performer:
    """A face of which there is one photo, and a head made of it."""
    return performer_of(pack.faces, encode_jpeg(astronaut, PHOTO_QUALITY))


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring, pack: LoadedPack) -> AsyncIterator[Door]:
    """A door over the real models."""
    async with real_door(link, keyring, pack) as opened:
        yield opened


async def a_token(door: Door, photo: bytes) -> str:
    """The token of a session of alice, who was enrolled with a photo."""
    assert (await door.enrol(photo)).status == 201
    return str((await door.open()).body["token"])


async def done(man: Performer, steps: list[str]) -> Clip:
    """He does these steps."""
    chance = np.random.default_rng(SEED)
    wanted = [Step(each) for each in steps]
    return await asyncio.to_thread(perform, man.head, wanted, chance, FRAMES_PER_S)


async def session_of(door: Door, answer: dict[str, object]) -> dict[str, object]:
    """What the tenant sees of the session of an answer."""
    found = await door.call("GET", f"{KYC}/face/sessions/{answer['resource_id']}")
    assert found.status == 200
    return dict(found.body)


async def kept(link: Redis) -> set[bytes]:
    """The keys of everything that is stored, quotas apart."""
    return {key async for key in link.scan_iter("*") if b"quota" not in key}


async def test_who_does_what_is_asked_is_approved(door: Door, man: Performer) -> None:
    """By the default policy, without a reviewer; nobody but the tenant learns a score."""
    token = await a_token(door, man.photo)
    drawn = (await asked(door, token)).body
    clip = await done(man, drawn["steps"])
    answer = await handed_in(door, token, clip, drawn["nonce"])
    assert (answer.status, answer.body["status"], answer.body["reasons"]) == (200, "approved", [])
    assert "score" not in json.dumps(answer.body)
    again = await handed_in(door, token, clip, drawn["nonce"])
    assert again.body == answer.body
    assert (await session_of(door, answer.body))["liveness_doubts"] == []
    listed = await door.call("GET", "/api/v1/verifications")
    (live,) = [
        item["result"]["liveness"] for item in listed.body["data"] if item["kind"] == "session"
    ]
    assert live["is_live"]
    assert live["method"] == "motion_challenge"
    assert live["score"] >= live["threshold"] == 0.5


async def test_a_photo_that_is_held_up_is_declined(door: Door, man: Performer) -> None:
    """It matches and does nothing: the tenant sees why, the person only that it failed."""
    token = await a_token(door, man.photo)
    drawn = (await asked(door, token)).body
    answer = await handed_in(door, token, man.hold_up(), drawn["nonce"])
    codes = [reason["code"] for reason in answer.body["reasons"]]
    assert (answer.status, answer.body["status"], codes) == (200, "declined", ["liveness_failed"])
    doubts = (await session_of(door, answer.body))["liveness_doubts"]
    assert isinstance(doubts, list)
    told = {doubt["code"]: doubt["description"] for doubt in doubts}
    assert told[Doubt.STEP_NOT_SEEN] == Doubt.STEP_NOT_SEEN.description
    assert not any(doubt in json.dumps(answer.body) for doubt in Doubt)
    assert (await asked(door, token)).body["nonce"] != drawn["nonce"]


async def test_a_recording_of_another_challenge_is_declined(door: Door, man: Performer) -> None:
    """The right person, live, doing what was not asked for."""
    token = await a_token(door, man.photo)
    drawn = (await asked(door, token)).body
    others = [pair for pair in DRAWS if not {*pair} & {*drawn["steps"]}]
    pair = others[0] if others else next(each for each in DRAWS if list(each) != drawn["steps"])
    answer = await handed_in(door, token, await done(man, list(pair)), drawn["nonce"])
    assert answer.body["status"] == "declined"
    assert answer.body["reasons"][0]["code"] == "liveness_failed"


async def test_a_live_stranger_is_declined(
    door: Door, man: Performer, tiles: list[list[Pixels]]
) -> None:
    """Who passes the challenge with another face than the one enrolled."""
    row, column = STRANGER[0]
    token = await a_token(door, make_selfie(tiles[row][column]))
    drawn = (await asked(door, token)).body
    answer = await handed_in(door, token, await done(man, drawn["steps"]), drawn["nonce"])
    codes = [reason["code"] for reason in answer.body["reasons"]]
    assert (answer.body["status"], codes) == ("declined", ["face_mismatch"])


async def test_two_people_are_no_attempt(door: Door, man: Performer, astronaut: Pixels) -> None:
    """They are told that there is more than one."""
    token = await a_token(door, man.photo)
    drawn = (await asked(door, token)).body
    pair = encode_jpeg(np.hstack([astronaut] * 2), PHOTO_QUALITY)
    clip = Clip((pair,) * 8, tuple(range(0, 800, 100)))
    answer = await handed_in(door, token, clip, drawn["nonce"])
    assert (answer.status, answer.code) == (422, "capture_unfit")
    assert "multi_face" in answer.body["feedback"]
    assert (await asked(door, token)).body == drawn


async def test_what_is_matched_is_a_frame_of_the_clip(door: Door, man: Performer) -> None:
    """The best shot of the frames that were judged, whatever was sent as `proof`."""
    drawn = draw(bytes(RANDOM_BYTES), 0)
    clip = await done(man, list(drawn.steps))
    frames = tuple(
        ClipFrame(image, at_ms) for image, at_ms in zip(clip.frames, clip.captured_ms, strict=True)
    )
    found = await look_at(door.deps, door.tenant.tenant.id, FrameBurst("0", frames), drawn)
    assert isinstance(found, Looked)
    judgement = found.probe.clip
    assert judgement is not None
    assert judgement.best_shot is not None
    assert judgement.is_passed
    assert found.image == clip.frames[judgement.best_shot]
    assert found.probe.evidence.is_fit


async def test_an_opinion_of_a_turn_is_as_the_seed_has_it(
    door: Door, man: Performer, shared: Path, link: Redis
) -> None:
    """A few frames of a turn pass, those of a photo held up do not, and nothing is kept."""
    seed, before = read_seed(shared), await kept(link)
    turn = (await done(man, ["turn_left"])).frames
    chosen = [turn[each] for each in np.linspace(0, len(turn) - 1, 8).round().astype(int)]
    live = await door.call("POST", ACTIVE, {"frames": [text(image) for image in chosen]})
    assert live.status == 200
    assert list(differences(seed, {"$ref": "/ActiveLivenessResult"}, live.body)) == []
    assert (live.body["is_live"], live.body["reasons"]) == (True, [])
    assert (live.body["challenge"], live.body["frames_analyzed"]) == ("head_turn", 8)
    held = [text(image) for image in man.hold_up().frames[:16]]
    still = await door.call("POST", ACTIVE, {"frames": held})
    assert (still.body["is_live"], still.body["score"] < 0.5) == (False, True)
    assert "step_not_seen" in still.body["reasons"]
    assert await kept(link) == before


async def test_an_age_is_as_the_seed_has_it(door: Door, man: Performer, shared: Path) -> None:
    """Of the face in a photo, and of a picture without one."""
    seed = read_seed(shared)
    found = await door.call("POST", AGE, {"image": text(man.photo)})
    assert found.status == 200
    assert list(differences(seed, {"$ref": "/AgeEstimateResult"}, found.body)) == []
    assert found.body["available"]
    assert found.body["face_found"]
    assert found.body["interval"]["label"] == "uncalibrated"
    assert found.body["interval"]["high"] == found.body["age"] + 10
    grey = encode_jpeg(np.full((200, 200, 3), 90, np.uint8), PHOTO_QUALITY)
    blank = await door.call("POST", AGE, {"image": text(grey)})
    assert list(differences(seed, {"$ref": "/AgeEstimateResult"}, blank.body)) == []
    told = [blank.body[name] for name in ("face_found", "age", "age_band", "is_adult")]
    assert told == [False, None, None, None]
