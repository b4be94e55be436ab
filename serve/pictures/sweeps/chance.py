"""Error rates at a threshold, and thresholds for error rates, out of a calibration."""

import math
from collections.abc import Callable, Iterator

from serve.domain.search.evidence import ERRORS_MIN
from serve.domain.sweeps.calibration import (
    Calibration,
    bin_of,
    edge_of,
    expected,
    threshold_for,
)
from serve.pictures.sweeps.content import Chance, Curve, CurvePoint, Suggested

TARGETS = (1e-1, 1e-2, 1e-3, 1e-4)
STEPS = 60  # points of a curve
GROWN = 10  # times the gallery, how far curves go
SIZE_MIN = 10


def chance_of(
    calibration: Calibration, threshold: float, floor: float, similarity: Callable[[float], float]
) -> Chance:
    """What `calibration` says of a sweep with this native `threshold`. Below the native `floor` no
    threshold is suggested; `similarity` maps native scores.
    """
    at = max(threshold, calibration.complete_from)
    share = calibration.fpir(at)
    size = calibration.gallery_size
    chance = expected(calibration, at, size)
    return Chance(
        sweep_id=calibration.sweep_id,
        gallery_size=size,
        expires_at_size=calibration.expires_at_size,
        pairs=calibration.pairs,
        impostors=calibration.impostors_from(at),
        rate=share.rate,
        low=share.low,
        high=share.high,
        expected=chance.expected,
        expected_max=chance.upper_bound,
        confirmed=calibration.confirmed,
        presumed=calibration.presumed,
        unreviewed=calibration.unreviewed,
        suggested=tuple(_suggested(calibration, each, floor, similarity) for each in TARGETS),
        curves=tuple(
            Curve(target, points)
            for target in TARGETS
            if (points := tuple(_points(calibration, target, similarity)))
        ),
    )


def _suggested(
    calibration: Calibration, target: float, floor: float, similarity: Callable[[float], float]
) -> Suggested:
    found = threshold_for(calibration, target, floor)
    if found is None:
        return Suggested(target, None, 0.0, 0.0, 1.0)
    return Suggested(target, similarity(found.threshold), found.fpir, found.low, found.high)


def _points(
    calibration: Calibration, target: float, similarity: Callable[[float], float]
) -> Iterator[CurvePoint]:
    """The pairs of strangers that may score a threshold or more are what the target leaves of all,
    shared out among as many searches as the gallery has faces.
    """
    last = max(SIZE_MIN, calibration.gallery_size) * GROWN
    steps = math.log(last / SIZE_MIN) / STEPS
    for size in sorted({round(SIZE_MIN * math.exp(step * steps)) for step in range(STEPS + 1)}):
        errors_max = target * calibration.pairs / size
        if errors_max < 1:
            return
        score = _lowest(calibration, errors_max)
        if score is not None:
            yield CurvePoint(size, similarity(score), errors_max >= ERRORS_MIN)


def _lowest(calibration: Calibration, errors_max: float) -> float | None:
    """The lowest edge at or above which at most so many strangers score; None where it lies below
    what is known.
    """
    errors = 0
    for place in sorted(calibration.impostors, reverse=True):
        errors += calibration.impostors[place]
        if errors > errors_max:
            found = edge_of(place + 1)
            return found if place >= bin_of(calibration.complete_from) else None
    return None
