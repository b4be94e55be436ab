"""What the models say of a picture, or of a clip: its best shot, and whether it passed.

Every frame of a clip is examined for where the face is and how it moves; the dearer models look at
its few key frames alone. What is compared with the reference is a frame of the very clip that was
judged.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.decision.verdict import Recapture
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Feedback, Template
from pipeline.face.steps import FRAME, SELFIE, Plan
from pipeline.liveness.challenge import Asked
from pipeline.liveness.judge import judge, key_frames
from pipeline.liveness.judgement import Doubt, Judgement, Look
from pipeline.liveness.observation import Observation, observe
from pipeline.liveness.signals import Signal
from serve.deps import Deps
from serve.domain.liveness.challenge import Challenge
from serve.flows.liveness.clip import Capture, ClipFrame, FrameBurst, StreamClip
from serve.flows.verifications.compare import Probe

EXAMINED_AT_ONCE_MAX = 8  # frames of one clip with the models: enough to share a batch
DROPPED_SHARE_MAX = 0.35  # a phone that sends in bursts loses a third; more is lost by our models
GAP_S_MAX = 0.45  # there and back takes a head half a second: a longer gap may hide an action
NOT_OF_GAPS = frozenset(
    {
        Doubt.IDENTITY_CHANGED,
        Doubt.FRAMES_REPEATED,
        Doubt.LIGHT_NOT_ANSWERED,
        Doubt.ATTACK_DETECTED,
    }
)
"""What no missing frame explains."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What is to be compared, and the encoded picture it is of."""

    probe: Probe
    image: bytes = field(repr=False)


async def look_at(
    deps: Deps, tenant_id: str, capture: Capture, challenge: Challenge | None
) -> Looked | Failure | Recapture:
    """Ask the models of a picture or a clip, and of a clip whether it answers `challenge`, which
    only a picture may be without.

    A Failure is of a picture that cannot be read, a Recapture of a clip that shows no one face.
    Raises `overloaded` or `service_unavailable`.
    """
    if isinstance(capture, bytes):
        evidence = await deps.faces.examine(capture, tenant_id=tenant_id)
        return evidence if isinstance(evidence, Failure) else Looked(Probe(evidence), capture)
    assert challenge is not None
    if isinstance(capture, StreamClip):
        return await _judged(deps, tenant_id, capture, challenge.asked)
    observations = await observed(deps, tenant_id, capture.frames)
    if isinstance(observations, Failure):
        return observations
    clip = await asyncio.to_thread(_kept, capture, observations, challenge.asked)
    return await _judged(deps, tenant_id, clip, challenge.asked)


async def observed(
    deps: Deps, tenant_id: str, frames: Sequence[ClipFrame]
) -> tuple[Observation, ...] | Failure:
    """What is in each frame, in order, or why the first that cannot be read cannot.

    Raises `overloaded` or `service_unavailable`.
    """
    images = [frame.image for frame in frames]
    found: list[Observation] = []
    for number, evidence in enumerate(await examined(deps, tenant_id, images, FRAME)):
        if isinstance(evidence, Failure):
            return Failure(evidence.code, f"frame {number}: {evidence.detail}")
        frame = frames[number]
        digest = hashlib.sha256(frame.image).digest()
        found.append(observe(evidence, number, digest, frame.captured_ms))
    return tuple(found)


async def looks_of(
    deps: Deps, tenant_id: str, kept: Mapping[int, bytes]
) -> Mapping[int, FaceEvidence] | Failure:
    """What the dearer models say of key frames, by number. Raises as `observed` does."""
    found = await examined(deps, tenant_id, list(kept.values()), SELFIE)
    looks: dict[int, FaceEvidence] = {}
    for number, evidence in zip(kept, found, strict=True):
        if isinstance(evidence, Failure):
            return evidence
        looks[number] = evidence
    return looks


async def judged(
    deps: Deps,
    asked: Asked,
    observations: Sequence[Observation],
    looks: Mapping[int, FaceEvidence],
    light: Sequence[tuple[float, float]] = (),
) -> Judgement:
    """What the rules say of a clip, in a thread. `light` is when how much was asked of the page."""
    seen = {
        number: Look(evidence.template, evidence.passive_liveness)
        for number, evidence in looks.items()
    }

    def is_same(one: Template, other: Template) -> bool:
        return one.model_id == other.model_id and deps.scale.compare(one, other).is_match

    return await asyncio.to_thread(judge, asked, observations, seen, is_same, light)


async def examined(
    deps: Deps, tenant_id: str, images: Sequence[bytes], plan: Plan
) -> list[FaceEvidence | Failure]:
    """Evidence or failure for each image, in order; the first refusal ends the others."""
    turns = asyncio.Semaphore(EXAMINED_AT_ONCE_MAX)

    async def examine(image: bytes) -> FaceEvidence | Failure:
        async with turns:
            return await deps.faces.examine(image, tenant_id=tenant_id, plan=plan)

    tasks = [asyncio.create_task(examine(image)) for image in images]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _judged(
    deps: Deps, tenant_id: str, clip: StreamClip, asked: Asked
) -> Looked | Failure | Recapture:
    looks = await looks_of(deps, tenant_id, clip.kept)
    if isinstance(looks, Failure):
        return looks
    judgement = await judged(deps, asked, clip.observations, looks, clip.light)
    best = judgement.best_shot
    evidence = None if best is None else looks.get(best)
    if not judgement.is_judged or best is None or evidence is None:
        hints = tuple(hint for hint in judgement.feedback if hint is not Feedback.OK)
        return Recapture(hints or (Feedback.OTHER,))
    if not judgement.is_passed and _is_torn(clip, judgement):
        return Recapture((Feedback.OTHER,))  # nobody fails for frames that nobody looked at
    evidence = replace(evidence, passive_liveness=judgement.passive_liveness)
    return Looked(Probe(evidence, judgement), clip.kept[best])


def _is_torn(clip: StreamClip, judgement: Judgement) -> bool:
    """Whether frames were dropped, enough of them or close enough together to explain all doubts.

    Who makes us drop some gains captures by it, which are counted, and no attempt more.
    """
    gap_s = judgement.signals.get(Signal.CLOCK_GAP_S, 0.0)
    is_thin = clip.dropped_share > DROPPED_SHARE_MAX or (clip.dropped > 0 and gap_s > GAP_S_MAX)
    return is_thin and NOT_OF_GAPS.isdisjoint(judgement.doubts)


def _kept(burst: FrameBurst, observations: tuple[Observation, ...], asked: Asked) -> StreamClip:
    keys = key_frames(asked, observations)
    kept = {number: burst.frames[number].image for number in keys}
    return StreamClip(burst.nonce, observations, kept)
