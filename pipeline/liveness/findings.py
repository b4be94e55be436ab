"""What each rule finds in a clip: a score, a doubt where it is below a half, and the signals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pipeline.liveness.bars import Bars
from pipeline.liveness.challenge import HEAD_STEPS, Step
from pipeline.liveness.follow import Follower, Span
from pipeline.liveness.judgement import SCORE_MIN, Doubt
from pipeline.liveness.observation import Observation
from pipeline.liveness.signals import Signal
from pipeline.liveness.signs.clock import Timing
from pipeline.liveness.signs.light import Light, answer_to
from pipeline.liveness.signs.motion import jump, scene_jump, zigzag
from pipeline.liveness.signs.relief import Framed, Relief, aside_frames, relief_of, rest_shape
from pipeline.liveness.signs.repeats import repeats_of

_CERTAIN = 0.95  # of a rule that has nothing against a clip, and no margin to tell
_DENIED_MAX = 0.45  # of a step that went far enough and yet was not done


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found; `doubt` is what its score stands against."""

    doubt: Doubt
    score: float
    signals: Mapping[Signal, float] = field(default_factory=dict)

    @property
    def is_doubtful(self) -> bool:
        """Whether the score is below a half; NaN is."""
        return not self.score >= SCORE_MIN


@dataclass(frozen=True, slots=True)
class Viewed:
    """A clip as the rules look at it.

    `frames` are all, from the first with one face to the last; `usable` those with one face, of
    which there is at least one; `framed` those of them with a posture.
    """

    steps: tuple[Step, ...]
    frames: tuple[Observation, ...]
    usable: tuple[Observation, ...]
    framed: tuple[Framed, ...]
    follower: Follower
    timing: Timing | None
    light: Light
    bars: Bars


def frames_found(clip: Viewed) -> Finding:
    """Enough frames with a face."""
    count = float(len(clip.usable))
    scale = clip.bars.frames_untimed if clip.timing is None else clip.bars.frames
    return Finding(Doubt.FRAMES_TOO_FEW, scale.score(count), {Signal.FRAMES: count})


def face_kept(clip: Viewed) -> Finding:
    """The face is in the picture all the time, or nearly."""
    share = len(clip.usable) / len(clip.frames)
    signals = {Signal.FACE_SHARE: share}
    score = clip.bars.face_share.score(share)
    times = [each.captured_ms for each in clip.usable if each.captured_ms is not None]
    if len(times) > 1:
        gap = max(after - before for before, after in pairwise(times)) / 1000.0
        signals[Signal.FACE_GAP_S] = gap
        score = min(score, clip.bars.face_gap_seconds.score(gap))
    return Finding(Doubt.FACE_LOST, score, signals)


def steps_seen(clip: Viewed) -> Finding:
    """Every step in its order; the score is of the one that went least far beyond its bar."""
    follower, bars = clip.follower, clip.bars
    heights = [span.height / bar_of(span.step, bars) for span in follower.spans]
    score = min((bars.step_height.score(height) for height in heights), default=_CERTAIN)
    asked = follower.progress.step
    if asked is not None:
        furthest = follower.furthest
        sides = (Step.TURN_LEFT, Step.TURN_RIGHT) if asked is Step.HEAD_TURN else (asked,)
        height = max(furthest.get(side, 0.0) / bar_of(side, bars) for side in sides)
        score = min(score, bars.step_height.score(height), _DENIED_MAX)
    signals = {Signal.STEPS_DONE: len(follower.spans) / max(len(clip.steps), 1)}
    return Finding(Doubt.STEP_NOT_SEEN, score, {**signals, **_reach(clip)})


def nothing_else_done(clip: Viewed) -> Finding:
    """Nothing was done that was not asked for at the time."""
    count = float(len(clip.follower.unasked))
    score = clip.bars.not_asked.score(count)
    return Finding(Doubt.STEP_NOT_ASKED, score, {Signal.STEPS_NOT_ASKED: count})


def has_depth(clip: Viewed) -> Finding:
    """Every swing of the head shows the depth of a head; without any, wherever it moved.

    A challenge of the face alone, in which the head kept still, is not judged by depth: then the
    signals do not speak of it.
    """
    if not clip.framed:
        return Finding(Doubt.HEAD_FLAT, 0.0)
    swings: Sequence[tuple[Step, Sequence[Framed]]] = [
        (span.step, _within(clip.framed, span))
        for span in clip.follower.spans
        if span.step in HEAD_STEPS
    ]
    if not swings:
        swings = list(aside_frames(clip.framed, clip.bars).items())
    if not swings:
        is_asked = not HEAD_STEPS.isdisjoint(clip.steps)
        return Finding(Doubt.HEAD_FLAT, 0.0 if is_asked else _CERTAIN)
    shape = rest_shape(clip.framed, clip.bars)
    weakest: Relief = min(
        (relief_of(shape, frames, step, clip.bars) for step, frames in swings),
        key=lambda relief: relief.score,
    )
    signals = {
        Signal.DEPTH_TO_PLANE: weakest.to_plane,
        Signal.DEPTH_TO_SHEET: weakest.to_sheet,
        Signal.PLANE_ERROR: weakest.plane_error,
    }
    return Finding(Doubt.HEAD_FLAT, weakest.score, signals)


