"""The follower: what counts as an action, in which order, and what it is not misled by."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.liveness.challenge import DRAWN, DRAWS, Step
from pipeline.liveness.follow import Follower, Progress
from pipeline.liveness.observation import Observation
from tests.pipeline.liveness.heads import Held, clip, frame, poses, scaled

REST = Held()
TURN, NOD = Held(yaw=25.0), Held(pitch=-16.0)


def followed(steps: Sequence[Step], frames: Sequence[Observation]) -> Follower:
    follower = Follower(steps)
    for each in frames:
        follower.add(each)
    return follower


def there_and_back(held: Held, frames: int) -> list[Held]:
    """A second at rest, `frames` of an action, half a second at rest."""
    return [*[REST] * 10, *[held] * frames, *[REST] * 5]


@pytest.mark.parametrize("steps", DRAWS)
def test_every_draw_is_followed_to_its_end(steps: tuple[Step, Step]) -> None:
    """Each step counts once, in order, where it was at its most, and nothing else is seen."""
    follower = followed(steps, clip(poses(steps)))
    assert follower.progress == Progress(None, 2, is_complete=True)
    assert [span.step for span in follower.spans] == list(steps)
    for place, span in enumerate(follower.spans):
        begin = 10 + 15 * place
        assert begin - 2 <= span.start < span.peak <= span.end <= begin + 11
        assert begin + 2 <= span.peak <= begin + 6
    assert follower.unasked == []


@pytest.mark.parametrize("steps", DRAWS)
def test_progress_says_what_is_asked_now(steps: tuple[Step, Step]) -> None:
    """The step asked for changes in the frame that ends the one before, and never goes back."""
    follower = Follower(steps)
    told = [follower.add(each) for each in clip(poses(steps))]
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert {each.step for each in told} == {*steps, None}


@pytest.mark.parametrize("steps", DRAWS)
def test_the_other_order_is_not_the_challenge(steps: tuple[Step, Step]) -> None:
    """Steps done in the wrong order complete nothing; a head or mouth that moved was not asked."""
    follower = followed(steps, clip(poses(steps[::-1])))
    assert not follower.progress.is_complete
    if steps[1] is not Step.BLINK:
        assert [span.step for span in follower.unasked] == [steps[1]]


def test_a_turn_to_the_other_side_is_not_asked() -> None:
    """Left and right are the person's own, and not the same."""
    follower = followed((Step.TURN_RIGHT,), clip(poses((Step.TURN_LEFT,))))
    assert [span.step for span in follower.unasked] == [Step.TURN_LEFT]


@pytest.mark.parametrize("side", [Step.TURN_LEFT, Step.TURN_RIGHT])
def test_a_turn_to_either_side_may_be_asked(side: Step) -> None:
    """`HEAD_TURN` is done by a turn to the left or to the right, and the span says which."""
    follower = followed((Step.HEAD_TURN,), clip(poses((side,))))
    assert [span.step for span in follower.spans] == [side]


def test_a_step_may_be_done_twice() -> None:
    """Who repeats what was just done, because the screen was slow, does nothing unasked."""
    follower = followed((Step.NOD, Step.BLINK), clip(poses((Step.NOD, Step.NOD, Step.BLINK))))
    assert follower.progress.is_complete
    assert follower.unasked == []


@pytest.mark.parametrize("held", [Held(yaw=10.0), Held(yaw=-10.0), Held(pitch=6.0), Held(gape=0.2)])
def test_small_movements_are_nothing(held: Held) -> None:
    """What stays well below a bar is neither done nor unasked."""
    follower = followed(DRAWN, clip(there_and_back(held, 6)))
    assert (follower.spans, follower.unasked) == ([], [])


def test_a_natural_blink_is_nothing() -> None:
    """Eyes shut for a fifth of a second neither count nor disturb."""
    way = [REST] * 10
    for _ in range(4):
        way += [Held(shut=0.7), Held(shut=0.7), *[REST] * 6]
    frames = clip(way, timed=False)
    timed = [replace(each, captured_ms=66.0 * each.number) for each in frames]
    assert followed((Step.BLINK,), timed).spans == []
    follower = followed((Step.TURN_LEFT,), clip([*way, *poses((Step.TURN_LEFT,))]))
    assert follower.progress.is_complete
    assert follower.unasked == []


