"""Signals are named and explained, and the numbers of clocks and motion are what they say."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.liveness.challenge import DRAWN
from pipeline.liveness.judgement import Doubt
from pipeline.liveness.signals import TEXTS, Signal
from pipeline.liveness.signs.clock import timing_of
from pipeline.liveness.signs.motion import jump, zigzag
from pipeline.liveness.signs.repeats import Repeats, repeats_of
from tests.pipeline.liveness.heads import Held, clip, poses, renumbered


def test_every_signal_and_every_doubt_is_explained() -> None:
    """Each signal says what it is, in which unit and from where; each doubt is a sentence."""
    assert set(TEXTS) == set(Signal)
    assert all("; " in signal.text for signal in Signal)
    assert all(doubt.description.endswith(".") for doubt in Doubt)


def test_timing_is_that_of_the_clocks() -> None:
    """Ten frames a second, sent at half the speed of the capture, one of them late."""
    frames = [
        replace(each, received_ms=500.0 * (each.captured_ms or 0.0) / 1000.0)
        for each in clip([Held()] * 11)
    ]
    frames[5] = replace(frames[5], captured_ms=650.0)
    timing = timing_of(frames)
    assert timing is not None
    found = [round(each, 6) for each in (timing.frames_per_s, timing.gap_s, timing.lead_s)]
    assert (timing.backwards, found) == (1, [10.0, 0.25, 0.5])


def test_without_times_there_is_no_timing() -> None:
    """And one time of arrival for all, as an upload has, leads by nothing."""
    assert timing_of(clip([Held()] * 3, timed=False)) is None
    frames = [replace(each, received_ms=9.0) for each in clip([Held()] * 3)]
    timing = timing_of(frames)
    assert timing is not None
    assert (timing.lead_s, timing.backwards) == (0.0, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), speed=st.floats(0.0, 120.0))
def test_a_head_that_turns_evenly_moves_smoothly(seed: int, speed: float) -> None:
    """Up to 120 degrees a second nothing jumps, and the way leads somewhere."""
    angles = np.clip(np.abs(np.arange(-12, 13)) * speed / 10.0, 0.0, 40.0)
    frames = clip([Held(yaw=float(angle)) for angle in angles], seed)
    assert jump(frames) < 1.0
    assert zigzag(frames) < 1.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_frames_in_an_order_of_chance_zigzag(seed: int) -> None:
    """Whatever the order, the way to the next frame is about as long as that to the one after."""
    frames = clip(poses(DRAWN[:3]), seed)
    order = np.random.default_rng(seed).permutation(len(frames))
    assert zigzag(renumbered([frames[each] for each in order])) > 1.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), start=st.integers(8, 18), lag=st.integers(8, 40))
def test_a_stretch_that_comes_again_is_found(seed: int, start: int, lag: int) -> None:
    """Twelve frames of a motion, again at any later place, with bytes of their own."""
    frames = clip([*poses(DRAWN[:3]), *[Held(pitch=0.5)] * 30], seed)
    again = frames[start : start + 12]
    place = start + 12 + lag
    joined = renumbered([*frames[:place], *again, *frames[place:]])
    joined = [replace(each, digest=each.number.to_bytes(32, "big")) for each in joined]
    found = repeats_of(joined)
    assert found.looped >= 10
    assert repeats_of(frames) == Repeats(0.0, 0)
