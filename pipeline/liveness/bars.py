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
    """Lines and scales, each with its reason; units are those that the names end in.

    "Rendered" are 178 performances of 17 people by one photo each, 5 to 20 frames a second; "flat"
    190 prints, puppets and cut-outs, tilted 30 to 65 degrees; "bent" 130 prints over cylinders.
    """

    # Rest: what angles, eyes and mouth are measured from.
    rest_yaw_deg: float = 12.0  # who looks into a phone reads within 8; a half turn is no rest
    rest_pitch_deg: float = 25.0  # phones are held low; frontal faces read within 20 of zero
    rest_frames: int = 10  # a second, of which a natural blink is a fifth
    rest_step_seconds: float = 0.1  # so that it is a second at any rate of frames
    rest_seconds: float = 1.2  # longer than anybody holds a nod: the head is held anew
    rest_shut_max: float = 0.25  # a blink is no rest of the eyes
    rest_gape_max: float = 0.05  # nor a word one of the mouth
    quiet_yaw_deg: float = 5.0  # heads at rest sway by 1 to 3
    quiet_pitch_deg: float = 4.0  # as far, but nods are smaller than turns

    # Actions: how far from rest they go, and how long they stay above half of their bar.
    turn_deg: float = 15.0  # rendered turns of 17 to 28 read as 15 to 35; unasked, heads reach 5
    turn_absolute_deg: float = 10.0  # of the head's own angle: a clip cannot begin half turned
    turn_seconds: float = 0.25  # there and back takes a head half a second
    nod_deg: float = 9.0  # rendered nods of 9 to 16 read as 11 to 24; unasked, heads reach 7
    nod_yaw_deg: float = 12.0  # further aside, pitch follows yaw
    nod_seconds: float = 0.15  # the fastest nods
    shut: float = 0.18  # rendered blinks 0.21 to 0.57; open eyes 0.14 at most
    shut_seconds: float = 0.32  # between frames; natural blinks of 0.2 s read as up to 0.28
    gape: float = 0.06  # rendered mouths 0.11 to 0.20; closed ones 0.04 at most
    gape_seconds: float = 0.15  # a syllable
    back: float = 0.5  # an action is over when half of it is taken back
    unasked_gape: float = 0.14  # talking and smiling open a mouth less; what heads do is all told
    step_height: Scale = Scale(0.33, 1.0, 1.9)  # over the bar: flat prints read a third of it
    not_asked: Scale = Scale(1.0, 0.5, 0.0)  # one is too many

    # Enough to judge.
    frames: Scale = Scale(3.0, 7.5, 20.0)  # two steps at 3 a second
    frames_untimed: Scale = Scale(0.0, 2.5, 3.0)  # rest, and an action
    face_share: Scale = Scale(0.5, 0.75, 1.0)  # far turned, a detector loses one in ten
    face_gap_seconds: Scale = Scale(3.0, 1.2, 0.1)  # shorter than a change of faces by hand

    # Depth. Pairs of real photos of one person, turned 15 degrees or more from each other and with
    # other faces: to plane 5 % below 0.54, to sheet 5 % below 0.17; nodded: 0.28 and -0.12.
    depth_share: float = 0.6  # of the way: nearer to rest, noise is as large as depth
    depth_frames: int = 8  # enough for a median
    depth_moved_deg: float = 12.0  # where no head step is asked, less says nothing of depth
    rest_shapes: int = 5  # their mean has half the noise of one
    turn_to_plane: Scale = Scale(-0.25, 0.58, 1.02)  # rendered 0.61 or more; flat 0.49 at most
    nod_to_plane: Scale = Scale(-1.5, 0.3, 0.91)  # rendered 0.65 or more; flat below -0.64
    turn_to_sheet: Scale = Scale(-0.9, 0.05, 0.42)  # rendered 0.06 or more; flat below -0.39
    nod_to_sheet: Scale = Scale(-1.8, -0.25, 0.15)  # rendered -0.07 or more; bent 98 % below

    # Motion: what a head can do in a second, and the mesh's noise.
    yaw_speed: Speed = Speed(250.0, 4.0)  # rendered 96 degrees a second at most
    pitch_speed: Speed = Speed(170.0, 4.0)  # 111
    roll_speed: Speed = Speed(170.0, 3.0)  # 50
    shift_speed: Speed = Speed(6.0, 0.05)  # 2 distances between the eyes: 40 cm a second is 6
    size_speed: Speed = Speed(1.5, 0.05)  # 1.0: an arm's length towards the camera
    stride_seconds: float = 0.1  # below it, noise is as large as motion
    shortest_seconds: float = 0.03  # a clock that stands still is judged by itself
    untimed_seconds: float = 0.5  # between frames of which nothing is known
    jump: Scale = Scale(1.5, 1.0, 0.22)  # rendered 0.45 at most
    scene_jump: Scale = Scale(100.0, 40.0, 11.0)  # rendered 25 at most; spliced 52 or more
    way: tuple[float, float] = (0.2, 0.8)  # shares of a swing's height between which it is passing
    on_the_way: Scale = Scale(0.0, 0.5, 3.0)  # photos by turns 0; rendered from 5 a second on 1
    zigzag_noise: float = 0.02  # of marks from frame to frame, distances between the eyes
    zigzag_noise_px: float = 1.5  # of small faces
    zigzag_path: float = 0.3  # a shorter way leads nowhere by chance
    zigzag: Scale = Scale(2.0, 1.55, 0.97)  # rendered 1.37 at most; 2 % of shuffled less than 1.55

    # Repeats.
    same_marks: float = 0.03  # a picture coded anew is within 0.01 of itself
    same_scene: float = 1.5  # grey levels; coded anew within 0.6
    loop_reach: float = 0.15  # within a run and outside it: a third of the smallest step
    looped_frames: Scale = Scale(10.0, 3.5, 0.0)  # rendered 0; loops coded anew 4 to 25
    copies: Scale = Scale(2.0, 0.5, 0.0)  # no camera gives the same bytes twice
    still_marks: float = 0.012  # a picture coded anew; heads move twice as much in a second
    still_scene: float = 0.7
    frozen_seconds: Scale = Scale(3.0, 1.5, 0.1)  # rendered 0.22 at most

    # Clocks.
    rate_low: Scale = Scale(1.0, 3.0, 9.0)  # per second; fewer do not show a blink
    rate_high: Scale = Scale(120.0, 65.0, 30.0)  # per second; phones give 60
    clock_gap_seconds: Scale = Scale(3.0, 1.2, 0.1)  # room for a cut
    clock_lead_seconds: Scale = Scale(5.0, 2.0, 0.0)  # frames held back by a lost connection
    clock_lag_seconds: Scale = Scale(-30.0, -10.0, 0.0)  # a slow network; longer, and it was made
    backwards: Scale = Scale(5.0, 0.5, 0.0)  # monotone clocks are

    # Identity, light.
    identity: Scale = Scale(0.5, 0.99, 1.0)  # one stranger is one too many
    light_correlation: Scale = Scale(0.2, 0.88, 0.99)  # lit 0.93 or more; not lit 0.84 at most
    light_gain: Scale = Scale(0.0, 0.04, 0.2)  # of a bright screen in a room; noise is a tenth
    light_beyond_scene: Scale = Scale(0.5, 1.1, 2.0)  # faces are nearer to the screen than walls


DEFAULT_BARS = Bars()
