"""Which step is asked for now, and when each was done: one frame after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.liveness.challenge import Step
from pipeline.liveness.observation import Observation


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
    """An action of the face, by numbers of frames: where it began, was at its most, and ended."""

    step: Step
    start: int
    peak: int
    end: int


class Follower:
    """Follows a clip frame by frame, each in constant time; steps count in their order."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self.spans: list[Span] = []

    def add(self, observation: Observation) -> Progress:
        """Where the challenge stands after one more frame; frames come in their order."""
        del observation
        step = self._steps[0] if self._steps else None
        return Progress(step, 0, not self._steps)
