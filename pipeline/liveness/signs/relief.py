"""Whether each swing of the head in a clip showed the depth of a head."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.liveness.bars import DEFAULT_BARS, Bars
from pipeline.liveness.challenge import Step
from pipeline.liveness.observation import Seen
from pipeline.liveness.rest import Posture
from pipeline.liveness.signs.depth import (
    Floats,
    head_error,
    mean_shape,
    plane_error,
    rotation_of,
    sheet_error,
    stiff_shape,
)


@dataclass(frozen=True, slots=True)
class Framed:
    """A frame with its face and its posture."""

    number: int
    seen: Seen
    posture: Posture


@dataclass(frozen=True, slots=True)
class Relief:
    """What a swing showed: medians over its frames. `to_plane` and `to_sheet` are natural
    logarithms of the errors of the best plane and the best bent sheet over that of the best head;
    `plane_error` is in distances between the eyes. `score` is 0 to 1, 0.5 at the bars.
    """

    to_plane: float
    to_sheet: float
    plane_error: float
    score: float


_UNKNOWN = Relief(math.nan, math.nan, math.nan, 0.0)


def rest_shape(frames: Sequence[Framed], bars: Bars = DEFAULT_BARS) -> Floats:
    """The shape of the head at rest: the mean of the frames nearest to it, of one at least."""
    nearest = sorted(frames, key=lambda frame: _aside(frame.posture))
    return mean_shape([stiff_shape(frame.seen) for frame in nearest[: bars.rest_shapes]])


def relief_of(
    shape: Floats, swing: Sequence[Framed], step: Step, bars: Bars = DEFAULT_BARS
) -> Relief:
    """What the frames of one swing show against the shape at rest.

    Those that went at least `bars.depth_share` of the way count, `bars.depth_frames` at most.
    """
    furthest = max((_aside(frame.posture) for frame in swing), default=0.0)
    far = [frame for frame in swing if _aside(frame.posture) >= bars.depth_share * furthest]
    if not furthest > 0.0:
        return _UNKNOWN
    places = np.linspace(0, len(far) - 1, min(len(far), bars.depth_frames)).round().astype(int)
    try:
        errors = np.array([_errors(shape, far[place]) for place in places])
    except np.linalg.LinAlgError:
        return _UNKNOWN
    with np.errstate(all="ignore"):
        to_plane = float(np.median(np.log(errors[:, 0] / errors[:, 2])))
        to_sheet = float(np.median(np.log(errors[:, 1] / errors[:, 2])))
    is_nod = step is Step.NOD
    plane_scale = bars.nod_to_plane if is_nod else bars.turn_to_plane
    sheet_scale = bars.nod_to_sheet if is_nod else bars.turn_to_sheet
    score = min(plane_scale.score(to_plane), sheet_scale.score(to_sheet))
    return Relief(to_plane, to_sheet, float(np.median(errors[:, 0])), score)


def aside_frames(
    frames: Sequence[Framed], bars: Bars = DEFAULT_BARS
) -> Mapping[Step, list[Framed]]:
    """Frames in which the head was turned or nodded far enough to be judged, by what it did."""
    moved = [frame for frame in frames if _aside(frame.posture) >= bars.depth_moved_deg]
    found: dict[Step, list[Framed]] = {}
    for frame in moved:
        is_turn = abs(frame.posture.yaw_deg) >= abs(frame.posture.pitch_deg)
        found.setdefault(Step.HEAD_TURN if is_turn else Step.NOD, []).append(frame)
    return found


def _errors(shape: Floats, frame: Framed) -> tuple[float, float, float]:
    """Of the best plane, the best bent sheet and the best head."""
    other, posture = stiff_shape(frame.seen), frame.posture
    start = rotation_of(posture.yaw_deg, posture.pitch_deg, posture.roll_deg)
    return plane_error(shape, other), sheet_error(shape, other), head_error(shape, other, start)


def _aside(posture: Posture) -> float:
    """How far the head looks away from its rest, degrees."""
    return math.hypot(posture.yaw_deg, posture.pitch_deg)
