"""Hints: every gate closes alone, in its place in the order, and nothing unknown counts as good."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evidence import Feedback, Measure, Quality
from pipeline.image.feedback import Bars, choose_feedback

GOOD = {
    Measure.SHARPNESS: 0.55,
    Measure.UNDER_EXPOSURE_PREVENTION: 0.01,
    Measure.OVER_EXPOSURE_PREVENTION: 0.0,
    Measure.DYNAMIC_RANGE: 6.8,
    Measure.HEAD_POSE_YAW: -8.0,
    Measure.HEAD_POSE_PITCH: 5.0,
    Measure.HEAD_POSE_ROLL: -3.0,
    Measure.EYES_OPEN: 0.2,
    Measure.MOUTH_CLOSED: 0.03,
    Measure.INTER_EYE_DISTANCE: 90.0,
    Measure.HEAD_SIZE: 0.3,
    Measure.CROP_OF_THE_FACE_IMAGE: 0.6,
    Measure.FACE_OCCLUSION_PREVENTION: 1.5,
    Measure.SINGLE_FACE_PRESENT: 0.0,
    Measure.LANDMARK_AGREEMENT: 3.0,
}
UNGATED = {Measure.MOUTH_CLOSED}  # a smile harms no comparison
# In the order of the hints: a measure, a value past its bar, and the hint that follows.
PAST = [
    (Measure.SINGLE_FACE_PRESENT, 0.5, Feedback.MULTI_FACE),
    (Measure.INTER_EYE_DISTANCE, 9.0, Feedback.FACE_TOO_SMALL),
    (Measure.HEAD_SIZE, 0.8, Feedback.FACE_TOO_CLOSE),
    (Measure.CROP_OF_THE_FACE_IMAGE, -0.2, Feedback.FACE_CROPPED),
    (Measure.CROP_OF_THE_FACE_IMAGE, 0.0, Feedback.FACE_CLOSE_TO_BORDER),
    (Measure.HEAD_POSE_ROLL, 45.0, Feedback.FACE_ROTATED),
    (Measure.HEAD_POSE_ROLL, -45.0, Feedback.FACE_ROTATED),
    (Measure.HEAD_POSE_YAW, 40.0, Feedback.FACE_ANGLE_TOO_LARGE),
    (Measure.HEAD_POSE_YAW, -40.0, Feedback.FACE_ANGLE_TOO_LARGE),
    (Measure.HEAD_POSE_PITCH, 40.0, Feedback.FACE_ANGLE_TOO_LARGE),
    (Measure.HEAD_POSE_PITCH, -40.0, Feedback.FACE_ANGLE_TOO_LARGE),
    (Measure.FACE_OCCLUSION_PREVENTION, 0.1, Feedback.FACE_OCCLUDED),
    (Measure.EYES_OPEN, 0.05, Feedback.CLOSED_EYES),
    (Measure.OVER_EXPOSURE_PREVENTION, 0.6, Feedback.GLARE_SELFIE),
    (Measure.SHARPNESS, 0.36, Feedback.BLUR_SELFIE),
    (Measure.UNDER_EXPOSURE_PREVENTION, 0.9, Feedback.OTHER),
    (Measure.DYNAMIC_RANGE, 3.0, Feedback.OTHER),
    (Measure.LANDMARK_AGREEMENT, 0.4, Feedback.FACE_ROTATED),
]


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """No subnormal ones: models loaded in the same process may have switched them off."""
    return st.floats(low, high, allow_subnormal=False)


def quality(natives: dict[Measure, float]) -> list[Quality]:
    """Components with these native values; the value of 0 to 100 plays no part in hints."""
    return [Quality(measure, 50, native) for measure, native in natives.items()]


def test_every_measure_is_known_here() -> None:
    """The table of good values has no gap that a new measure could slip through."""
    assert set(GOOD) == set(Measure)
    assert {measure for measure, _, _ in PAST} == set(Measure) - UNGATED


def test_a_good_selfie_is_fit() -> None:
    """One face that passes every gate yields exactly `OK`."""
    assert choose_feedback(1, quality(GOOD)) == (Feedback.OK,)


def test_no_face() -> None:
    """Without a face nothing else is said."""
    assert choose_feedback(0, ()) == (Feedback.FACE_NOT_FOUND,)


@pytest.mark.parametrize(("measure", "native", "hint"), PAST)
def test_each_gate_closes_alone(measure: Measure, native: float, hint: Feedback) -> None:
    """One value past its bar yields its hint and no other."""
    assert choose_feedback(1, quality(GOOD | {measure: native})) == (hint,)


@pytest.mark.parametrize("measure", sorted(set(Measure) - UNGATED))
def test_what_was_not_assessed_is_not_good(measure: Measure) -> None:
    """A gated component that is missing, failed or not a number alone yields `OTHER`."""
    others = [part for part in quality(GOOD) if part.measure is not measure]
    failed = Quality(measure, None, None)
    broken = Quality(measure, 50, math.nan)
    for parts in (others, [*others, failed], [*others, broken]):
        assert choose_feedback(1, parts) == (Feedback.OTHER,)


def test_nothing_assessed_at_all() -> None:
    """A face of which nothing is known is not fit, and two are two."""
    assert choose_feedback(1, ()) == (Feedback.OTHER,)
    assert choose_feedback(2, ()) == (Feedback.MULTI_FACE,)


def test_a_failure_to_assess_adds_nothing_to_a_cause() -> None:
    """Beside a hint that names a cause, a failed component is silent."""
    blurred = quality(GOOD | {Measure.SHARPNESS: 0.36})
    blind = Quality(Measure.FACE_OCCLUSION_PREVENTION, None, None)
    parts = [blind if part.measure is blind.measure else part for part in blurred]
    assert choose_feedback(1, parts) == (Feedback.BLUR_SELFIE,)


def test_a_distant_bystander_is_no_second_face() -> None:
    """A second face is a hint only where it is large beside the first."""
    assert choose_feedback(2, quality(GOOD | {Measure.SINGLE_FACE_PRESENT: 0.05})) == (Feedback.OK,)


def test_the_order_and_no_repeats() -> None:
    """All hints at once come in their fixed order, each once."""
    worst = GOOD | {measure: native for measure, native, _ in reversed(PAST)}
    expected = tuple(dict.fromkeys(hint for _, _, hint in PAST))
    alone = Feedback.FACE_CLOSE_TO_BORDER  # what is cropped is no longer merely close
    assert choose_feedback(2, quality(worst)) == tuple(h for h in expected if h is not alone)


@given(st.dictionaries(st.sampled_from(list(Measure)), numbers(-100.0, 100.0)), st.integers(0, 3))
def test_fit_or_hints_never_both(changes: dict[Measure, float], faces: int) -> None:
    """`OK` stands alone, hints do not repeat, and there is always an answer."""
    found = choose_feedback(faces, quality(GOOD | changes))
    assert found
    assert len(set(found)) == len(found)
    assert found == (Feedback.OK,) or Feedback.OK not in found


@given(st.sampled_from(PAST), numbers(0.0, 1.0))
def test_a_gate_closes_once(row: tuple[Measure, float, Feedback], way: float) -> None:
    """From a good value towards a bad one a gate closes at one place and stays closed."""
    measure, bad, _ = row
    good = GOOD[measure]
    if measure is Measure.HEAD_POSE_YAW or good * bad < 0:
        good = math.copysign(good, bad)
    here, further = (
        choose_feedback(1, quality(GOOD | {measure: good + part * (bad - good)}))
        for part in (way, (1.0 + way) / 2)
    )
    assert here == (Feedback.OK,) or further != (Feedback.OK,)


def test_the_bars_can_be_moved() -> None:
    """A caller with other needs passes other bars."""
    strict = Bars(eye_distance_px_min=120.0)
    assert choose_feedback(1, quality(GOOD), strict) == (Feedback.FACE_TOO_SMALL,)
    assert choose_feedback(1, quality(GOOD), Bars()) == (Feedback.OK,)
