"""The keeper: few frames, the right ones, and none that it has let go before."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evidence import Feedback
from pipeline.liveness.challenge import DRAWN, DRAWS, Step
from pipeline.liveness.follow import Follower
from pipeline.liveness.keep import KEPT_MAX, Keeper, key_frames
from tests.pipeline.liveness.heads import Held, asked, clip, frame, poses


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
    follower, keeper = Follower(steps), Keeper(asked(steps))
    before: frozenset[int] = frozenset()
    for each in frames:
        kept = keeper.offer(each, follower.add(each))
        assert len(kept) <= KEPT_MAX
        assert kept <= before | {each.number}
        before = kept
    assert tuple(sorted(before)) == key_frames(asked(steps), frames) == keeper.kept
    assert keeper.best_shot == (fit if fit < len(frames) else None)


@pytest.mark.parametrize("steps", DRAWS)
def test_first_last_and_extremes_are_kept(steps: tuple[Step, Step]) -> None:
    """The frames where a step is at its most are among those kept, and both ends of the clip."""
    frames = clip(poses(steps))
    kept = key_frames(asked(steps), frames)
    assert {0, len(frames) - 1} <= set(kept)
    for place in range(2):
        begin = 10 + 15 * place
        assert any(begin + 3 <= number <= begin + 6 for number in kept)


def test_frames_without_one_face_are_never_kept() -> None:
    """Nobody, or several people, are no key frames."""
    frames = clip([Held()] * 4)
    frames[0] = frame(0, None)
    frames[3] = replace(frames[3], feedback=(Feedback.MULTI_FACE,))
    assert set(key_frames(asked((Step.NOD,)), frames)) <= {1, 2}


def test_some_are_drawn_by_a_lot_that_nobody_foresees() -> None:
    """By each lot others, every frame in its turn; where there is a choice, none turned far."""
    frames = clip([*[Held()] * 20, *[Held(yaw=35.0)] * 10])
    drawn = [set(key_frames(asked((), bytes([lot])), frames)) for lot in range(200)]
    common = set.intersection(*drawn)
    assert {len(each - common) for each in drawn} <= {2, 3, 4}
    assert set.union(*drawn) - common == set(range(20)) - common
    away = clip([Held(yaw=35.0)] * 10)
    assert (
        len(set.union(*(set(key_frames(asked((), bytes([lot])), away)) for lot in range(99)))) == 10
    )


def test_whoever_replaces_what_can_be_foreseen_is_seen() -> None:
    """A stranger's clip in which somebody else stands wherever no lot is needed passes seldom."""
    steps = (Step.TURN_LEFT, Step.NOD)
    frames = clip(poses(steps))
    lots = [bytes([lot]) for lot in range(100)]
    drawn = [set(key_frames(asked(steps, lot), frames)) for lot in lots]
    foreseen = set.intersection(*drawn)
    assert len(foreseen) >= 5
    assert sum(each <= foreseen for each in drawn) <= 1
