"""Rendered clips of a real photo, real models: who performs passes, what is flat does not."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain

import numpy as np
import pytest

from pipeline.evidence import FaceEvidence, Mesh, Missing, Pixels, Pose, Template
from pipeline.face.steps import FRAME, SELFIE
from pipeline.image.decode import encode_png
from pipeline.liveness.challenge import Asked, Step
from pipeline.liveness.judge import judge, key_frames
from pipeline.liveness.judgement import Doubt, Judgement, Look
from pipeline.liveness.observation import Observation, observe
from pipeline.models.load import LoadedPack
from pipeline.render.head import Head, head_of
from pipeline.render.perform import Clip, perform

pytestmark = pytest.mark.models

CHALLENGES = (
    (Step.TURN_LEFT, Step.BLINK),
    (Step.NOD, Step.TURN_RIGHT),
    (Step.MOUTH_OPEN, Step.NOD),
)
LIGHT = ((0.0, 0.2), (0.8, 1.0), (1.6, 0.1), (2.4, 0.9))


@pytest.fixture(scope="module")
def head(pack: LoadedPack, astronaut: Pixels) -> Head:
    """The head of the portrait."""
    (evidence,) = pack.faces.run([encode_png(astronaut)], FRAME)
    assert isinstance(evidence, FaceEvidence)
    assert isinstance(evidence.mesh, Mesh)
    assert isinstance(evidence.pose, Pose)
    return head_of(astronaut, evidence.mesh, evidence.pose)


def observed(pack: LoadedPack, clip: Clip) -> list[Observation]:
    """Each frame through the models, under the times it was taken at."""
    found = []
    for number, evidence in enumerate(pack.faces.run(clip.frames, FRAME)):
        assert isinstance(evidence, FaceEvidence)
        digest, ms = sha256(clip.frames[number]).digest(), float(clip.captured_ms[number])
        found.append(observe(evidence, number, digest, ms, 7000.0 + ms))
    return found


def judged(
    pack: LoadedPack,
    steps: Sequence[Step],
    frames: Sequence[Observation],
    clip: Clip,
    light: Sequence[tuple[float, float]] = (),
) -> Judgement:
    """The clip judged, its key frames looked at."""
    held = Asked(tuple(steps), b"lot")
    numbers = key_frames(held, frames)
    looks = {}
    for number, evidence in zip(
        numbers, pack.faces.run([clip.frames[each] for each in numbers], SELFIE), strict=True
    ):
        assert isinstance(evidence, FaceEvidence)
        looks[number] = Look(evidence.template, Missing.MODEL_UNAVAILABLE)
    asked = [(7000.0 + 1000.0 * since_s, level) for since_s, level in light]

    def is_same(one: Template, other: Template) -> bool:
        return pack.scale.compare(one, other).is_match

    return judge(held, frames, looks, is_same, asked)


@pytest.mark.parametrize("steps", CHALLENGES)
def test_a_performance_passes_its_challenge_alone(
    pack: LoadedPack, head: Head, steps: tuple[Step, Step]
) -> None:
    """Before the challenge it was made for; before each other one it does not."""
    clip = perform(head, steps, np.random.default_rng(8))
    frames = observed(pack, clip)
    result = judged(pack, steps, frames, clip)
    assert result.doubts == ()
    assert result.best_shot is not None
    assert frames[result.best_shot].feedback
    for other in (*CHALLENGES, steps[::-1]):
        if other != steps:
            assert not judged(pack, other, frames, clip).is_passed


def test_a_flat_face_is_flat(pack: LoadedPack, head: Head) -> None:
    """The same performances by a head that was pressed flat show no step, or no depth."""
    flat = replace(head, points=head.points * np.array([1.0, 1.0, 0.0]))
    for seed, steps in enumerate(CHALLENGES):
        clip = perform(flat, steps, np.random.default_rng(seed))
        doubts = judged(pack, steps, observed(pack, clip), clip).doubts
        assert not {Doubt.HEAD_FLAT, Doubt.STEP_NOT_SEEN}.isdisjoint(doubts)


def test_three_frames_of_a_turn_are_enough(pack: LoadedPack, head: Head) -> None:
    """A caller without a session sends few frames and no times."""
    clip = perform(head, (Step.TURN_RIGHT,), np.random.default_rng(3))
    whole = observed(pack, clip)
    furthest = min(whole, key=lambda each: each.seen.pose.yaw_deg if each.seen else 0.0).number
    few = Clip(tuple(clip.frames[each] for each in (0, furthest, len(whole) - 1)), (0, 1, 2))
    frames = [replace(each, captured_ms=None, received_ms=None) for each in observed(pack, few)]
    assert judged(pack, (Step.HEAD_TURN,), frames, few).is_passed
    assert judged(pack, (Step.TURN_RIGHT,), frames, few).is_passed
    assert not judged(pack, (Step.TURN_LEFT,), frames, few).is_passed


def test_a_face_answers_the_screen(pack: LoadedPack, head: Head) -> None:
    """Lit by the screen that was asked for it passes; by an ordinary one it does not."""
    steps = (Step.TURN_LEFT, Step.MOUTH_OPEN)
    for light, doubts in ((LIGHT, ()), ((), (Doubt.LIGHT_NOT_ANSWERED,))):
        clip = perform(head, steps, np.random.default_rng(5), light=light)
        assert judged(pack, steps, observed(pack, clip), clip, LIGHT).doubts == doubts


def test_a_loop_and_a_copy_are_seen(pack: LoadedPack, head: Head) -> None:
    """A recording that is played twice, byte for byte."""
    steps = (Step.NOD, Step.BLINK)
    clip = perform(head, steps, np.random.default_rng(6))
    count = len(clip.frames)
    times = chain(
        clip.captured_ms, (each + clip.captured_ms[-1] + 111 for each in clip.captured_ms)
    )
    twice = Clip(clip.frames * 2, tuple(times))
    result = judged(pack, steps, observed(pack, twice), twice)
    assert Doubt.FRAMES_REPEATED in result.doubts
    assert result.signals["copies"] == count
    assert result.signals["looped_frames"] > 4
