"""The keeper: few frames, the right ones, and none that it has let go before."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evidence import Feedback
from pipeline.liveness.challenge import DRAWN, DRAWS, Step
from pipeline.liveness.follow import Follower
from pipeline.liveness.keep import KEPT_MAX, Keeper, key_frames
from tests.pipeline.liveness.heads import Held, clip, frame, poses


@given(
    steps=st.lists(st.sampled_from(DRAWN), min_size=1, max_size=6),
    angles=st.lists(st.floats(-40.0, 40.0), min_size=1, max_size=40),
    fit=st.integers(0, 40),
)
def test_few_are_kept_and_none_comes_back(steps: list[Step], angles: list[float], fit: int) -> None:
    """At most KEPT_MAX, the new frame or a subset of those before, and `key_frames` agrees."""
    frames = [
        replace(each, feedback=(Feedback.OK if each.number == fit else Feedback.OTHER,))
        for each in clip([Held(yaw=angle) for angle in angles])
    ]
    follower, keeper = Follower(steps), Keeper(steps)
    before: frozenset[int] = frozenset()
    for each in frames:
        kept = keeper.offer(each, follower.add(each))
        assert len(kept) <= KEPT_MAX
        assert kept <= before | {each.number}
        before = kept
    assert tuple(sorted(before)) == key_frames(steps, frames) == keeper.kept
    assert keeper.best_shot == (fit if fit < len(frames) else None)


@pytest.mark.parametrize("steps", DRAWS)
def test_first_last_and_extremes_are_kept(steps: tuple[Step, Step]) -> None:
    """The frames where a step is at its most are among those kept, and both ends of the clip."""
    frames = clip(poses(steps))
    kept = key_frames(steps, frames)
    assert {0, len(frames) - 1} <= set(kept)
    for place in range(2):
        begin = 10 + 15 * place
        assert any(begin + 3 <= number <= begin + 6 for number in kept)


def test_frames_without_one_face_are_never_kept() -> None:
    """Nobody, or several people, are no key frames."""
    frames = clip([Held()] * 4)
    frames[0] = frame(0, None)
    frames[3] = replace(frames[3], feedback=(Feedback.MULTI_FACE,))
    assert set(key_frames((Step.NOD,), frames)) <= {1, 2}
