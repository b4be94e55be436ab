"""Whether a face answers to the light of the screen before it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.liveness.observation import Observation

_LAGS_S = tuple(step / 20.0 for step in range(13))  # a screen and a camera take up to 0.6 s
_SPREAD_MIN = 1e-6

Light = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a face took the light: `correlation` of its luma with the level that was asked for, -1
    to 1, at the lag that suits best; `gain` of its luma from darkest to brightest, share of its
    mean; `scene_gain`, the same of the whole picture. NaN where nothing was asked that changes.
    """

    correlation: float
    gain: float
    scene_gain: float


_NONE = Answer(math.nan, math.nan, math.nan)


def answer_to(frames: Sequence[Observation], light: Light) -> Answer:
    """The answer of a clip, each frame of which has a face, to `light`: from when on, ms by the
    clock of `received_ms`, and how bright, 0 to 1, in their order.
    """
    times = [frame.received_ms for frame in frames if frame.received_ms is not None]
    lumas = [frame.seen.luma for frame in frames if frame.seen is not None]
    if len(times) < len(frames) or len(lumas) < len(frames) or len(frames) < 3:
        return _NONE
    face = np.array(lumas)
    scene = np.array([frame.scene_luma for frame in frames])
    answers = [
        _answer(_levels(np.array(times) - 1000.0 * lag, light), face, scene) for lag in _LAGS_S
    ]
    known = [answer for answer in answers if math.isfinite(answer.correlation)]
    return max(known, key=lambda answer: answer.correlation, default=_NONE)


def _levels(times_ms: NDArray[np.float64], light: Light) -> NDArray[np.float64]:
    """The level asked for at each time; before the first, the first."""
    since = np.array([at_ms for at_ms, _ in light])
    levels = np.array([level for _, level in light])
    return np.asarray(levels[np.clip(np.searchsorted(since, times_ms, "right") - 1, 0, None)])


def _answer(
    levels: NDArray[np.float64], face: NDArray[np.float64], scene: NDArray[np.float64]
) -> Answer:
    centred = levels - levels.mean()
    spread = float(centred @ centred)
    face_off = face - face.mean()
    face_spread = float(face_off @ face_off)
    if not (spread > _SPREAD_MIN and face_spread > _SPREAD_MIN):
        return _NONE
    reach = float(np.ptp(levels)) / spread
    return Answer(
        float(centred @ face_off) / math.sqrt(spread * face_spread),
        reach * float(centred @ face_off) / max(float(face.mean()), 1.0),
        reach * float(centred @ scene) / max(float(scene.mean()), 1.0),
    )
