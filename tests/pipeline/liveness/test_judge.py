"""The judgement: every doubt has a clip that raises it, and it fails closed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evidence import Feedback, Missing, PassiveLiveness, Pose
from pipeline.liveness.bars import DEFAULT_BARS, Scale
from pipeline.liveness.challenge import DRAWS, Step
from pipeline.liveness.judge import judge
from pipeline.liveness.judgement import SCORE_MIN, Doubt, Judgement, Look
from pipeline.liveness.observation import Observation
from pipeline.liveness.signals import Signal
from tests.pipeline.liveness.heads import (
    PERSON,
    STRANGER,
    Held,
    alike,
    asked,
    clip,
    frame,
    head,
    looks,
    picture,
    poses,
    renumbered,
    scaled,
)

STEPS = (Step.TURN_LEFT, Step.BLINK)
ASKED = asked(STEPS)
Frames = list[Observation]


def judged(frames: Sequence[Observation], steps: Sequence[Step] = STEPS) -> Judgement:
    return judge(asked(steps), frames, looks(steps, frames), alike)


@pytest.mark.parametrize("steps", DRAWS)
def test_who_does_what_is_asked_passes(steps: tuple[Step, Step]) -> None:
    """No doubt, a score near its top, a best shot, and every signal known by name and finite."""
    result = judged(clip(poses(steps)), steps)
    assert result.is_passed
    assert result.score > 0.8
    assert result.best_shot is not None
    assert set(result.signals) <= set(Signal)
    assert all(map(math.isfinite, result.signals.values()))


@pytest.mark.parametrize("steps", DRAWS)
def test_a_tilted_picture_is_flat(steps: tuple[Step, Step]) -> None:
    """A picture that reads as turning, with live eyes and mouth, is found by its depth alone."""
    assert judged(clip(poses(steps), drawn=picture), steps).doubts[0] is Doubt.HEAD_FLAT


def test_of_two_turns_one_flat_is_enough() -> None:
    """A live head does the first turn and a picture the second: the weakest swing decides."""
    steps = (Step.TURN_LEFT, Step.TURN_RIGHT)
    live, flat = clip(poses(steps)), clip(poses(steps), drawn=picture)
    assert Doubt.HEAD_FLAT in judged([*live[:24], *flat[24:]], steps).doubts


def test_a_recording_of_everything_passes_for_its_beginning_alone() -> None:
    """All five steps twice over, each as small as counts, have every draw in their order."""
    small = (
        Held(yaw=17.0), Held(yaw=-17.0), Held(pitch=-11.0), Held(gape=0.5), Held(shut=1.0),
    )  # fmt: skip
    shares = (0.5, *[1.0] * 4, 0.5, *[0.0] * 3)
    acts = [scaled(held, share) for held in small for share in shares]
    frames = clip([*[Held()] * 10, *acts, *acts])
    passed = [draw for draw in DRAWS if judged(frames, draw).is_passed]
    assert passed == [(Step.TURN_LEFT, Step.TURN_RIGHT)]


def _few(frames: Frames) -> Frames:
    return renumbered(frames[8:14])


def _lost(frames: Frames) -> Frames:
    gone = range(20, 38)
    return [frame(each.number, None, 0.1 * each.number) if each.number in gone else each
            for each in frames]  # fmt: skip


def _cut_short(frames: Frames) -> Frames:
    return frames[:24]


def _opened_mouth(_frames: Frames) -> Frames:
    return clip(poses((Step.MOUTH_OPEN, *STEPS)))


def _jump(frames: Frames) -> Frames:
    """The face is three eye distances further to the right from one frame to the next."""
    return [each if each.number < 22 or each.seen is None else _moved(each, 240.0)
            for each in frames]  # fmt: skip


def _moved(each: Observation, right_px: float) -> Observation:
    assert each.seen is not None
    points = each.seen.points + np.array([right_px, 0.0, 0.0], np.float32)
    return replace(each, seen=replace(each.seen, points=points))


def _larger(frames: Frames) -> Frames:
    """From a frame to the next all pictures have twice the size."""
    return [each if each.number < 22 or each.seen is None else replace(each, seen=replace(
        each.seen, points=2.0 * each.seen.points, eye_distance_px=2.0 * each.seen.eye_distance_px,
    )) for each in frames]  # fmt: skip


def _cut_away(frames: Frames) -> Frames:
    """Another place from one frame to the next, the face where it was."""
    return [each if each.number < 22 else replace(each, scene=np.uint8(60) + each.scene)
            for each in frames]  # fmt: skip


def _slides(_frames: Frames) -> Frames:
    """Photos of a head ahead, turned, ahead and blinking, one after the other."""
    acts = (Held(yaw=24.0), Held(), Held(shut=1.0), Held())
    return clip([*[Held()] * 10, *[each for each in acts for _ in range(6)]])


def _shuffled(frames: Frames) -> Frames:
    order = np.random.default_rng(5).permutation(len(frames))
    return renumbered([frames[each] for each in order])


def _copied(frames: Frames) -> Frames:
    return [*frames[:-1], replace(frames[-1], digest=frames[3].digest)]


def _looped(frames: Frames) -> Frames:
    """The turn comes twice, its bytes new each time."""
    twice = renumbered([*frames[:26], *frames[10:]])
    return [replace(each, digest=each.number.to_bytes(32, "big")) for each in twice]


def _frozen(frames: Frames) -> Frames:
    still = renumbered([*frames[:5], *[frames[5]] * 20, *frames[5:]])
    return [replace(each, digest=each.number.to_bytes(32, "big")) for each in still]


def _backwards(frames: Frames) -> Frames:
    times = {20: 2050.0, 21: 1950.0}
    return [replace(each, captured_ms=times.get(each.number, each.captured_ms)) for each in frames]


def _slow(frames: Frames) -> Frames:
    return [replace(each, captured_ms=1000.0 * each.number) for each in frames]


def _fast(frames: Frames) -> Frames:
    return [replace(each, captured_ms=10.0 * each.number, received_ms=None) for each in frames]


def _paused(frames: Frames) -> Frames:
    """A second and a half between two frames that look alike: room for a cut."""
    late = 1500.0
    return [
        replace(each, captured_ms=each.captured_ms + late, received_ms=each.received_ms + late)
        if each.number > 5 and each.captured_ms is not None and each.received_ms is not None
        else each
        for each in frames
    ]


def _held_back(frames: Frames) -> Frames:
    """It took twelve seconds longer to send than to capture."""
    return [replace(each, received_ms=500.0 * each.number) for each in frames]


def _at_once(frames: Frames) -> Frames:
    return [replace(each, received_ms=5000.0 + each.number) for each in frames]


def _half_timed(frames: Frames) -> Frames:
    return [replace(each, captured_ms=None) if each.number % 2 else each for each in frames]


@pytest.mark.parametrize(
    ("spoil", "doubt"),
    [
        (_few, Doubt.FRAMES_TOO_FEW),
        (_lost, Doubt.FACE_LOST),
        (_cut_short, Doubt.STEP_NOT_SEEN),
        (_opened_mouth, Doubt.STEP_NOT_ASKED),
        (_jump, Doubt.MOTION_BROKEN),
        (_larger, Doubt.MOTION_BROKEN),
        (_cut_away, Doubt.MOTION_BROKEN),
        (_slides, Doubt.MOTION_BROKEN),
        (_shuffled, Doubt.MOTION_BROKEN),
        (_copied, Doubt.FRAMES_REPEATED),
        (_looped, Doubt.FRAMES_REPEATED),
        (_frozen, Doubt.FRAMES_REPEATED),
        (_backwards, Doubt.CLOCK_IMPLAUSIBLE),
        (_slow, Doubt.CLOCK_IMPLAUSIBLE),
        (_fast, Doubt.CLOCK_IMPLAUSIBLE),
        (_paused, Doubt.CLOCK_IMPLAUSIBLE),
        (_held_back, Doubt.CLOCK_IMPLAUSIBLE),
        (_at_once, Doubt.CLOCK_IMPLAUSIBLE),
        (_half_timed, Doubt.CLOCK_IMPLAUSIBLE),
    ],
)
def test_each_fault_raises_its_doubt(spoil: Callable[[Frames], Frames], doubt: Doubt) -> None:
    """A good clip with one thing wrong fails, and the doubt says what."""
    result = judged(spoil(clip(poses(STEPS))))
    assert doubt in result.doubts
    assert result.score < SCORE_MIN
    assert not result.is_passed


@pytest.mark.parametrize("place", range(5))
def test_a_stranger_in_any_key_frame_is_seen(place: int) -> None:
    """One template that does not match, or that is missing, is enough."""
    frames = clip(poses(STEPS))
    found = looks(STEPS, frames)
    number = sorted(found)[place % len(found)]
    for template in (STRANGER, Missing.NO_FACE):
        changed = {**found, number: Look(template, Missing.MODEL_UNAVAILABLE)}
        assert judge(ASKED, frames, changed, alike).doubts == (Doubt.IDENTITY_CHANGED,)
    assert Doubt.IDENTITY_CHANGED in judge(ASKED, frames, {}, alike).doubts


def _alive(*scores: float) -> Judgement:
    frames = clip(poses(STEPS))
    numbers = sorted(looks(STEPS, frames))
    found = {
        number: Look(PERSON, PassiveLiveness(scores[place % len(scores)], 0.5))
        for place, number in enumerate(numbers)
    }
    return judge(ASKED, frames, found, alike)


def test_passive_scores_join() -> None:
    """All bona fide passes, all attacks fail, a NaN fails, and the outcome is told for the verdict.

    Halfway between worst and mean one frame just below the threshold does not decide.
    """
    assert _alive(0.9).is_passed
    assert _alive(0.45, 0.95, 0.95, 0.95, 0.95).is_passed
    for scores in ((0.1,), (0.05, 0.9), (math.nan,)):
        result = _alive(*scores)
        assert result.doubts == (Doubt.ATTACK_DETECTED,)
        assert isinstance(result.passive_liveness, PassiveLiveness)
        assert not result.passive_liveness.is_bona_fide
    assert judged(clip(poses(STEPS))).passive_liveness is Missing.MODEL_UNAVAILABLE


def test_a_frame_that_passive_detection_passed_over_counts_as_the_worst() -> None:
    """Where the model ran on some key frames, it has to have run on all."""
    frames = clip(poses(STEPS))
    found = looks(STEPS, frames)
    found[max(found)] = Look(PERSON, PassiveLiveness(0.9, 0.5))
    assert judge(ASKED, frames, found, alike).doubts == (Doubt.ATTACK_DETECTED,)


LIGHT = ((50_000.0, 0.2), (51_000.0, 1.0), (52_000.0, 0.1), (53_000.0, 0.9))


def _lit(frames: Frames, gain: float, scene_gain: float, delay: int) -> Frames:
    lit = []
    for each in frames:
        assert each.seen is not None
        level = LIGHT[min(max(each.number - delay, 0) // 10, 3)][1]
        face = replace(each.seen, luma=each.seen.luma * (1.0 + gain * level))
        scene_luma = each.scene_luma * (1.0 + scene_gain * level)
        lit.append(replace(each, seen=face, scene_luma=scene_luma))
    return lit


def test_a_face_has_to_answer_the_light() -> None:
    """Where light was asked, the face brightens with it, up to half a second later, and more than
    the scene; otherwise it is no face before that screen.
    """
    frames = clip(poses(STEPS))
    found = looks(STEPS, frames)
    assert judge(ASKED, _lit(frames, 0.2, 0.05, 3), found, alike, LIGHT).is_passed
    for gain, scene_gain, delay in ((0.0, 0.0, 0), (0.2, 0.3, 0), (0.01, 0.0, 0), (-0.2, 0.0, 0)):
        dim = _lit(frames, gain, scene_gain, delay)
        result = judge(ASKED, dim, found, alike, LIGHT)
        assert result.doubts == (Doubt.LIGHT_NOT_ANSWERED,)


@pytest.mark.parametrize(
    ("step", "held"),
    [
        (Step.HEAD_TURN, Held(yaw=-24.0)),
        (Step.TURN_LEFT, Held(yaw=24.0)),
        (Step.TURN_RIGHT, Held(yaw=-24.0)),
        (Step.NOD, Held(pitch=-15.0)),
        (Step.BLINK, Held(shut=1.0)),
        (Step.MOUTH_OPEN, Held(gape=1.0)),
    ],
)
@pytest.mark.parametrize("shares", [(0, 1, 0), (0, 0.5, 1), (0, 0.3, 0.6, 1, 1, 0.6, 0.3, 0)])
def test_three_frames_without_times_may_do(
    step: Step, held: Held, shares: tuple[float, ...]
) -> None:
    """One step, few frames, no times: at rest, then at its most; what is flat stays flat."""
    way = [scaled(held, share) for share in shares]
    assert judged(clip(way, timed=False), (step,)).is_passed
    flat = judged(clip(way, timed=False, drawn=picture), (step,))
    is_of_the_face = step in {Step.BLINK, Step.MOUTH_OPEN}
    assert flat.doubts == (() if is_of_the_face else (Doubt.HEAD_FLAT,))
    assert (Signal.DEPTH_TO_PLANE in flat.signals) is not is_of_the_face


@pytest.mark.parametrize("feedback", [Feedback.FACE_NOT_FOUND, Feedback.MULTI_FACE])
def test_a_clip_of_nobody_or_of_a_crowd_is_not_judged(feedback: Feedback) -> None:
    """It is to be taken again: no doubt stands against anybody, and the hint says why."""
    frames = [replace(each, feedback=(feedback,)) for each in clip(poses(STEPS))]
    if feedback is Feedback.FACE_NOT_FOUND:
        frames = [replace(each, seen=None) for each in frames]
    result = judged(frames)
    assert (result.is_judged, result.is_passed, result.doubts) == (False, False, ())
    assert (result.best_shot, result.feedback) == (None, (feedback,))
    assert not judge(ASKED, [], {}, alike).is_judged


def test_without_a_fit_frame_there_is_no_best_shot() -> None:
    """The clip is judged all the same, and the hints of the nearest frame are told."""
    frames = [replace(each, feedback=(Feedback.BLUR_SELFIE,)) for each in clip(poses(STEPS))]
    result = judged(frames)
    assert result.is_passed
    assert (result.best_shot, result.feedback) == (None, (Feedback.BLUR_SELFIE,))


@pytest.mark.parametrize(
    "scale",
    [getattr(DEFAULT_BARS, each.name) for each in fields(DEFAULT_BARS)
     if isinstance(getattr(DEFAULT_BARS, each.name), Scale)],
)  # fmt: skip
def test_each_bar_is_a_half(scale: Scale) -> None:
    """Attack, bar and bona fide are 0.05, 0.5 and 0.95 exactly, in order; NaN is 0."""
    anchors = [scale.score(value) for value in (scale.attack, scale.bar, scale.bona_fide)]
    assert anchors == [pytest.approx(0.05), SCORE_MIN, pytest.approx(0.95)]
    assert scale.score(math.nan) == 0.0
    worse = math.nextafter(scale.bar, scale.attack)
    assert scale.score(worse) < SCORE_MIN


NUMBERS = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e30])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nonsense_never_passes_and_never_raises(data: st.DataObject) -> None:
    """Whatever frames say, the score is within 0 and 1 and is a half or more exactly where there
    is no doubt.
    """
    frames = clip(poses(STEPS))
    for number in data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=40)):
        frames[number] = _spoiled(frames[number], data.draw)
    result = judged(data.draw(st.sampled_from([frames, frames[::-1], frames[::3], frames[:2]])))
    assert 0.0 <= result.score <= 1.0
    if result.is_judged:
        assert (result.score >= SCORE_MIN) == (result.doubts == ())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), places=st.integers(0, 30), frames_each=st.sampled_from([1, 4]))
def test_nothing_passes_by_chance(seed: int, places: int, frames_each: int) -> None:
    """A head that is elsewhere in each frame, or a picture held here and there for some frames,
    eyes and mouth as it comes, at times of chance, now and then gone: no draw is done by it.
    """
    rng = np.random.default_rng(seed)
    held = [
        Held(*rng.uniform((-30.0, -20.0, -10.0), (30.0, 20.0, 10.0)), *rng.integers(0, 2, 2))
        for _ in range(places)
    ]
    way = [Held(), *(each for each in held for _ in range(frames_each))]
    frames = clip(way, seed, drawn=head if frames_each == 1 else picture)
    times = np.cumsum(rng.uniform(20.0, 300.0, len(frames)))
    for number, (each, ms) in enumerate(zip(frames, times, strict=True)):
        shown = each.seen if rng.random() < 0.95 else None
        frames[number] = replace(each, captured_ms=float(ms), received_ms=float(ms), seen=shown)
    assert not judged(frames, DRAWS[seed % len(DRAWS)]).is_passed


def _spoiled(each: Observation, draw: Callable[[st.SearchStrategy[float]], float]) -> Observation:
    face, value = each.seen, draw(NUMBERS)
    if face is None:
        return each
    spoils = (
        replace(each, seen=replace(face, pose=Pose(value, 0.0, 0.0))),
        replace(each, seen=replace(face, points=np.full((468, 3), value, np.float32))),
        replace(each, seen=replace(face, eye_distance_px=value)),
        replace(each, captured_ms=value),
        replace(each, seen=replace(face, eyes_open=value, mouth_open=value)),
        replace(each, received_ms=value),
        replace(each, seen=None),
    )
    return spoils[int(draw(st.integers(0, len(spoils) - 1)))]
