"""Which step is asked for now, and when each was done: one frame after the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.liveness.bars import DEFAULT_BARS, Bars
from pipeline.liveness.challenge import HEAD_STEPS, TURNS, Step
from pipeline.liveness.observation import Observation, is_usable
from pipeline.liveness.rest import Neutral, Posture, Rest
from pipeline.liveness.swing import Shape, Swing

_UNASKED_MAX = 16  # actions nobody asked for that are remembered; one is too many


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a challenge has come: `step` is the one asked for now, None after the last; `done`
    counts those behind it.
    """

    step: Step | None
    done: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Span:
    """An action of the face, by numbers of frames: where it began, was at its most, and ended.

    `height` is how far it went: degrees for the head, `Posture.shut` and `Posture.gape` for the
    rest. `step` is what was done, so never `HEAD_TURN`.
    """

    step: Step
    start: int
    peak: int
    end: int
    height: float


class Follower:
    """Follows a clip frame by frame, each in constant time; steps count in their order.

    An action counts when it began after the one before it had ended. Frames without one face are
    passed over. `neutral` is the rest of the clip where it is known beforehand; otherwise it is
    learnt on the way.
    """

    def __init__(
        self, steps: Sequence[Step], neutral: Neutral | None = None, bars: Bars = DEFAULT_BARS
    ) -> None:
        self._steps = tuple(steps)
        self._bars = bars
        self._rest = Rest(neutral, bars)
        self._swings = _swings(bars)
        self._free_from = -1
        self.spans: list[Span] = []
        self.unasked: list[Span] = []
        self.furthest: dict[Step, float] = {}
        self.posture: Posture | None = None

    @property
    def progress(self) -> Progress:
        """Where the challenge stands."""
        done = len(self.spans)
        is_complete = done == len(self._steps)
        return Progress(None if is_complete else self._steps[done], done, is_complete)

    def add(self, observation: Observation) -> Progress:
        """Where the challenge stands after one more frame; frames come in their order."""
        self.posture = None
        if is_usable(observation) and observation.seen is not None:
            seconds = None if observation.captured_ms is None else observation.captured_ms / 1000.0
            self.posture, is_new = self._rest.add(observation.seen, seconds)
            if is_new:
                for _, swing in self._swings:
                    swing.drop()
            if self.posture is not None:
                own_yaw = observation.seen.pose.yaw_deg
                self._look(observation.number, seconds, self.posture, own_yaw)
        return self.progress

    def end(self) -> Progress:
        """Where the challenge stands when no more frames come: what is under way counts."""
        for step, swing in self._swings:
            found = swing.end()
            if found is not None:
                self._take(Span(step, found.start, found.peak, found.end, found.height))
        return self.progress

    def _look(
        self, number: int, seconds: float | None, posture: Posture, own_yaw_deg: float
    ) -> None:
        values = _values(posture, own_yaw_deg, self._bars)
        found: list[Span] = []
        for step, swing in self._swings:
            read = values[step]
            if read is None:
                swing.drop()
                continue
            value = swing.sign * read
            if math.isnan(value):
                continue
            self.furthest[step] = max(self.furthest.get(step, 0.0), value)
            ended = swing.add(number, seconds, value)
            if ended is not None:
                found.append(Span(step, ended.start, ended.peak, ended.end, ended.height))
        for span in found:
            self._take(span)

    def _take(self, span: Span) -> None:
        asked = self.progress.step
        if asked is None:
            return
        if _answers(span.step, asked):
            if span.start >= self._free_from:
                self.spans.append(span)
                self._free_from = span.end
            return
        is_repeated = bool(self.spans) and self.spans[-1].step is span.step
        is_full = _is_full(span, self._bars)
        if is_full and not is_repeated and len(self.unasked) < _UNASKED_MAX:
            self.unasked.append(span)


def _answers(done: Step, asked: Step) -> bool:
    return done is asked or (asked is Step.HEAD_TURN and done in TURNS)


def _values(posture: Posture, own_yaw_deg: float, bars: Bars) -> dict[Step, float | None]:
    """How far each action has gone in a frame; NaN where it was not measured, None where it
    cannot be told.

    A turn also has to be one by the head's own angle, so that a clip that begins half turned has
    nothing to come back from. A head turned aside does not read as nodding, nor one that nods as
    blinking.
    """
    spare = bars.turn_deg - bars.turn_absolute_deg
    yaw, pitch = posture.yaw_deg, posture.pitch_deg
    is_aside = abs(yaw) > bars.nod_yaw_deg
    is_away = is_aside or abs(pitch) > bars.nod_deg
    return {
        Step.TURN_LEFT: min(yaw, own_yaw_deg + spare),
        Step.TURN_RIGHT: min(-yaw, -own_yaw_deg + spare),
        Step.NOD: None if is_aside else pitch,
        Step.BLINK: None if is_away else posture.shut,
        Step.MOUTH_OPEN: None if is_aside else posture.gape,
    }


def _swings(bars: Bars) -> tuple[tuple[Step, Swing], ...]:
    turn = Shape(
        0.4 * bars.turn_deg, bars.turn_deg, bars.back, 0.5 * bars.turn_deg, bars.turn_seconds
    )
    nod = Shape(0.4 * bars.nod_deg, bars.nod_deg, bars.back, 0.5 * bars.nod_deg, bars.nod_seconds)
    shut = Shape(0.5 * bars.shut, bars.shut, bars.back, 0.6 * bars.shut, bars.shut_seconds)
    gape = Shape(0.5 * bars.gape, bars.gape, bars.back, 0.5 * bars.gape, bars.gape_seconds)
    return (
        (Step.TURN_LEFT, Swing(turn)),
        (Step.TURN_RIGHT, Swing(turn)),
        (Step.NOD, Swing(nod)),
        (Step.NOD, Swing(nod, sign=-1.0)),
        (Step.BLINK, Swing(shut)),
        (Step.MOUTH_OPEN, Swing(gape)),
    )


def _is_full(span: Span, bars: Bars) -> bool:
    """Whether an action counts against who was not asked for it.

    What the head does always: were a smaller bar for what is asked than for what is not, one clip
    of small turns and nods would pass for every challenge. Everybody blinks, and talks a little.
    """
    if span.step is Step.MOUTH_OPEN:
        return span.height >= bars.unasked_gape
    return span.step in HEAD_STEPS
