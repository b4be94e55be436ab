"""From the frames of a clip to a judgement: every reason against it, and how sure.

    no frame shows one face alone             -> not judged, the clip is to be taken again
    every rule's score is a half or more      -> passed
    any rule's score is less, or no number     -> not passed, with the doubt it stands for

The score of the clip is that of the rule that is least sure. What could not be assessed counts
against the clip.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.evidence import Feedback, Template
from pipeline.liveness.bars import DEFAULT_BARS
from pipeline.liveness.challenge import Asked, Step
from pipeline.liveness.findings import RULES, Viewed
from pipeline.liveness.follow import Follower
from pipeline.liveness.judgement import Doubt, Judgement, Look
from pipeline.liveness.keep import Keeper, key_frames
from pipeline.liveness.looks import is_alive, same_person
from pipeline.liveness.observation import Observation, is_usable
from pipeline.liveness.rest import neutral_of
from pipeline.liveness.signs.clock import timing_of
from pipeline.liveness.signs.relief import Framed

__all__ = ["judge", "key_frames"]


def judge(
    asked: Asked,
    observations: Sequence[Observation],
    looks: Mapping[int, Look],
    compare: Callable[[Template, Template], bool],
    light: Sequence[tuple[float, float]] = (),
) -> Judgement:
    """Judge a clip of one to some hundreds of frames, in their order.

    `looks` are those of `key_frames`; `compare` says whether two templates are of one person;
    `light` is what brightness was asked of the screen: from when on, ms by the clock of
    `received_ms`, and how bright, 0 to 1. Nothing is raised.
    """
    usable = [place for place, each in enumerate(observations) if is_usable(each)]
    if not usable:
        return _unjudged(observations)
    clip = _view(asked.steps, tuple(observations[usable[0] : usable[-1] + 1]), light)
    keeper = Keeper(asked)
    follower = Follower(asked.steps)
    for observation in observations:
        keeper.offer(observation, follower.add(observation))
    wanted = keeper.kept
    alive, passive = is_alive(wanted, looks)
    with np.errstate(all="ignore"):  # nonsense becomes NaN, and NaN a doubt
        found = [rule(clip) for rule in RULES]
    findings = [
        *found,
        same_person(wanted, looks, compare, DEFAULT_BARS),
        alive,
    ]
    doubts = {finding.doubt for finding in findings if finding.is_doubtful}
    signals = {
        signal.value: value for finding in findings for signal, value in finding.signals.items()
    }
    return Judgement(
        doubts=tuple(doubt for doubt in Doubt if doubt in doubts),
        score=min(finding.score for finding in findings),
        signals=signals,
        best_shot=keeper.best_shot,
        feedback=() if keeper.best_shot is not None else _hints(observations, keeper),
        passive_liveness=passive,
    )


def _view(
    steps: Sequence[Step],
    frames: tuple[Observation, ...],
    light: Sequence[tuple[float, float]],
) -> Viewed:
    """Follow the clip, from its first frame with one face to its last."""
    bars = DEFAULT_BARS
    usable = tuple(frame for frame in frames if is_usable(frame))
    timing = timing_of(frames)
    seen = [frame.seen for frame in usable if frame.seen is not None]
    # Without times there are few frames, and the first may be of any posture.
    follower = Follower(steps, neutral_of(seen, bars) if timing is None else None, bars)
    framed: list[Framed] = []
    for frame in frames:
        follower.add(frame)
        if frame.seen is not None and follower.posture is not None:
            framed.append(Framed(frame.number, frame.seen, follower.posture))
    if timing is None:
        follower.end()
    return Viewed(tuple(steps), frames, usable, tuple(framed), follower, timing, tuple(light), bars)


def _hints(observations: Sequence[Observation], keeper: Keeper) -> tuple[Feedback, ...]:
    """Why no frame is fit to compare: what stands against the one that comes nearest."""
    nearest = next((each for each in observations if each.number == keeper.nearest), None)
    hints = () if nearest is None else nearest.feedback
    return tuple(hint for hint in hints if hint is not Feedback.OK) or (Feedback.OTHER,)


def _unjudged(observations: Sequence[Observation]) -> Judgement:
    is_crowded = any(Feedback.MULTI_FACE in each.feedback for each in observations)
    hint = Feedback.MULTI_FACE if is_crowded else Feedback.FACE_NOT_FOUND
    return Judgement((), 0.0, {}, None, is_judged=False, feedback=(hint,))
