"""The challenge of a session: drawn once for each attempt, and by nobody but the session's own."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import Outcome, Recapture, Verdict
from pipeline.evidence import Feedback
from pipeline.liveness.challenge import DRAWS, HEAD_STEPS, Asked
from serve.domain.liveness.challenge import DRAW_BYTES, LOT_BYTES, RANDOM_BYTES, draw
from serve.domain.progress import begin, judge, release
from serve.domain.session import State, Submission
from serve.errors import Code
from serve.flows.liveness.challenge import ensure_challenge
from tests.helpers.records import NOW_MS, a_customer, a_session
from tests.helpers.service import MINUTE_MS, Service, refusal

OUTCOMES: dict[str, Verdict | Recapture] = {
    "approved": Verdict(Outcome.APPROVED),
    "needs_review": Verdict(Outcome.NEEDS_REVIEW, (Reason.LIVENESS_UNAVAILABLE,)),
    "declined": Verdict(Outcome.DECLINED, (Reason.LIVENESS_FAILED,)),
    "recapture": Recapture((Feedback.FACE_NOT_FOUND,)),
}


async def test_whoever_comes_again_gets_the_same(service: Service) -> None:
    """However often it is asked for, it is drawn once; asking opens the capture."""
    token = await service.ready()
    session, first, _ = await ensure_challenge(service.deps, token)
    assert session.state is State.CAPTURING
    for _ in range(3):
        again = await ensure_challenge(service.deps, token)
        assert again[1] == first
    assert first.steps in DRAWS
    assert HEAD_STEPS.intersection(first.steps)
    assert (await service.record(*await service.named(token))).challenge == first


async def test_many_at_once_get_the_same(service: Service) -> None:
    """Of a crowd that asks at the same moment one draws and all are told."""
    token = await service.ready()
    asked = [ensure_challenge(service.deps, token) for _ in range(12)]
    assert len({challenge.nonce for _, challenge, _ in await asyncio.gather(*asked)}) == 1


async def test_an_unfit_capture_keeps_it_and_an_attempt_uses_it_up(service: Service) -> None:
    """Who is told to take it again has the same to do; who failed has something new to do."""
    token = await service.ready()
    _, first, _ = await ensure_challenge(service.deps, token)
    assert (await service.submitted(token, "nobody")).http_status == 422
    _, second, _ = await ensure_challenge(service.deps, token)
    assert second == first
    answer = await service.submitted(token, "face 60")
    assert json.loads(answer.body)["status"] == "declined"
    _, third, _ = await ensure_challenge(service.deps, token)
    assert third.nonce != first.nonce


async def test_nothing_is_drawn_for_what_takes_no_capture(service: Service) -> None:
    """Over, being judged, expired, unknown: each says which."""
    token = await service.ready()
    async with asyncio.TaskGroup() as tasks, service.faces.held() as arrived:
        judged = tasks.create_task(service.submitted(token, "face 0"))
        await arrived.wait()
        refused = await refusal(ensure_challenge(service.deps, token))
        assert refused == Code.SUBMISSION_IN_PROGRESS
    assert judged.result().http_status == 200
    assert await refusal(ensure_challenge(service.deps, token)) == Code.SESSION_CLOSED
    spent = (await service.opened()).token
    for number in range(3):
        await service.submitted(spent, f"face {60 + number}")
    assert await refusal(ensure_challenge(service.deps, spent)) == Code.ATTEMPTS_EXHAUSTED
    unknown = "st_07" + "A" * 43
    assert await refusal(ensure_challenge(service.deps, unknown)) == Code.NOT_FOUND


async def test_a_session_that_ran_out_has_none(service: Service) -> None:
    """After ten minutes nothing can be captured, so nothing is asked."""
    service.clock.shift_ms = -10 * MINUTE_MS
    token = await service.ready()
    service.clock.shift_ms = 0
    assert await refusal(ensure_challenge(service.deps, token)) == Code.TOKEN_EXPIRED


@given(st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_what_is_drawn_is_what_chance_says(random: bytes) -> None:
    """The first part draws the steps, the next names it, the last is the lot; none tells of
    another.
    """
    drawn = draw(random, NOW_MS)
    assert drawn.steps in DRAWS
    assert bytes.fromhex(drawn.nonce) == random[DRAW_BYTES:-LOT_BYTES]
    assert drawn.asked == Asked(drawn.steps, random[-LOT_BYTES:])
    assert drawn.nonce not in repr(drawn)
    assert drawn.lot not in repr(drawn)
    assert repr(drawn.asked.lot) not in repr(drawn.asked)


@pytest.mark.parametrize("name", OUTCOMES)
def test_only_a_verdict_uses_it_up(name: str) -> None:
    """Whatever the verdict is; an unfit capture, or one that nobody could judge, does not."""
    challenge = draw(bytes(RANDOM_BYTES), NOW_MS)
    session = a_session(state=State.CAPTURING, challenge=challenge)
    held = begin(session, Submission(op_id="op", lease_until_ms=NOW_MS + 1), NOW_MS)
    after = judge(held, a_customer(), OUTCOMES[name], "alt_1", NOW_MS).session
    assert (after.challenge is None) == (name != "recapture")
    assert release(held, NOW_MS).challenge == challenge
