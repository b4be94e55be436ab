"""A rendered man on a stream, with the real models and the default policies."""

import asyncio
from time import monotonic

import numpy as np
import pytest
from redis.asyncio import Redis

from pipeline.evidence import Pixels
from pipeline.image.decode import encode_jpeg
from pipeline.liveness.challenge import Step
from pipeline.models.load import LoadedPack
from pipeline.render.perform import Clip, perform
from serve.demo.performer import Performer, performer_of
from serve.store.vault.keyring import Keyring
from tests.serve.liveness.real_door import real_door
from tests.serve.stream.stage import Talk, talking

pytestmark = pytest.mark.models

PHOTO_QUALITY, FRAMES_PER_S, SEED = 92, 6.0, 3


@pytest.fixture(scope="module")
def man(pack: LoadedPack, astronaut: Pixels) -> Performer:
    """A face of which there is one photo, and a head made of it."""
    return performer_of(pack.faces, encode_jpeg(astronaut, PHOTO_QUALITY))


async def show(talk: Talk, clip: Clip) -> None:
    """What a camera does: each frame at its time, so the clip takes as long as it shows."""
    start_s = monotonic()
    for image, at_ms in zip(clip.frames, clip.captured_ms, strict=True):
        await asyncio.sleep(start_s + at_ms / 1_000 - monotonic())
        while not talk.credits:
            await talk.hear()
        await talk.frame(image, at_ms)


async def test_who_does_what_is_asked_is_approved(
    link: Redis, keyring: Keyring, pack: LoadedPack, man: Performer
) -> None:
    """By the default policy: the steps are seen as they are done, and a frame of the very stream is
    matched.
    """
    async with real_door(link, keyring, pack) as door:
        assert (await door.enrol(man.photo)).status == 201
        token = str((await door.open()).body["token"])
        async with talking(door) as talk:
            hello = await talk.start(token)
            steps = [Step(each) for each in hello["steps"]]
            chance = np.random.default_rng(SEED)
            clip = await asyncio.to_thread(perform, man.head, steps, chance, FRAMES_PER_S)
            await show(talk, clip)
            answer = await talk.submit()
        result = answer["result"]
        assert (answer["status"], result["status"], result["reasons"]) == (200, "approved", [])
        done = [message["done"] for message in talk.heard if message["type"] == "hint"]
        assert done == sorted(done)
        assert done[0] == 0
        assert 1 in done


async def test_a_photo_that_is_held_up_is_declined(
    link: Redis, keyring: Keyring, pack: LoadedPack, man: Performer
) -> None:
    """It matches, and does nothing of what is asked."""
    async with real_door(link, keyring, pack) as door:
        assert (await door.enrol(man.photo)).status == 201
        token = str((await door.open()).body["token"])
        async with talking(door) as talk:
            await talk.start(token)
            await show(talk, man.hold_up())
            answer = await talk.submit()
        codes = [reason["code"] for reason in answer["result"]["reasons"]]
        assert (answer["result"]["status"], codes) == ("declined", ["liveness_failed"])
