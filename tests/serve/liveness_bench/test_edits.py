"""Recordings cut, repeated, joined and timed anew: which frames, in which order, at what times."""

import numpy as np
import pytest

from pipeline.render.camera import Camera
from pipeline.render.head import SIDE_PX
from pipeline.render.perform import Clip
from serve.bench.liveness import edits
from serve.bench.liveness.sheet import pictures

COUNT, STEP_MS = 10, 100


def clip(name: str = "a") -> Clip:
    """Frames that are their own names, a tenth of a second apart."""
    frames = tuple(f"{name}{number}".encode() for number in range(COUNT))
    return Clip(frames, tuple(STEP_MS * number for number in range(COUNT)))


def shown(made: Clip) -> str:
    return " ".join(frame.decode() for frame in made.frames)


def test_a_frozen_recording_shows_its_last_frame_to_the_end() -> None:
    """It moves for its share, then stands; its clock goes on."""
    made = edits.frozen(clip(), 0.4)
    assert shown(made) == "a0 a1 a2 a3 a4 a4 a4 a4 a4 a4"
    assert made.captured_ms == clip().captured_ms
    assert set(edits.frozen(clip(), 0.0).frames) == {b"a0"}


def test_a_loop_comes_again_under_a_clock_that_goes_on() -> None:
    """Twice the frames, at twice the times."""
    made = edits.looped(clip(), 2)
    assert shown(made) == " ".join([shown(clip())] * 2)
    assert made.captured_ms == tuple(STEP_MS * number for number in range(2 * COUNT))


def test_a_splice_is_of_both() -> None:
    """Up to its share one person, from there on the other; one after the other; or the other's
    frames at both ends.
    """
    made = edits.joined(clip("a"), clip("b"), 0.5)
    assert shown(made) == "a0 a1 a2 a3 a4 b5 b6 b7 b8 b9"
    assert (np.diff(made.captured_ms) == STEP_MS).all()
    both = edits.appended(clip("a"), clip("b"))
    assert shown(both) == f"{shown(clip('a'))} {shown(clip('b'))}"
    assert both.captured_ms == tuple(range(0, 2 * COUNT * STEP_MS, STEP_MS))
    ends = edits.inserted(clip("a"), clip("b"), 2, 1)
    assert shown(ends) == "b0 b1 a2 a3 a4 a5 a6 a7 a8 b9"


def test_frames_in_another_order_are_all_there() -> None:
    """Shuffled, backwards and with its halves swapped, a clip keeps its frames and a clock that
    rises; neighbours that changed places took their times along.
    """
    rng = np.random.default_rng(1)
    for made in (
        edits.shuffled(clip(), rng),
        edits.backwards(clip()),
        edits.halves_swapped(clip()),
    ):
        assert sorted(made.frames) == sorted(clip().frames)
        assert made.frames != clip().frames
        assert made.captured_ms == clip().captured_ms
    assert shown(edits.backwards(clip())).startswith("a9 a8")
    assert shown(edits.halves_swapped(clip())) == "a5 a6 a7 a8 a9 a0 a1 a2 a3 a4"
    swapped = edits.swapped(clip(), rng)
    pairs = dict(zip(clip().frames, clip().captured_ms, strict=True))
    assert [pairs[frame] for frame in swapped.frames] == [*swapped.captured_ms]
    assert min(np.diff(swapped.captured_ms)) < 0


@pytest.mark.parametrize(
    ("made", "times"),
    [
        (edits.timed(clip(), 0.5), [50 * number for number in range(COUNT)]),
        (edits.clock_stopped(clip()), [0] * COUNT),
        (
            edits.clock_set_back(clip()),
            [100 * number - 1000 * (number >= 5) for number in range(COUNT)],
        ),
    ],
)
def test_a_clock_is_told_anew(made: Clip, times: list[int]) -> None:
    """The frames stay, their times do not."""
    assert made.frames == clip().frames
    assert [*made.captured_ms] == times


def test_a_mirrored_clip_is_mirrored() -> None:
    """What was bright on the left is so on the right, at the same times."""
    scene = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    scene[:, : SIDE_PX // 2] = 200
    frame = Camera.held(np.random.default_rng(1)).shoot(scene)
    made = edits.mirrored(Clip((frame,), (7,)), np.random.default_rng(2))
    (picture,) = pictures(made)
    assert picture[:, : SIDE_PX // 2].mean() < 10.0
    assert picture[:, SIDE_PX // 2 :].mean() > 190.0
    assert made.captured_ms == (7,)


def test_frames_coded_anew_differ_in_bytes_alone() -> None:
    """Of one picture repeated, no two codings are equal, and all look the same."""
    scene = np.full((SIDE_PX, SIDE_PX, 3), 100, np.uint8)
    frame = Camera.held(np.random.default_rng(1)).shoot(scene)
    still = Clip((frame,) * 5, tuple(range(0, 500, 100)))
    made = edits.coded_anew(still, np.random.default_rng(2))
    assert len({*made.frames, frame}) == 6
    assert made.captured_ms == still.captured_ms
    for picture in pictures(made):
        assert abs(float(picture.mean()) - 100.0) < 2.0
