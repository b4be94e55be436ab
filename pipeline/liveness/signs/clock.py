"""Whether the times of the frames are such as a camera and a network give."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.liveness.observation import Observation


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks of a clip.

    `backwards` counts frames that were not captured after the one before, or arrived before it;
    `frames_per_s` is their mean rate; `gap_s` the longest time between two; `lead_s` by how much
    the capture took longer than the arrival, seconds: a file that is sent at once takes no time.
    0 where the times of arrival are not known, or are one for all.
    """

    backwards: int
    frames_per_s: float
    gap_s: float
    lead_s: float


def timing_of(frames: Sequence[Observation]) -> Timing | None:
    """The timing of a clip; None where no frame has times. A time that only some frames have, or
    that is no number, makes all of it NaN.
    """
    captured = [frame.captured_ms for frame in frames]
    known = [each for each in captured if each is not None]
    if not known:
        return None
    if len(known) < len(captured) or not all(map(math.isfinite, known)) or len(known) < 2:
        return Timing(len(captured), math.nan, math.nan, math.nan)
    gaps = [after - before for before, after in pairwise(known)]
    span_s = (known[-1] - known[0]) / 1000.0
    received = [frame.received_ms for frame in frames if frame.received_ms is not None]
    late = sum(after < before for before, after in pairwise(received))
    arrival_s = (received[-1] - received[0]) / 1000.0 if len(received) == len(known) else 0.0
    return Timing(
        sum(gap <= 0 for gap in gaps) + late,
        (len(known) - 1) / span_s if span_s > 0 else math.nan,
        max(gaps) / 1000.0,
        span_s - arrival_s if arrival_s > 0.0 else 0.0,
    )
