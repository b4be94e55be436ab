"""The scenes before the camera: a photo that is held up, the man himself, a selfie without life."""

import asyncio
from collections.abc import Callable
from typing import Any

from pipeline.render.perform import Clip
from serve.demo.caller import Answer
from serve.demo.cast import Cast, open_session, submit_selfie
from serve.demo.notebook import Notebook
from serve.outbound.phone import Ended, Phone, Refused, Start, opened

TAKES_MAX = 8  # with those of the other scene fewer than a session's 20 captures
PAUSE_S = 1.0  # before the second take, and longer before each that follows
PHOTO = "a photo of him, held before the camera, is declined"

Act = Callable[[Phone], Clip]


async def hold_up_a_photo(cast: Cast, notes: Notebook, token: str, retries: int) -> None:
    """The right face on paper: it matches, and does nothing of what is asked."""
    answer = await _stream(cast, notes, token, lambda _phone: cast.man.hold_up())
    notes.expect(PHOTO, answer.at("status"), "declined")
    notes.expect("because it does not live", answer.at("reasons.0.code"), "liveness_failed")
    notes.expect(f"retries left: {retries}", answer.at("data.retries_remaining"), retries)


async def do_the_challenge(cast: Cast, notes: Notebook, token: str) -> Answer:
    """The man himself; the answer, which is an approval."""

    def perform(phone: Phone) -> Clip:
        notes.note(f"he is asked to: {', then '.join(phone.steps)}")
        return cast.man.perform(phone.steps)

    answer = await _stream(cast, notes, token, perform)
    notes.expect("he does what he is asked to, and is approved", answer.at("status"), "approved")
    notes.expect("nothing was left unchecked", answer.at("reasons"), [])
    notes.expect("his account is not blocked", answer.at("data.block"), wanted=False)
    seen = await cast.desktop.call("GET", f"/api/v1/kyc/face/verify/{token}")
    notes.expect("the desktop reads the same", seen.document, answer.document)
    return answer


async def only_a_selfie(cast: Cast, notes: Notebook) -> None:
    """One picture matches, and says nothing of a live person: a reviewer decides."""
    notes.step("A selfie alone shows his face, and not that he is there")
    opened_one = await open_session(cast, "login")
    answer = await submit_selfie(cast.phone, str(opened_one.at("token")), cast.selfies.same_man)
    codes = [reason.get("code") for reason in answer.at("reasons") or ()]
    if answer.at("status") == "approved":
        is_unchecked = "liveness_not_checked" in codes
        enough = "this tenant's policy" if is_unchecked else "passive liveness, installed here,"
        notes.note(f"{enough} takes one picture for enough")
        return
    notes.expect("it is not approved", answer.at("status"), "needs_review")
    notes.expect("for want of liveness", codes, ["liveness_unavailable"])
    path = f"/api/v1/kyc/face/sessions/{answer.at('resource_id')}/review"
    decided = await cast.tenant.call("POST", path, {"decision": "approved"})
    notes.expect("a reviewer may approve it", decided.at("status"), "approved")


async def _stream(cast: Cast, notes: Notebook, token: str, act: Act) -> Answer:
    """What a phone was answered: it begins again while there is no room for it, or while frames
    were dropped that could have shown more.
    """
    answer = await _take(cast, token, act)
    for take in range(1, TAKES_MAX):
        if answer.status not in {422, 503}:
            break
        notes.note(f"he is told to do it once more: {answer.at('code')}")
        await asyncio.sleep(take * PAUSE_S)
        answer = await _take(cast, token, act)
    return answer


async def _take(cast: Cast, token: str, act: Act) -> Answer:
    """One stream of a phone: what it was answered."""
    start = Start(cast.phone.base_url, token, headers=cast.phone.headers)
    try:
        async with opened(cast.phone.http, start) as phone:
            clip = await asyncio.to_thread(act, phone)
            await _film(phone, clip)
            return _answer(await phone.submit())
    except Refused as refused:
        return _answer(refused.ended)
    except (ConnectionError, TimeoutError) as error:
        return Answer(0, {"code": type(error).__name__})


async def _film(phone: Phone, clip: Clip) -> None:
    """Send every frame at its time, as a camera does: of a burst some would be dropped."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    for frame, captured_ms in zip(clip.frames, clip.captured_ms, strict=True):
        await asyncio.sleep(begun_s + captured_ms / 1_000 - loop.time())
        await phone.send(frame, captured_ms)


def _answer(ended: Ended) -> Answer:
    result: Any = ended.message.get("result", ended.message)
    return Answer(ended.status, result)
