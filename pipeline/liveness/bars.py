"""Where each rule of active liveness draws its line, each with its reason."""

import math
from dataclasses import dataclass

from pipeline.liveness.judgement import SCORE_MIN

ATTACK_SCORE, BONA_FIDE_SCORE = 0.05, 0.95
_BELOW = math.nextafter(SCORE_MIN, 0.0)  # however close to a bar, the wrong side of it fails


@dataclass(frozen=True, slots=True)
class Scale:
    """What a signal is worth: `attack` is what attacks typically show, which is 0.05; `bar` is the
    decision, 0.5; `bona_fide` is what people typically show, 0.95. They rise or fall strictly.
    """

    attack: float
    bar: float
    bona_fide: float

    def score(self, value: float) -> float:
        """Straight from one anchor to the next and on beyond them, within 0 and 1. NaN is 0."""
        if math.isnan(value):
            return 0.0
        sign = 1.0 if self.bona_fide > self.attack else -1.0
        margin = sign * (value - self.bar)
        if margin >= 0.0:
            share = margin / (sign * (self.bona_fide - self.bar))
            return min(SCORE_MIN + (BONA_FIDE_SCORE - SCORE_MIN) * share, 1.0)
        share = margin / (sign * (self.bar - self.attack))
        below = SCORE_MIN + (SCORE_MIN - ATTACK_SCORE) * share
        return max(min(below, _BELOW), 0.0)


@dataclass(frozen=True, slots=True)
class Speed:
    """What a head can do in a second, and by how much the mesh is off from frame to frame."""

    per_s: float
    noise: float

    def share(self, change: float, seconds: float) -> float:
        """A change over the greatest that could come about in that time."""
        return max(abs(change) - self.noise, 0.0) / (self.per_s * seconds)


@dataclass(frozen=True, slots=True)
class Bars:
    """Lines in the unit that the name ends in; shares and ratios have none.

    What was measured is in `.github/decisions/008-liveness.md`.
    """

    # Rest: what all angles, eyes and mouth are measured from.
    rest_yaw_deg: float = 12.0  # who looks into a phone reads within 8; a half turn is no rest
    rest_pitch_deg: float = 25.0  # phones are held low; frontal faces read within 20 of zero
    rest_frames: int = 10  # a second of them outlasts a natural blink
    rest_step_seconds: float = 0.1  # so that it is a second at any rate of frames
    rest_seconds: float = 1.2  # longer than anybody holds a nod: the head is held anew
    rest_shut_max: float = 0.25  # a blink is no rest of the eyes
    rest_gape_max: float = 0.05  # nor a word one of the mouth
    quiet_yaw_deg: float = 5.0
    quiet_pitch_deg: float = 4.0

    # Actions: how far from rest they have to go, and how long to stay.
    turn_deg: float = 15.0
    turn_seconds: float = 0.25
    turn_absolute_deg: float = 10.0
    nod_deg: float = 9.0
    nod_seconds: float = 0.15
    nod_yaw_deg: float = 12.0
    shut: float = 0.18
    shut_seconds: float = 0.32
    gape: float = 0.06
    gape_seconds: float = 0.15
    back: float = 0.5

    # Unasked actions of full size.
    unasked_turn_deg: float = 18.0
    unasked_nod_deg: float = 13.0
    unasked_gape: float = 0.1

    # Motion: what a head can do in a second, and the mesh's noise.
    yaw_speed: Speed = Speed(250.0, 4.0)
    pitch_speed: Speed = Speed(170.0, 4.0)
    roll_speed: Speed = Speed(170.0, 3.0)
    shift_speed: Speed = Speed(6.0, 0.05)
    size_speed: Speed = Speed(1.5, 0.05)
    stride_seconds: float = 0.1
    shortest_seconds: float = 0.03
    untimed_seconds: float = 0.5
    jump: Scale = Scale(1.5, 1.0, 0.25)
    zigzag_noise: float = 0.02
    zigzag_noise_px: float = 1.5
    zigzag_path: float = 0.3
    zigzag: Scale = Scale(2.0, 1.55, 1.0)

    # Repeats.
    same_marks: float = 0.03
    same_scene: float = 1.5
    still_marks: float = 0.012
    still_scene: float = 0.7
    loop_reach: float = 0.15
    copies: Scale = Scale(2.0, 0.5, 0.0)
    looped_frames: Scale = Scale(10.0, 3.5, 0.0)
    frozen_seconds: Scale = Scale(3.0, 1.5, 0.2)

    # Enough to judge.
    frames: Scale = Scale(3.0, 7.5, 20.0)
    frames_untimed: Scale = Scale(0.0, 2.5, 3.0)
    face_share: Scale = Scale(0.5, 0.75, 1.0)
    face_gap_seconds: Scale = Scale(3.0, 1.2, 0.1)

    # Steps.
    step_height: Scale = Scale(0.3, 1.0, 1.7)
    not_asked: Scale = Scale(1.0, 0.5, 0.0)

    # Depth.
    depth_share: float = 0.6
    depth_frames: int = 8
    rest_shapes: int = 5
    depth_moved_deg: float = 12.0
    turn_to_plane: Scale = Scale(-1.0, 0.45, 1.0)
    nod_to_plane: Scale = Scale(-1.5, 0.3, 0.9)
    turn_to_sheet: Scale = Scale(-0.3, 0.08, 0.42)
    nod_to_sheet: Scale = Scale(-0.8, -0.25, 0.15)

    # Clocks.
    rate_low: Scale = Scale(1.0, 3.0, 9.0)
    rate_high: Scale = Scale(120.0, 65.0, 30.0)
    clock_gap_seconds: Scale = Scale(3.0, 1.2, 0.1)
    clock_lead_seconds: Scale = Scale(5.0, 2.0, 0.0)
    clock_lag_seconds: Scale = Scale(-30.0, -10.0, 0.0)
    backwards: Scale = Scale(5.0, 0.5, 0.0)

    # Identity, light.
    identity: Scale = Scale(0.5, 0.99, 1.0)
    light_correlation: Scale = Scale(0.2, 0.88, 0.99)
    light_gain: Scale = Scale(0.0, 0.04, 0.2)
    light_beyond_scene: Scale = Scale(0.5, 1.1, 2.0)


DEFAULT_BARS = Bars()
