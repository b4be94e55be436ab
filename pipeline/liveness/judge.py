"""From the frames of a clip to a judgement: every reason against it, and how sure."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.evidence import Template
from pipeline.liveness.challenge import Step
from pipeline.liveness.follow import Follower
from pipeline.liveness.judgement import Doubt, Judgement, Look
from pipeline.liveness.keep import Keeper
from pipeline.liveness.observation import Observation


def key_frames(steps: Sequence[Step], observations: Sequence[Observation]) -> tuple[int, ...]:
    """The frames, at most `KEPT_MAX`, ascending, that need a `Look`: what a Keeper has kept."""
    follower, keeper = Follower(steps), Keeper(steps)
    kept: frozenset[int] = frozenset()
    for observation in observations:
        kept = keeper.offer(observation, follower.add(observation))
    return tuple(sorted(kept))


def judge(
    steps: Sequence[Step],
    observations: Sequence[Observation],
    looks: Mapping[int, Look],
    compare: Callable[[Template, Template], bool],
    light: Sequence[tuple[float, float]] = (),
) -> Judgement:
    """Judge a clip, frames in their order.

    `looks` are those of `key_frames`; `compare` says whether two templates are of one person;
    `light` is what brightness was asked of the screen: when, by the clock of `received_ms`, and
    how much, 0 to 1.
    """
    del steps, observations, looks, compare, light
    return Judgement((Doubt.STEP_NOT_SEEN,), 0.0, {}, None)
