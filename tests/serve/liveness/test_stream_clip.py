"""A clip that was watched before it is handed in: what is matched, what decides, what is told."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pipeline.decision.policy import LivenessPolicy
from pipeline.decision.verdict import Challenge
from pipeline.evidence import Missing, PassiveLiveness
from pipeline.face.steps import SELFIE
from pipeline.liveness.judge import key_frames
from pipeline.liveness.judgement import Doubt, Judgement
from pipeline.liveness.observation import Observation
from serve.domain.liveness.challenge import Challenge as Drawn
from serve.domain.progress import SubmitAnswer
from serve.domain.session import CAPTURES_MAX, State
from serve.domain.tenancy.tenant import TenantPatch
from serve.domain.verifications.verification import LivenessMethod
from serve.errors import Code
from serve.flows.liveness.challenge import ensure_challenge
from serve.flows.liveness.clip import StreamClip
from serve.flows.submit import submit
from serve.flows.tenants import change_settings
from serve.flows.verifications.compare import Probe, challenge_of, scores_of
from serve.observe import metrics
from tests.helpers.builders import face_evidence
from tests.helpers.service import Service, refusal
from tests.pipeline.liveness.heads import clip, poses

ATTACK, LIVE = PassiveLiveness(0.2, 0.5), PassiveLiveness(0.9, 0.5)
CHALLENGES = {
    "none": (None, Challenge.NOT_TAKEN),
    "passed": (Judgement((), 0.9, {}, 0), Challenge.PASSED),
    "passed and alive": (Judgement((), 0.9, {}, 0, passive_liveness=LIVE), Challenge.PASSED),
    "flat": (Judgement((Doubt.HEAD_FLAT,), 0.1, {}, 0), Challenge.FAILED),
    "an attack alone": (
        Judgement((Doubt.ATTACK_DETECTED,), 0.1, {}, 0, passive_liveness=ATTACK),
        Challenge.PASSED,
    ),
    "an attack that nobody tells": (
        Judgement((Doubt.ATTACK_DETECTED,), 0.1, {}, 0),
        Challenge.FAILED,
    ),
    "an attack and flat": (
        Judgement((Doubt.HEAD_FLAT, Doubt.ATTACK_DETECTED), 0.1, {}, 0, passive_liveness=ATTACK),
        Challenge.FAILED,
    ),
    "not judged": (Judgement((), 0.0, {}, None, is_judged=False), Challenge.FAILED),
}


async def asked(service: Service) -> tuple[str, Drawn]:
    """A session under the default policy: its token, and its challenge."""
    strict = TenantPatch(liveness_policy=LivenessPolicy.REQUIRED)
    await change_settings(service.deps, service.tenant.id, strict)
    token = await service.ready()
    _, drawn, _ = await ensure_challenge(service.deps, token)
    return token, drawn


def watched(drawn: Drawn, frames: Sequence[Observation], angle: float = 0.0) -> StreamClip:
    """A stream of which the key frames were kept; all show the face at this angle, or nearly."""
    kept = {
        each: f"face {angle + each / 1_000}".encode() for each in key_frames(drawn.asked, frames)
    }
    return StreamClip(drawn.nonce, tuple(frames), kept)


def said(answer: SubmitAnswer) -> tuple[str, list[str]]:
    """Status and reasons of a verdict."""
    body = json.loads(answer.body)
    assert answer.http_status == 200, body
    return body["status"], [reason["code"] for reason in body["reasons"]]


def doubted(doubt: Doubt) -> float:
    """How often clips raised it."""
    name = "limen_liveness_doubts_total"
    return metrics.REGISTRY.get_sample_value(name, {"reason": doubt}) or 0.0


async def test_a_clip_that_passed_is_approved(service: Service) -> None:
    """Without a reviewer under the default policy; only kept frames are looked at, once."""
    token, drawn = await asked(service)
    stream = watched(drawn, clip(poses(drawn.steps)))
    looked = len(service.faces.asked)
    answer = await submit(service.deps, token, stream)
    assert said(answer) == ("approved", [])
    assert set(service.faces.asked[looked:]) == {image.decode() for image in stream.kept.values()}
    assert set(service.faces.plans[looked:]) == {SELFIE}
    session = await service.only_session()
    assert session.liveness is not None
    assert (session.liveness.is_live, session.liveness.threshold) == (True, 0.5)
    assert session.liveness.method is LivenessMethod.MOTION_CHALLENGE
    assert (session.liveness_doubts, session.challenge) == ((), None)


async def test_the_same_clip_is_one_submission(service: Service) -> None:
    """However often it is handed in there is one attempt, one look and one answer."""
    token, drawn = await asked(service)
    stream = watched(drawn, clip(poses(drawn.steps[:1])))
    first = await submit(service.deps, token, stream)
    looked = len(service.faces.asked)
    assert await submit(service.deps, token, stream) == first
    assert len(service.faces.asked) == looked
    assert (await service.only_session()).failed_attempts == 1


async def test_a_clip_that_failed_is_declined(service: Service) -> None:
    """The tenant is told why; the person that it failed, and has another challenge next."""
    token, drawn = await asked(service)
    before = doubted(Doubt.STEP_NOT_SEEN)
    answer = await submit(service.deps, token, watched(drawn, clip(poses(drawn.steps[:1]))))
    assert said(answer) == ("declined", ["liveness_failed"])
    assert not any(doubt in answer.body.decode() for doubt in Doubt)
    session = await service.only_session()
    assert Doubt.STEP_NOT_SEEN in session.liveness_doubts
    assert session.liveness is not None
    assert not session.liveness.is_live
    assert doubted(Doubt.STEP_NOT_SEEN) == before + 1
    late = watched(drawn, clip(poses(drawn.steps)))
    assert await refusal(submit(service.deps, token, late)) == Code.CHALLENGE_MISMATCH


async def test_a_stranger_who_passes_is_declined(service: Service) -> None:
    """Whoever lives before the camera is compared with the customer."""
    token, drawn = await asked(service)
    stream = watched(drawn, clip(poses(drawn.steps)), angle=60.0)
    assert said(await submit(service.deps, token, stream)) == ("declined", ["face_mismatch"])


async def test_two_people_by_turns_are_declined(service: Service) -> None:
    """One who lives and one who matches are not one person."""
    token, drawn = await asked(service)
    stream = watched(drawn, clip(poses(drawn.steps)))
    other = dict.fromkeys(list(stream.kept)[1:], b"face 60")
    spliced = replace(stream, kept={**stream.kept, **other})
    status, reasons = said(await submit(service.deps, token, spliced))
    assert status == "declined"
    assert "liveness_failed" in reasons
    assert Doubt.IDENTITY_CHANGED in (await service.only_session()).liveness_doubts


async def test_nobody_fails_for_frames_that_nobody_looked_at(service: Service) -> None:
    """Of a clip that failed while most of it was dropped no attempt is made; one that passed all
    the same has passed.
    """
    token, drawn = await asked(service)
    shown = clip(poses(drawn.steps))
    few = replace(watched(drawn, shown[:10]), dropped=6)
    assert (await submit(service.deps, token, few)).http_status == 422
    assert (await service.only_session()).failed_attempts == 0
    by_bursts = replace(watched(drawn, shown[:12]), dropped=6)
    assert said(await submit(service.deps, token, by_bursts))[0] == "declined"
    token, drawn = await asked(service)
    shown = clip(poses(drawn.steps))
    whole = replace(watched(drawn, shown), dropped=10 * len(shown))
    assert said(await submit(service.deps, token, whole)) == ("approved", [])


async def test_nobody_fails_for_an_action_in_a_gap_of_ours(service: Service) -> None:
    """Where some were dropped and half a second is missing, the clip is taken again; where none
    were the gap is the phone's, and the attempt counts.
    """
    token, drawn = await asked(service)
    shown = clip(poses(drawn.steps))
    torn = watched(drawn, [*shown[:12], *shown[18:20]])
    assert (await submit(service.deps, token, replace(torn, dropped=1))).http_status == 422
    assert (await service.only_session()).failed_attempts == 0
    again = replace(torn, observations=torn.observations[:-1])
    assert said(await submit(service.deps, token, again))[0] == "declined"


async def test_no_gap_explains_somebody_else(service: Service) -> None:
    """A clip that is doubted for more than what may be missing from it is an attempt, however much
    of it was dropped.
    """
    token, drawn = await asked(service)
    stream = watched(drawn, clip(poses(drawn.steps)))
    other = dict.fromkeys(list(stream.kept)[1:], b"face 60")
    spliced = replace(stream, kept={**stream.kept, **other}, dropped=1_000)
    assert said(await submit(service.deps, token, spliced))[0] == "declined"


async def test_captures_that_were_torn_are_bounded(service: Service) -> None:
    """The twentieth ends the session, whoever drops the frames."""
    token, drawn = await asked(service)
    shown = clip(poses(drawn.steps))
    for number in range(CAPTURES_MAX):
        torn = replace(watched(drawn, shown[: 10 + number]), dropped=100)
        assert (await submit(service.deps, token, torn)).http_status == 422
    session = await service.only_session()
    assert (session.captures, session.state) == (CAPTURES_MAX, State.DECLINED)


async def test_a_clip_of_nobody_is_no_attempt(service: Service) -> None:
    """It may be taken again, of the same challenge."""
    token, drawn = await asked(service)
    shown = clip(poses(drawn.steps))
    nobody = [replace(each, seen=None, faces=0, digest=b"blank" + each.digest) for each in shown]
    answer = await submit(service.deps, token, watched(drawn, nobody))
    assert answer.http_status == 422
    assert json.loads(answer.body)["feedback"] == ["face_not_found"]
    assert (await service.only_session()).failed_attempts == 0
    again = await submit(service.deps, token, watched(drawn, shown))
    assert said(again) == ("approved", [])


@pytest.mark.parametrize("name", CHALLENGES)
def test_how_a_challenge_ended(name: str) -> None:
    """Whatever speaks against a clip fails it, but an attack that the models tell of themselves:
    that is a reason of its own.
    """
    judgement, wanted = CHALLENGES[name]
    assert challenge_of(judgement) is wanted


def test_the_score_is_that_of_the_clip() -> None:
    """With its own line, whatever attack detection said of it alone."""
    evidence = face_evidence(passive_liveness=LIVE)
    found = scores_of(Missing.NO_FACE, Probe(evidence, Judgement((Doubt.HEAD_FLAT,), 0.2, {}, 0)))
    assert found.liveness is not None
    assert (found.liveness.score, found.liveness.threshold) == (0.2, 0.5)
    assert (found.liveness.is_live, found.doubts) == (False, (Doubt.HEAD_FLAT,))
    alone = scores_of(Missing.NO_FACE, Probe(evidence))
    assert alone.liveness is not None
    assert (alone.liveness.score, alone.liveness.method) == (0.9, LivenessMethod.PASSIVE)