def test_a_blink_is_not_held_while_the_head_is_turned_aside() -> None:
    """Where eyes cannot be told nothing is: shut for a moment after a second aside is a moment."""
    way = [*[REST] * 10, *[TURN] * 12, Held(shut=1.0), *[REST] * 5]
    assert followed((Step.BLINK,), clip(way)).spans == []


@pytest.mark.parametrize("step", [Step.TURN_LEFT, Step.TURN_RIGHT, Step.NOD])
def test_whatever_would_count_if_asked_counts_against(step: Step) -> None:
    """There is no head movement that does a step where it is asked and goes unnoticed elsewhere."""
    small = {Step.TURN_LEFT: Held(yaw=17.0), Step.TURN_RIGHT: Held(yaw=-17.0)}
    frames = clip(there_and_back(small.get(step, Held(pitch=-11.0)), 6))
    assert [span.step for span in followed((step,), frames).spans] == [step]
    assert [span.step for span in followed((Step.MOUTH_OPEN,), frames).unasked] == [step]


def test_a_clip_that_begins_turned_has_no_turn_to_come_back_from() -> None:
    """A head that comes to the front from its left has not turned right."""
    way = [*[Held(yaw=11.0)] * 10, *[Held(yaw=-6.0)] * 6, *[Held(yaw=11.0)] * 5]
    assert followed((Step.TURN_RIGHT,), clip(way)).spans == []


def test_an_action_that_is_not_taken_back_is_not_done() -> None:
    """With times the head has to come back; without them the end of the clip will do."""
    way = [*[REST] * 10, *(scaled(TURN, share) for share in (0.3, 0.6, 1.0, 1.0))]
    assert not followed((Step.TURN_LEFT,), clip(way)).progress.is_complete
    follower = followed((Step.TURN_LEFT,), clip(way, timed=False))
    assert follower.end().is_complete


def test_a_flash_of_a_turn_is_not_done() -> None:
    """A single frame far out is a fault of the mesh or a cut, not a head."""
    frames = [
        replace(each, captured_ms=33.0 * each.number)
        for each in clip(there_and_back(TURN, 1), timed=False)
    ]
    assert followed((Step.TURN_LEFT,), frames).spans == []


def test_frames_without_a_face_are_passed_over() -> None:
    """A few lost frames in the middle of a step do not undo it."""
    frames = clip(poses((Step.TURN_LEFT, Step.BLINK)))
    for number in (12, 13, 28):
        frames[number] = frame(number, None, 0.1 * number)
    assert followed((Step.TURN_LEFT, Step.BLINK), frames).progress.is_complete


def test_a_missing_measure_does_not_end_a_blink() -> None:
    """Where quality could not assess the eyes, the frames around it still tell."""
    frames = clip(there_and_back(Held(shut=1.0), 6))
    face = frames[12].seen
    assert face is not None
    frames[12] = replace(frames[12], seen=replace(face, eyes_open=None))
    assert followed((Step.BLINK,), frames).progress.is_complete


def test_a_head_held_anew_has_a_new_rest() -> None:
    """Who first looks down at a button and then up has not nodded; a nod from there counts."""
    way = [*[Held(pitch=-15.0)] * 10, *[REST] * 25, *poses((Step.NOD,))[10:]]
    follower = followed((Step.NOD,), clip(way))
    (span,) = follower.spans
    assert span.start >= 30
    assert follower.progress.is_complete


@pytest.mark.parametrize("seed", range(8))
def test_noise_does_not_mislead(seed: int) -> None:
    """With three times the noise of a mesh, steps are seen and nothing else is."""
    steps = DRAWS[seed]
    rng = np.random.default_rng(seed)
    way = [
        Held(
            each.yaw + rng.normal(0.0, 1.5), each.pitch + rng.normal(0.0, 1.0),
            rng.normal(0.0, 1.0), each.shut, each.gape,
        )
        for each in poses(steps)
    ]  # fmt: skip
    follower = followed(steps, clip(way, seed))
    assert follower.progress.is_complete
    assert follower.unasked == []
