"""A challenge and its clip over HTTP: what is told, and what is refused before anything counts."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.domain.liveness.limits import FRAME_BYTES_MAX, FRAMES_MAX, FRAMES_MIN
from serve.settings import Server
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    CROWD,
    DESKTOP,
    JOHN,
    KYC,
    MARY,
    NOBODY,
    PHONE,
    Answer,
    Door,
    assert_documented,
    front_door,
    text,
)

CHALLENGE, SUBMIT = f"{KYC}/face/challenge", f"{KYC}/face/submit"
UNKNOWN = "st_07" + "A" * 43


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door with two tenants."""
    async with front_door(link, keyring) as opened:
        yield opened


async def challenge(door: Door, token: str, agent: str = PHONE) -> Answer:
    """What the session of a token asks for."""
    answer = await door.call("POST", CHALLENGE, {"token": token}, key="", User_Agent=agent)
    if answer.status != 200:
        assert_documented(answer, "POST", CHALLENGE)
    return answer


async def submit(
    door: Door, token: str, images: Sequence[bytes], nonce: str, **changes: Any
) -> Answer:
    """A clip of these frames, ten a second, the first of them as `proof`."""
    headers = {"User_Agent": PHONE, **changes.pop("headers", {})}
    sent = [
        {"image": text(image), "captured_ms": 100 * number} for number, image in enumerate(images)
    ]
    body = {"token": token, "proof": text(JOHN), "nonce": nonce, "frames": sent, **changes}
    answer = await door.call("POST", SUBMIT, body, key="", **headers)
    if answer.status >= 400:
        assert_documented(answer, "POST", SUBMIT)
    return answer


def pointers(answer: Answer) -> list[str]:
    """Where the faults of a refusal are."""
    assert (answer.status, answer.code) == (422, "field_invalid"), answer.body
    return [fault["pointer"] for fault in answer.body["errors"]]


async def attempts(door: Door) -> tuple[str, int]:
    """The status of alice's session, and how many of its attempts failed."""
    found = await door.call("GET", f"{KYC}/face/sessions?customer_id=alice")
    (session,) = found.body["data"]
    assert session["liveness_doubts"] == []
    return session["status"], session["attempts"]


async def test_a_phone_is_told_what_to_do(door: Door) -> None:
    """Steps, nonce and limits, the same each time; nothing of who it is or what was measured."""
    token = await door.ready_token()
    told = await challenge(door, token)
    assert told.status == 200
    assert set(told.body) == {"steps", "nonce", "limits", "expires_at"}
    assert len(told.body["steps"]) == 2
    assert told.body["limits"]["frames_max"] == FRAMES_MAX
    assert told.body["limits"]["frame_bytes_max"] == FRAME_BYTES_MAX
    assert told.body["limits"]["body_bytes_max"] == Server().body_bytes_max
    assert (await challenge(door, token)).body == told.body
    assert "alice" not in json.dumps(told.body)


async def test_who_is_told_nothing(door: Door) -> None:
    """A desktop, and whoever has no token."""
    token = await door.ready_token()
    assert (await challenge(door, token, DESKTOP)).code == "mobile_required"
    assert (await challenge(door, UNKNOWN)).status == 404
    nobody = await door.call("POST", CHALLENGE, {}, key="", User_Agent=PHONE)
    assert pointers(nobody) == ["/token"]


@pytest.mark.parametrize("count", [0, 2, FRAMES_MIN - 1, FRAMES_MAX + 1])
async def test_a_clip_has_so_many_frames(door: Door, count: int) -> None:
    """Fewer cannot show two steps, and more are not looked at."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    assert pointers(await submit(door, token, [JOHN] * count, nonce)) == ["/frames"]
    assert await attempts(door) == ("pending", 0)
    assert door.faces.examined == 1  # the enrolment


async def test_nonce_and_frames_come_together(door: Door) -> None:
    """One without the other is neither a selfie nor a clip."""
    token = await door.ready_token()
    alone = {"token": token, "proof": text(JOHN), "nonce": "0" * 32}
    assert pointers(await door.call("POST", SUBMIT, alone, key="", User_Agent=PHONE)) == [""]
    frames = [{"image": text(JOHN), "captured_ms": number} for number in range(8)]
    clip = {"token": token, "proof": text(JOHN), "frames": frames}
    assert pointers(await door.call("POST", SUBMIT, clip, key="", User_Agent=PHONE)) == [""]


@pytest.mark.parametrize("nonce", ["", "0" * 32, "é" * 32, "g" * 128])
async def test_a_clip_of_another_challenge_is_refused(door: Door, nonce: str) -> None:
    """Whether this session's was asked for or not; nothing is looked at, no attempt is made."""
    token = await door.ready_token()
    for _ in range(2):
        refused = await submit(door, token, [JOHN] * 8, nonce)
        assert (refused.status, refused.code) == (409, "challenge_mismatch")
        await challenge(door, token)
    assert await attempts(door) == ("pending", 0)
    assert door.faces.examined == 1