def moves_smoothly(clip: Viewed) -> Finding:
    """No change from frame to frame that a head cannot make, and a way that leads somewhere."""
    bars = clip.bars
    signals = {Signal.JUMP: jump(clip.usable, bars)}
    score = bars.jump.score(signals[Signal.JUMP])
    if clip.timing is not None:  # frames that were picked out of a motion may lie anywhere on it
        swings = [
            _on_the_way(clip, span) for span in clip.follower.spans if span.step in HEAD_STEPS
        ]
        if swings:
            signals[Signal.ON_THE_WAY] = float(min(swings))
            score = min(score, bars.on_the_way.score(signals[Signal.ON_THE_WAY]))
        signals[Signal.ZIGZAG] = zigzag(clip.usable, bars)
        signals[Signal.SCENE_JUMP] = scene_jump(clip.usable)
        score = min(
            score,
            bars.zigzag.score(signals[Signal.ZIGZAG]),
            bars.scene_jump.score(signals[Signal.SCENE_JUMP]),
        )
    return Finding(Doubt.MOTION_BROKEN, score, signals)


def comes_once(clip: Viewed) -> Finding:
    """No bytes, no stretch and no stillness that a recording would have."""
    bars, found = clip.bars, repeats_of(clip.usable, clip.bars)
    copies = float(len(clip.frames) - len({frame.digest for frame in clip.frames}))
    score = min(
        bars.copies.score(copies),
        bars.looped_frames.score(float(found.looped)),
        bars.frozen_seconds.score(found.frozen_s),
    )
    signals = {
        Signal.COPIES: copies,
        Signal.FROZEN_S: found.frozen_s,
        Signal.LOOPED_FRAMES: float(found.looped),
    }
    return Finding(Doubt.FRAMES_REPEATED, score, signals)


def keeps_time(clip: Viewed) -> Finding:
    """Clocks that run forwards, at the rate of a camera, as fast here as there."""
    timing, bars = clip.timing, clip.bars
    if timing is None:
        return Finding(Doubt.CLOCK_IMPLAUSIBLE, _CERTAIN)
    score = min(
        bars.backwards.score(float(timing.backwards)),
        bars.rate_low.score(timing.frames_per_s),
        bars.rate_high.score(timing.frames_per_s),
        bars.clock_gap_seconds.score(timing.gap_s),
        bars.clock_lead_seconds.score(timing.lead_s),
        bars.clock_lag_seconds.score(timing.lead_s),
    )
    signals = {
        Signal.FRAMES_PER_S: timing.frames_per_s,
        Signal.CLOCK_BACKWARDS: float(timing.backwards),
        Signal.CLOCK_GAP_S: timing.gap_s,
        Signal.CLOCK_LEAD_S: timing.lead_s,
    }
    return Finding(Doubt.CLOCK_IMPLAUSIBLE, score, signals)


def answers_light(clip: Viewed) -> Finding:
    """The face brightens with the screen, and more than what is behind it, where that was asked."""
    if not clip.light:
        return Finding(Doubt.LIGHT_NOT_ANSWERED, _CERTAIN)
    bars, answer = clip.bars, answer_to(clip.usable, clip.light)
    score = min(
        bars.light_correlation.score(answer.correlation),
        bars.light_gain.score(answer.gain),
        bars.light_beyond_scene.score(answer.gain / max(answer.scene_gain, 1e-3)),
    )
    signals = {
        Signal.LIGHT_CORRELATION: answer.correlation,
        Signal.LIGHT_GAIN: answer.gain,
        Signal.LIGHT_SCENE_GAIN: answer.scene_gain,
    }
    return Finding(Doubt.LIGHT_NOT_ANSWERED, score, signals)


RULES: tuple[Callable[[Viewed], Finding], ...] = (
    frames_found,
    face_kept,
    steps_seen,
    nothing_else_done,
    has_depth,
    moves_smoothly,
    comes_once,
    keeps_time,
    answers_light,
)


def bar_of(step: Step, bars: Bars) -> float:
    """How far an action has to go, in its own unit."""
    if step is Step.NOD:
        return bars.nod_deg
    if step is Step.BLINK:
        return bars.shut
    return bars.gape if step is Step.MOUTH_OPEN else bars.turn_deg


def _within(framed: Sequence[Framed], span: Span) -> list[Framed]:
    return [frame for frame in framed if span.start <= frame.number <= span.end]


def _on_the_way(clip: Viewed, span: Span) -> int:
    """In how many frames of a swing of the head it is neither at rest nor where it goes."""
    is_nod, (low, high) = span.step is Step.NOD, clip.bars.way
    swung = _within(clip.framed, span)
    angles = [each.posture.pitch_deg if is_nod else each.posture.yaw_deg for each in swung]
    furthest = max(angles, key=abs, default=0.0) or 1.0
    return sum(low < angle / furthest < high for angle in angles)


def _reach(clip: Viewed) -> dict[Signal, float]:
    """How far each part of the face went from its rest, the furthest of all frames."""
    postures = [frame.posture for frame in clip.framed]
    if not postures:
        return {}
    furthest = clip.follower.furthest
    return {
        Signal.YAW_LEFT_DEG: max(0.0, *(each.yaw_deg for each in postures)),
        Signal.YAW_RIGHT_DEG: max(0.0, *(-each.yaw_deg for each in postures)),
        Signal.PITCH_DEG: max(0.0, *(abs(each.pitch_deg) for each in postures)),
        Signal.ROLL_DEG: max(0.0, *(abs(each.roll_deg) for each in postures)),
        Signal.EYES_SHUT: furthest.get(Step.BLINK, 0.0),
        Signal.MOUTH_GAPE: furthest.get(Step.MOUTH_OPEN, 0.0),
    }
