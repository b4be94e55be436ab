"""Whether pictures come more than once: one that stands, and a stretch of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.liveness.bars import DEFAULT_BARS, Bars
from pipeline.liveness.observation import Observation
from pipeline.liveness.signs.motion import marks_of

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Repeats:
    """What comes again in a clip.

    `frozen_s` is the longest time in seconds, 0 where times are not known, in which neither face
    nor picture moved by more than the unrest of a camera and a mesh. `looped` is the longest run
    of frames that another run follows picture by picture while the head moves.
    """

    frozen_s: float
    looped: int


def repeats_of(frames: Sequence[Observation], bars: Bars = DEFAULT_BARS) -> Repeats:
    """The repeats of a clip, each frame of which has a face; at most some hundreds."""
    if len(frames) < 3:
        return Repeats(0.0, 0)
    marks = marks_of([frame.seen for frame in frames if frame.seen is not None])
    scenes = np.stack([frame.scene.ravel() for frame in frames]).astype(np.float32)
    apart = _distances(marks) / (marks.shape[1] / 2) ** 0.5
    scene_apart = _distances(scenes) / scenes.shape[1] ** 0.5
    is_same = (apart <= bars.same_marks) & (scene_apart <= bars.same_scene)
    is_still = (apart <= bars.still_marks) & (scene_apart <= bars.still_scene)
    return Repeats(_frozen_s(frames, is_still), _looped(is_same, marks, bars))


def _frozen_s(frames: Sequence[Observation], is_still: Flags) -> float:
    """The longest time for which all frames stay like the first of them."""
    longest = 0.0
    for start, row in enumerate(is_still):
        moved = np.flatnonzero(~row[start:])
        last = frames[start + int(moved[0]) - 1 if moved.size else -1]
        before = frames[start].captured_ms
        if before is not None and last.captured_ms is not None:
            longest = max(longest, (last.captured_ms - before) / 1000.0)
    return longest


def _looped(is_same: Flags, marks: NDArray[np.float64], bars: Bars) -> int:
    """The longest run along a diagonal whose frames differ from each other by enough."""
    longest = 0
    count = len(is_same)
    for lag in range(2, count - 2):
        alike = np.diagonal(is_same, lag)
        if int(alike.sum()) <= longest:
            continue
        for start, end in _runs(alike):
            moved = marks[start:end]
            reach = np.ptp(moved, axis=0).max()
            # What follows itself so closely only because nothing moves is no loop.
            drift = np.abs(marks[start + lag] - marks[start + 1 : start + lag]).max()
            if reach >= bars.loop_reach and drift >= bars.loop_reach:
                longest = max(longest, end - start)
    return longest


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """Where runs of true begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _distances(rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Euclidean distances between all rows, `(N, N)` float64."""
    wide = rows.astype(np.float64)
    wide = wide - wide.mean(axis=0)
    squares = (wide * wide).sum(axis=1)
    product = squares[:, np.newaxis] + squares - 2.0 * (wide @ wide.T)
    return np.asarray(np.sqrt(np.maximum(product, 0.0)))
