"""Opinions over HTTP on clips and faces that belong to no session: who may ask, and with what."""

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from pipeline.evidence import Age, Missing
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import DEFAULT_SCOPES, Scope
from serve.flows.tenants import create_key
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    CROWD,
    JOHN,
    NOBODY,
    Answer,
    Door,
    assert_documented,
    front_door,
    text,
)
from tests.helpers.images import jpeg, picture

ACTIVE, AGE = "/api/v1/active-liveness", "/api/v1/age-estimate"
WIDE, TALL = jpeg(picture(96, 64)), jpeg(picture(64, 96))


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door with two tenants."""
    async with front_door(link, keyring) as opened:
        yield opened


async def opinion(door: Door, images: Sequence[bytes], **changes: object) -> Answer:
    """What is said of these frames."""
    body = {"frames": [text(image) for image in images], **changes}
    answer = await door.call("POST", ACTIVE, body)
    if answer.status != 200:
        assert_documented(answer, "POST", ACTIVE)
    return answer


async def age_of(door: Door, image: bytes) -> Answer:
    """What is said of an age."""
    answer = await door.call("POST", AGE, {"image": text(image)})
    if answer.status != 200:
        assert_documented(answer, "POST", AGE)
    return answer


def pointer(answer: Answer) -> str:
    """Where the one fault of a refusal is."""
    assert (answer.status, answer.code) == (422, "field_invalid"), answer.body
    (fault,) = answer.body["errors"]
    return str(fault["pointer"])


@pytest.mark.parametrize("count", [0, 2, 17])
async def test_three_to_sixteen_frames_are_taken(door: Door, count: int) -> None:
    """Fewer or more are refused, and nothing of them is looked at."""
    assert pointer(await opinion(door, [JOHN] * count)) == "/frames"
    assert door.faces.examined == 0


async def test_what_is_asked_for_is_a_step(door: Door) -> None:
    """Any that there is, a turn unless it is said; another word is refused."""
    assert (await opinion(door, [JOHN] * 3)).body["challenge"] == "head_turn"
    assert (await opinion(door, [JOHN] * 3, challenge="blink")).body["challenge"] == "blink"
    assert pointer(await opinion(door, [JOHN] * 3, challenge="handstand")) == "/challenge"


async def test_frames_have_one_size(door: Door) -> None:
    """The first that differs is named."""
    assert pointer(await opinion(door, [WIDE, WIDE, TALL])) == "/frames/2"


@pytest.mark.parametrize("frame", [NOBODY, CROWD])
async def test_without_one_face_alone_nobody_is_live(door: Door, frame: bytes) -> None:
    """It is an answer and no refusal: not live, a score of nothing, and why."""
    answer = await opinion(door, [frame] * 3)
    assert answer.status == 200
    assert (answer.body["is_live"], answer.body["score"]) == (False, 0.0)
    assert answer.body["reasons"] == ["face_lost"]
    assert answer.body["frames_analyzed"] == 3


async def test_a_frame_that_cannot_be_read_is_named(door: Door) -> None:
    """Damaged, empty or no base64."""
    broken = await opinion(door, [JOHN, BROKEN, JOHN])
    assert (broken.status, broken.code) == (422, "image_corrupt")
    assert broken.body["detail"].startswith("frame 1: ")
    for written in ("", "~"):
        body = {"frames": [text(JOHN), text(JOHN), written]}
        refused = await door.call("POST", ACTIVE, body)
        assert (refused.status, refused.code) == (422, "proof_invalid")
        assert refused.body["detail"].startswith("/frames/2: ")


async def test_an_age_is_told_with_its_interval(door: Door) -> None:
    """In completed years, ten to either side, and adult only where all of it is."""
    told = await age_of(door, JOHN)
    assert told.body == {
        "available": True,
        "face_found": True,
        "age": 31,
        "age_band": "25_39",
        "is_adult": True,
        "interval": {"low": 21, "high": 41, "label": "uncalibrated"},
        "method": "age_distribution_mean",
    }
    door.faces.age = Age(19.0, 15.0, 24.0, 0.8)
    assert (await age_of(door, JOHN)).body["is_adult"] is None


async def test_without_a_model_there_is_no_age(door: Door) -> None:
    """It says so; a number is never made up."""
    door.faces.age = Missing.MODEL_UNAVAILABLE
    told = (await age_of(door, JOHN)).body
    assert (told["available"], told["face_found"]) == (False, True)
    assert {told[name] for name in ("age", "age_band", "is_adult", "interval")} == {None}


async def test_without_a_face_there_is_no_age(door: Door) -> None:
    """Nor of a picture that nobody can read."""
    told = (await age_of(door, NOBODY)).body
    assert (told["available"], told["face_found"], told["age"]) == (True, False, None)
    assert (await age_of(door, BROKEN)).code == "image_corrupt"


@pytest.mark.parametrize(
    ("path", "body"), [(ACTIVE, {"frames": [text(JOHN)] * 3}), (AGE, {"image": text(JOHN)})]
)
async def test_it_needs_a_scope(door: Door, path: str, body: dict[str, object]) -> None:
    """The usual keys have it; who lacks it, or has no key, learns nothing."""
    assert Scope.LIVENESS in DEFAULT_SCOPES
    others = tuple(scope for scope in Scope if scope is not Scope.LIVENESS)
    _, key = await create_key(door.deps, door.tenant.tenant.id, Mode.TEST, others)
    refused = await door.call("POST", path, body, key=key)
    assert (refused.status, refused.code) == (403, "scope_missing")
    assert (await door.call("POST", path, body, key="")).status == 401
    assert door.faces.examined == 0


async def test_a_full_queue_is_told(door: Door) -> None:
    """Before the frames are read."""
    door.faces.crowded.add(door.tenant.tenant.id)
    assert (await opinion(door, [JOHN] * 3)).code == "overloaded"
    assert (await age_of(door, JOHN)).code == "overloaded"
