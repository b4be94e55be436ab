"""Whether a face moves from frame to frame as a head before a camera can."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.liveness.bars import DEFAULT_BARS, Bars
from pipeline.liveness.observation import Observation, Seen

Floats = NDArray[np.float64]

# All over the face: corners of eyes and mouth, nose, chin, forehead, temples, lids, lips.
_MARKS = np.array([
    33, 133, 362, 263, 61, 291, 1, 152, 10, 127, 356, 168, 13, 14, 159, 145, 386, 374
])  # fmt: skip
_NOSE_BRIDGE = 168  # between the eyes: neither turns nor nods move it far


def jump(frames: Sequence[Observation], bars: Bars = DEFAULT_BARS) -> float:
    """The greatest change over what a head can do in the time between; above 1, no head does.

    Looked at are yaw, pitch and roll (degrees), the place between the eyes (distances between the
    eyes) and the size (natural logarithm), of each frame against the next that is at least
    `bars.stride_seconds` later by the clock of capture. Frames without times are compared with
    their neighbours, `bars.untimed_seconds` apart. All frames have a face; fewer than two give 0.
    """
    worst, later = 0.0, 1
    for place, frame in enumerate(frames):
        later = max(later, place + 1)
        while (
            later < len(frames) - 1 and _seconds(frame, frames[later], bars) < bars.stride_seconds
        ):
            later += 1
        if later >= len(frames):
            break
        after = frames[later]
        assert frame.seen is not None
        assert after.seen is not None
        share = _share(frame.seen, after.seen, _seconds(frame, after, bars), bars)
        worst = max(worst, share)
    return worst


def zigzag(frames: Sequence[Observation], bars: Bars = DEFAULT_BARS) -> float:
    """How far a face goes from each frame to the next, over how far it gets in two; ratio times 2.

    1 for a path that leads somewhere, 2 for frames in an order of chance; 0 where nothing moved.
    Steps no longer than the noise of a mesh do not count. All frames have a face.
    """
    faces = [frame.seen for frame in frames if frame.seen is not None]
    if len(faces) < 3:
        return 0.0
    marks = marks_of(faces)
    eyes_px = float(np.median([face.eye_distance_px for face in faces]))
    noise = max(bars.zigzag_noise, bars.zigzag_noise_px / eyes_px)
    once, twice = (
        float(np.maximum(_norms(marks[lag:] - marks[:-lag]) - noise, 0.0).sum()) for lag in (1, 2)
    )
    return 2.0 * once / max(twice, once / 2.0) if once > bars.zigzag_path else 0.0


def scene_jump(frames: Sequence[Observation]) -> float:
    """The greatest change of the whole picture from a frame to the next: root mean square over its
    thumbnail, grey levels. A cut to another place changes all of it; a head that turns, a part.
    """
    scenes = np.array([frame.scene.ravel() for frame in frames], np.float32)
    changes = np.diff(scenes, axis=0)
    return float(np.sqrt((changes * changes).mean(axis=1)).max(initial=0.0))


def marks_of(faces: Sequence[Seen]) -> Floats:
    """The marks of each face, `(N, 36)` float64: where they are in the frame, in distances between
    the eyes of that frame.
    """
    rows = [face.points[_MARKS, :2].ravel() / face.eye_distance_px for face in faces]
    return np.array(rows, np.float64)


def _norms(moves: Floats) -> Floats:
    """The root mean square way of the marks, distances between the eyes."""
    return np.asarray(np.sqrt((moves * moves).sum(axis=1) / len(_MARKS)))


def _share(before: Seen, after: Seen, seconds: float, bars: Bars) -> float:
    eyes = before.eye_distance_px
    x, y = (
        float(each) for each in after.points[_NOSE_BRIDGE, :2] - before.points[_NOSE_BRIDGE, :2]
    )
    changes = (
        (bars.yaw_speed, after.pose.yaw_deg - before.pose.yaw_deg),
        (bars.pitch_speed, after.pose.pitch_deg - before.pose.pitch_deg),
        (bars.roll_speed, after.pose.roll_deg - before.pose.roll_deg),
        (bars.shift_speed, math.hypot(x, y) / eyes),
        (bars.size_speed, math.log(_height(after) / _height(before))),
    )
    return max(speed.share(change, seconds) for speed, change in changes)


def _height(seen: Seen) -> float:
    """From forehead to the base of the nose, px: turning aside does not shorten it."""
    x, y = (float(each) for each in seen.points[10, :2] - seen.points[2, :2])
    return max(math.hypot(x, y), 1.0)


def _seconds(before: Observation, after: Observation, bars: Bars) -> float:
    if before.captured_ms is None or after.captured_ms is None:
        return bars.untimed_seconds
    seconds = (after.captured_ms - before.captured_ms) / 1000.0
    return min(max(seconds, bars.shortest_seconds), bars.untimed_seconds)
