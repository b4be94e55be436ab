"""Which frames of a clip must not be forgotten: the few that dearer models look at."""

import hashlib
import math
from collections.abc import Sequence

from pipeline.evidence import Feedback
from pipeline.liveness.challenge import Asked, Step
from pipeline.liveness.follow import Follower, Progress
from pipeline.liveness.observation import Observation, Seen, is_usable

KEPT_MAX = 10
_BY_LOT = 4  # with a fifth of the frames replaced, two passed for 37 lots of 800
_EXTREMES_MAX = KEPT_MAX - _BY_LOT - 3  # beside best shot, first and last
# Of rendered turns of 35 to 42 degrees 3 in 30 read as another person at their furthest.
TURNED_DEG, NODDED_DEG = 25.0, 16.0
_Rank = tuple[bool, float]


class Keeper:
    """Chooses while the clip is running: best shot, first, extreme of each step, last, and four by
    lot.

    Frames without one face are never chosen. The best shot is, of the frames that are fit to
    compare if there is one, the one that looks most straight ahead. Those could be foreseen, and
    pictures of somebody else put in their places; the lot gives every frame a number that nobody
    knows.
    """

    def __init__(self, asked: Asked) -> None:
        self._steps = asked.steps
        self._lot = asked.lot
        self._first: int | None = None
        self._first_pitch_deg = 0.0
        self._last: int | None = None
        self._best: tuple[_Rank, int] | None = None
        self._done = 0
        self._extremes: list[tuple[float, int] | None] = [None] * len(self._steps)
        self._by_lot: list[tuple[bool, bytes, int]] = []

    @property
    def best_shot(self) -> int | None:
        """The frame to compare with the reference, None while no frame is fit for it."""
        return self._best[1] if self._best is not None and self._best[0][0] else None

    @property
    def nearest(self) -> int | None:
        """The best shot, or the frame that comes nearest to being one."""
        return None if self._best is None else self._best[1]

    @property
    def kept(self) -> tuple[int, ...]:
        """The frames chosen so far, ascending."""
        return tuple(sorted(self._kept()))

    def offer(self, observation: Observation, progress: Progress) -> frozenset[int]:
        """Numbers of the frames, at most `KEPT_MAX`, whose bytes are still wanted.

        `progress` is the Follower's after this very frame. Whatever is not in the answer may be
        forgotten; a number that was left out once never comes back.
        """
        seen = observation.seen
        if seen is not None and is_usable(observation):
            self._take(observation, seen)
        self._done = progress.done
        return self._kept()

    def _take(self, observation: Observation, seen: Seen) -> None:
        number, pose = observation.number, seen.pose
        if self._first is None:
            self._first, self._first_pitch_deg = number, pose.pitch_deg
        self._last = number
        aside = abs(pose.yaw_deg) + abs(pose.pitch_deg) + 0.5 * abs(pose.roll_deg)
        rank = (observation.feedback == (Feedback.OK,), -aside)
        if self._best is None or rank > self._best[0]:
            self._best = (rank, number)
        if self._done < min(len(self._steps), _EXTREMES_MAX):
            extent = _extent(self._steps[self._done], seen, self._first_pitch_deg)
            before = self._extremes[self._done]
            if before is None or extent > before[0]:
                self._extremes[self._done] = (extent, number)
        # A head turned far is hard to compare: it is drawn where there is no other.
        is_far = abs(pose.yaw_deg) > TURNED_DEG or abs(pose.pitch_deg) > NODDED_DEG
        drawn = hashlib.blake2b(number.to_bytes(4, "big"), key=self._lot, digest_size=8).digest()
        self._by_lot = sorted([*self._by_lot, (is_far, drawn, number)])[:_BY_LOT]

    def _kept(self) -> frozenset[int]:
        chosen = [each[1] for each in self._extremes if each is not None]
        chosen += [number for *_, number in self._by_lot]
        best = None if self._best is None else self._best[1]
        ends = (number for number in (best, self._first, self._last) if number is not None)
        return frozenset((*chosen, *ends))


def key_frames(asked: Asked, observations: Sequence[Observation]) -> tuple[int, ...]:
    """The frames, at most `KEPT_MAX`, ascending, that need a `Look`: what a Keeper has kept."""
    follower, keeper = Follower(asked.steps), Keeper(asked)
    kept: frozenset[int] = frozenset()
    for observation in observations:
        kept = keeper.offer(observation, follower.add(observation))
    return tuple(sorted(kept))


def _extent(step: Step, seen: Seen, first_pitch_deg: float) -> float:
    """How well a frame shows a step at its most, to be compared with others of its clip only.

    A head that is turned further than templates can be compared at shows less again.
    """
    match step:
        case Step.TURN_LEFT:
            return _up_to(TURNED_DEG, seen.pose.yaw_deg)
        case Step.TURN_RIGHT:
            return _up_to(TURNED_DEG, -seen.pose.yaw_deg)
        case Step.HEAD_TURN:
            return _up_to(TURNED_DEG, abs(seen.pose.yaw_deg))
        case Step.NOD:
            return _up_to(NODDED_DEG, abs(seen.pose.pitch_deg - first_pitch_deg))
        case Step.BLINK:
            return -math.inf if seen.eyes_open is None else -seen.eyes_open
        case Step.MOUTH_OPEN:
            return -math.inf if seen.mouth_open is None else seen.mouth_open


def _up_to(most: float, value: float) -> float:
    """Rises to `most` and falls again beyond it."""
    return most - abs(most - value)