async def test_a_clip_of_another_session_is_refused(door: Door) -> None:
    """Its nonce is no better than a made-up one."""
    other = await door.ready_token()
    nonce = (await challenge(door, other)).body["nonce"]
    token = str((await door.open(event="password_change")).body["token"])
    await challenge(door, token)
    assert (await submit(door, token, [JOHN] * 8, nonce)).code == "challenge_mismatch"


async def test_an_attempt_uses_the_challenge_up(door: Door) -> None:
    """A clip of it comes too late once a selfie was judged."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    assert (await door.submit(token, MARY)).body["status"] == "declined"
    assert (await submit(door, token, [JOHN] * 8, nonce)).code == "challenge_mismatch"


async def test_the_proof_is_one_of_the_frames(door: Door) -> None:
    """Byte for byte: a better picture of somebody else comes from nowhere."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    refused = await submit(door, token, [JOHN] * 8, nonce, proof=text(MARY))
    assert pointers(refused) == ["/proof"]


async def test_a_clip_is_never_judged_later(door: Door) -> None:
    """Who prefers that is told so."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    later = {"Prefer": "respond-async"}
    assert pointers(await submit(door, token, [JOHN] * 8, nonce, headers=later)) == ["/frames"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [(NOBODY, "capture_unfit"), (CROWD, "capture_unfit"), (BROKEN, "image_corrupt")],
)
async def test_a_clip_that_cannot_be_judged_is_no_attempt(
    door: Door, frame: bytes, code: str
) -> None:
    """Nobody, two people, or a damaged frame: take it again. The same bytes get the same."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    frames = [frame] * 17
    first = await submit(door, token, frames, nonce, proof=text(frame))
    assert (first.status, first.code) == (422, code)
    assert first.body["feedback"]
    looked = door.faces.examined
    again = await submit(door, token, frames, nonce, proof=text(frame))
    assert (again.code, again.body["feedback"]) == (code, first.body["feedback"])
    assert door.faces.examined == looked
    assert await attempts(door) == ("pending", 0)
    assert (await challenge(door, token)).body["nonce"] == nonce


@pytest.mark.parametrize("written", ["", "~~~"])
async def test_a_frame_of_no_bytes_is_named(door: Door, written: str) -> None:
    """And one that is not base64."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    frames = [{"image": text(JOHN), "captured_ms": number} for number in range(8)]
    frames[5]["image"] = written
    refused = await submit(door, token, (), nonce, frames=frames)
    assert (refused.status, refused.code) == (422, "proof_invalid")
    assert refused.body["detail"].startswith("/frames/5/image: ")


async def test_a_frame_of_too_many_bytes_is_named(door: Door) -> None:
    """Before any model looks."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    frames = [JOHN] * 7 + [bytes(FRAME_BYTES_MAX + 1)]
    assert pointers(await submit(door, token, frames, nonce)) == ["/frames/7/image"]
    assert door.faces.examined == 1


@pytest.mark.parametrize("captured_ms", [-1, "0", None, 2**53, 1e999])
async def test_times_are_plain_numbers(door: Door, captured_ms: object) -> None:
    """Of milliseconds, not below 0 and not beyond what JSON counts."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    frames: list[dict[str, object]] = [
        {"image": text(JOHN), "captured_ms": number} for number in range(8)
    ]
    frames[3]["captured_ms"] = captured_ms
    refused = await submit(door, token, (), nonce, frames=frames)
    assert refused.code in {"field_invalid", "body_invalid"}


async def test_a_full_queue_makes_no_attempt(door: Door) -> None:
    """The models have no room for the frames: the same clip may come again."""
    token = await door.ready_token()
    nonce = (await challenge(door, token)).body["nonce"]
    door.faces.crowded.add(door.tenant.tenant.id)
    refused = await submit(door, token, [JOHN] * 8, nonce)
    assert (refused.status, refused.code) == (503, "overloaded")
    door.faces.crowded.clear()
    assert (await submit(door, token, [JOHN] * 8, nonce)).status in {200, 422}
