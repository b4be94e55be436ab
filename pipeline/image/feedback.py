"""From quality components to hints for the person, the most useful first.

An image is fit (`OK`) when every gate below was assessed and passed. It fails closed: a gated
component that is missing or failed to assess is never taken for good. Alone it yields `OTHER`;
beside hints that name a cause it adds nothing, for that cause is usually its own.

Even a cover of the face is such a gate: two people in the same mask resemble each other more than
each resembles themselves without it. So is sharpness, without which a cover cannot be seen.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.evidence import Feedback, Measure, Quality


@dataclass(frozen=True, slots=True)
class Bars:
    """Where a hint begins, in the native unit of its component; each with its reason.

    `drift` is how far the cosine of a template to that of the untouched photo falls below 1,
    median over 22 photos; the pack's 1:1 threshold leaves 0.086.
    """

    second_face_max: float = 0.10  # area ratio: a third of the width is someone beside, not afar
    eye_distance_px_min: float = 30.0  # shrunk to 26 px drift is still 0.003, to 14 px 0.013
    head_size_max: float = 0.70  # the outline then reaches past both sides of a 4 to 5 frame
    clearance_min: float = -0.02  # the outline itself is uncertain by this much
    margin_min: float = 0.02  # sure to be inside; matching and attack detection need no more
    roll_deg_max: float = 35.0  # attack detection takes an upright crop: live 0.87 here, 0.63 at 44
    yaw_deg_max: float = 30.0  # live photos reach 22; further round, an eye corner is guessed
    pitch_deg_max: float = 25.0  # frontal faces read within 20 of zero
    visibility_min: float = 1.0  # the component's own bar
    openness_min: float = 0.11  # one of 157 open pairs of eyes falls below, half of drawn-shut ones
    over_exposed_max: float = 0.15  # clean photos reach 0.06; here drift passes 0.02
    sharpness_min: float = 0.42  # clean photos start at 0.46; drift passes 0.015
    under_exposed_max: float = 0.35  # the darkest clean face has 0.08; at 15 % light, 0.4 to 1
    entropy_bits_min: float = 4.5  # clean photos start at 5.6; a third of the contrast drifts 0.011
    agreement_min: float = 1.0  # the component's own bar


DEFAULT_BARS = Bars()

Gate = Callable[[float, Bars], Feedback | None]  # native value -> hint, None when it passes


def _crop(clearance: float, bars: Bars) -> Feedback | None:
    if clearance < bars.clearance_min:
        return Feedback.FACE_CROPPED
    return Feedback.FACE_CLOSE_TO_BORDER if clearance < bars.margin_min else None


def _low(hint: Feedback, bar: Callable[[Bars], float]) -> Gate:
    """Hint below the bar."""
    return lambda native, bars: hint if native < bar(bars) else None


def _high(hint: Feedback, bar: Callable[[Bars], float]) -> Gate:
    """Hint where the magnitude is above the bar."""
    return lambda native, bars: hint if abs(native) > bar(bars) else None


# In the order of the hints: who, where, which way, what is in the way, and then the light, which
# is the hardest for a person to change.
_GATES: tuple[tuple[Measure, Gate], ...] = (
    (
        Measure.SINGLE_FACE_PRESENT,
        _high(Feedback.MULTI_FACE, lambda bars: bars.second_face_max),
    ),
    (
        Measure.INTER_EYE_DISTANCE,
        _low(Feedback.FACE_TOO_SMALL, lambda bars: bars.eye_distance_px_min),
    ),
    (Measure.HEAD_SIZE, _high(Feedback.FACE_TOO_CLOSE, lambda bars: bars.head_size_max)),
    (Measure.CROP_OF_THE_FACE_IMAGE, _crop),
    (Measure.HEAD_POSE_ROLL, _high(Feedback.FACE_ROTATED, lambda bars: bars.roll_deg_max)),
    (Measure.HEAD_POSE_YAW, _high(Feedback.FACE_ANGLE_TOO_LARGE, lambda bars: bars.yaw_deg_max)),
    (
        Measure.HEAD_POSE_PITCH,
        _high(Feedback.FACE_ANGLE_TOO_LARGE, lambda bars: bars.pitch_deg_max),
    ),
    (
        Measure.FACE_OCCLUSION_PREVENTION,
        _low(Feedback.FACE_OCCLUDED, lambda bars: bars.visibility_min),
    ),
    (Measure.EYES_OPEN, _low(Feedback.CLOSED_EYES, lambda bars: bars.openness_min)),
    (
        Measure.OVER_EXPOSURE_PREVENTION,
        _high(Feedback.GLARE_SELFIE, lambda bars: bars.over_exposed_max),
    ),
    (Measure.SHARPNESS, _low(Feedback.BLUR_SELFIE, lambda bars: bars.sharpness_min)),
    (
        Measure.UNDER_EXPOSURE_PREVENTION,
        _high(Feedback.OTHER, lambda bars: bars.under_exposed_max),
    ),
    (Measure.DYNAMIC_RANGE, _low(Feedback.OTHER, lambda bars: bars.entropy_bits_min)),
    # Last, because a cover may cause it too; alone, the usual cause is a head upside down.
    (Measure.LANDMARK_AGREEMENT, _low(Feedback.FACE_ROTATED, lambda bars: bars.agreement_min)),
)


def choose_feedback(
    faces: int, quality: Sequence[Quality], bars: Bars = DEFAULT_BARS
) -> tuple[Feedback, ...]:
    """The hints for an image with `faces` faces, without repeats; exactly `(OK,)` when it is fit.

    `quality` is of the main face. Several faces of which nothing is known are `MULTI_FACE`.
    """
    if faces < 1:
        return (Feedback.FACE_NOT_FOUND,)
    natives = _assessed(quality)
    if faces > 1 and Measure.SINGLE_FACE_PRESENT not in natives:
        return (Feedback.MULTI_FACE,)
    found = [gate(natives[measure], bars) for measure, gate in _GATES if measure in natives]
    hints = tuple(dict.fromkeys(hint for hint in found if hint is not None))
    if hints:
        return hints
    return (Feedback.OK,) if len(found) == len(_GATES) else (Feedback.OTHER,)


def _assessed(quality: Sequence[Quality]) -> Mapping[Measure, float]:
    """Native values of the components that were assessed."""
    return {
        part.measure: part.native
        for part in quality
        if part.value is not None and part.native is not None and math.isfinite(part.native)
    }
