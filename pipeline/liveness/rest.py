"""How the head is held when it does nothing, and how far from that each frame is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.liveness.bars import DEFAULT_BARS, Bars
from pipeline.liveness.observation import Seen
from pipeline.liveness.swing import Recent


@dataclass(frozen=True, slots=True)
class Posture:
    """A frame against the clip's own rest.

    Angles in degrees with the signs of `Pose`. `shut` is the share by which the eyes are less open
    than at rest, 0 for open and towards 1 for shut; `gape` is how much further the mouth is open,
    in the unit of `Seen.mouth_open`. NaN where the frame did not say.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    shut: float
    gape: float


@dataclass(frozen=True, slots=True)
class Neutral:
    """The rest itself: angles in degrees, and the native openness of eyes and mouth."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    eyes_open: float
    mouth_open: float

    def posture(self, seen: Seen) -> Posture:
        """How far a frame is from here."""
        return Posture(
            seen.pose.yaw_deg - self.yaw_deg,
            seen.pose.pitch_deg - self.pitch_deg,
            seen.pose.roll_deg - self.roll_deg,
            1.0 - _number(seen.eyes_open) / self.eyes_open if self.eyes_open > 0.0 else math.nan,
            _number(seen.mouth_open) - self.mouth_open,
        )


def neutral_of(frames: Sequence[Seen], bars: Bars = DEFAULT_BARS) -> Neutral | None:
    """The rest of a whole clip, for few frames without times; None where no frame is frontal.

    The head rests as in the first frontal frame and those like it. Eyes are at rest when open and
    a mouth when closed: theirs is the median of the frames in which they are so more than in half.
    """
    first = next((seen.pose for seen in frames if _is_frontal(seen, bars)), None)
    if first is None:
        return None
    poses = [
        seen.pose
        for seen in frames
        if abs(seen.pose.yaw_deg - first.yaw_deg) <= bars.quiet_yaw_deg
        and abs(seen.pose.pitch_deg - first.pitch_deg) <= bars.quiet_pitch_deg
    ]
    eyes = sorted(value for seen in frames if (value := seen.eyes_open) is not None)
    mouths = sorted(value for seen in frames if (value := seen.mouth_open) is not None)
    return Neutral(
        median(pose.yaw_deg for pose in poses),
        median(pose.pitch_deg for pose in poses),
        median(pose.roll_deg for pose in poses),
        median(eyes[len(eyes) // 2 :]) if eyes else math.nan,
        median(mouths[: (len(mouths) + 1) // 2]) if mouths else math.nan,
    )


class Rest:
    """Learns the rest while the clip is running, in constant time for each frame.

    It is the median of the first frontal and quiet frames, `rest_frames` of them, not more than
    one in a tenth of a second. A head that is held still elsewhere, for longer than any action
    lasts, has found a new rest.
    """

    def __init__(self, neutral: Neutral | None = None, bars: Bars = DEFAULT_BARS) -> None:
        self._bars = bars
        self._neutral = neutral
        self._is_given = neutral is not None
        self._parts = [Recent(bars.rest_frames) for _ in range(5)]
        self._taken_at = -math.inf
        self._elsewhere: tuple[float, float, float] | None = None  # since, yaw, pitch

    def add(self, seen: Seen, seconds: float | None) -> tuple[Posture | None, bool]:
        """The frame's posture, None before there is a rest, and whether the rest is a new one."""
        if self._is_given:
            assert self._neutral is not None
            return self._neutral.posture(seen), False
        is_new = self._look(seen, seconds)
        return (None if self._neutral is None else self._neutral.posture(seen)), is_new

    def _look(self, seen: Seen, seconds: float | None) -> bool:
        bars, neutral = self._bars, self._neutral
        if neutral is None:
            if _is_frontal(seen, bars):
                self._take(seen, seconds)
            return False
        posture = neutral.posture(seen)
        is_quiet = (
            abs(posture.yaw_deg) <= bars.quiet_yaw_deg
            and abs(posture.pitch_deg) <= bars.quiet_pitch_deg
        )
        if is_quiet:
            self._elsewhere = None
            if len(self._parts[0]) < bars.rest_frames and _is_frontal(seen, bars):
                self._take(seen, seconds)
        elif self._is_held(seen, seconds):
            for part in self._parts:
                part.clear()
            self._take(seen, seconds)
            self._elsewhere = None
            return True
        return False

    def _is_held(self, seen: Seen, seconds: float | None) -> bool:
        """Whether the head has been still in this other place for long enough."""
        bars, pose = self._bars, seen.pose
        if seconds is None or not _is_frontal(seen, bars):
            self._elsewhere = None
            return False
        if self._elsewhere is not None:
            since, yaw, pitch = self._elsewhere
            is_near = (
                abs(pose.yaw_deg - yaw) <= bars.quiet_yaw_deg
                and abs(pose.pitch_deg - pitch) <= bars.quiet_pitch_deg
            )
            if is_near:
                return seconds - since >= bars.rest_seconds
        self._elsewhere = (seconds, pose.yaw_deg, pose.pitch_deg)
        return False

    def _take(self, seen: Seen, seconds: float | None) -> None:
        if seconds is not None and seconds - self._taken_at < self._bars.rest_step_seconds:
            return
        self._taken_at = -math.inf if seconds is None else seconds
        pose, bars, before = seen.pose, self._bars, self._neutral
        posture = before.posture(seen) if before is not None else None
        eyes, mouth = _number(seen.eyes_open), _number(seen.mouth_open)
        if posture is not None and posture.shut > bars.rest_shut_max:
            eyes = math.nan
        if posture is not None and posture.gape > bars.rest_gape_max:
            mouth = math.nan
        values = (pose.yaw_deg, pose.pitch_deg, pose.roll_deg, eyes, mouth)
        for part, value in zip(self._parts, values, strict=True):
            if math.isfinite(value):
                part.add(value)
        self._neutral = Neutral(*(part.median for part in self._parts))


def _is_frontal(seen: Seen, bars: Bars) -> bool:
    pose = seen.pose
    return abs(pose.yaw_deg) <= bars.rest_yaw_deg and abs(pose.pitch_deg) <= bars.rest_pitch_deg


def _number(value: float | None) -> float:
    return math.nan if value is None else value
