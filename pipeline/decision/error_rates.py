"""How often comparisons err, in the terms of ISO/IEC 19795-1.

A score says how alike two templates are; a comparison matches when score >= threshold.

    FMR    impostor comparisons that match / impostor comparisons made
    FNMR   genuine comparisons that do not match / genuine comparisons made
    FTE    images that gave no template / images tried; counted apart from the comparisons
    GFMR   as FMR, and GFNMR as FNMR, over all comparisons wanted: one that a failure to enrol
           prevented counts as a non-match. With L the share of comparisons so lost,
           GFMR = (1 - L) FMR over impostors and GFNMR = L + (1 - L) FNMR over genuine pairs.

L is counted, not inferred from FTE, because failures cluster in a few subjects. Intervals are
Clopper-Pearson, exact for independent trials; comparisons that share an image or a person are
not independent, and then the truth is less certain than the interval says.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.errors import Code, PipelineError

CONFIDENCE = 0.95
DET_POINTS_MAX = 256

Floats = NDArray[np.float64]  # (N,) float64


@dataclass(frozen=True, slots=True)
class Proportion:
    """Errors counted in trials, with an interval that covers the true rate in 95 % of samples.

    Without trials nothing is known: `rate` is None and the interval is all of [0, 1].
    """

    errors: int
    trials: int
    rate: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DetPoint:
    """One operating point of the detection error trade-off."""

    threshold: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, slots=True)
class DetCurve:
    """The trade-off at rising thresholds: `fmr` falls from 1 to 0, `fnmr` rises from 0 to 1.

    All three are `(P,)` float64, of length 0 where one of the score sets is empty.
    """

    thresholds: Floats
    fmr: Floats
    fnmr: Floats

    def points(self) -> tuple[DetPoint, ...]:
        """The same curve as plain values."""
        columns = (self.thresholds.tolist(), self.fmr.tolist(), self.fnmr.tolist())
        return tuple(DetPoint(*point) for point in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """What one set of genuine and impostor comparisons says at one threshold, and at all."""

    fmr: Proportion
    fnmr: Proportion
    gfmr: Proportion
    gfnmr: Proportion
    auc: float | None
    eer: float | None
    det: tuple[DetPoint, ...]


def measure(
    genuine: Floats,
    impostor: Floats,
    threshold: float,
    *,
    genuine_lost: int = 0,
    impostor_lost: int = 0,
) -> ErrorRates:
    """All rates of these scores, `(G,)` and `(I,)` float64; `*_lost` were wanted but not made.

    Raises `wrong_shape` for a NaN or infinite score, a NaN threshold or a negative loss.
    """
    if np.isnan(threshold):
        raise PipelineError(Code.WRONG_SHAPE, "the threshold is NaN")  # it would flatter the FMR
    curve = det_curve(genuine, impostor)
    false_matches = int(np.count_nonzero(impostor >= threshold))
    false_non_matches = int(np.count_nonzero(genuine < threshold))
    return ErrorRates(
        fmr=proportion(false_matches, impostor.size),
        fnmr=proportion(false_non_matches, genuine.size),
        gfmr=proportion(false_matches, impostor.size + impostor_lost),
        gfnmr=proportion(false_non_matches + genuine_lost, genuine.size + genuine_lost),
        auc=area_under_curve(genuine, impostor),
        eer=equal_error_rate(curve),
        det=thinned(curve, DET_POINTS_MAX).points(),
    )


def proportion(errors: int, trials: int) -> Proportion:
    """`errors` of `trials` with the Clopper-Pearson interval at 95 %, 2.5 % on each side.

    Without errors the upper bound is 1 - 0.025^(1/n), about 3.7/n; the well-known rule of 3,
    3/n, is the one-sided bound of the same kind. Raises `wrong_shape` unless
    0 <= errors <= trials.
    """
    if not 0 <= errors <= trials:
        raise PipelineError(Code.WRONG_SHAPE, f"{errors} errors in {trials} trials")
    tail = (1.0 - CONFIDENCE) / 2.0
    right = trials - errors
    low = float(special.betaincinv(errors, right + 1, tail)) if errors > 0 else 0.0
    high = float(special.betaincinv(errors + 1, right, 1.0 - tail)) if right > 0 else 1.0
    return Proportion(errors, trials, errors / trials if trials > 0 else None, low, high)


def rare_errors_upper(errors: int) -> float:
    """How many errors are expected at most where `errors` were seen among very many trials.

    The exact one-sided 95 % bound of a Poisson mean: 3.0 where none was seen (the rule of 3), 4.7
    for one, 15.7 for nine. Raises `wrong_shape` for a negative number.
    """
    if errors < 0:
        raise PipelineError(Code.WRONG_SHAPE, f"{errors} errors")
    return float(special.gammaincinv(errors + 1, CONFIDENCE))


def area_under_curve(genuine: Floats, impostor: Floats) -> float | None:
    """The chance that a genuine score exceeds an impostor's, a tie counting half; exact.

    None where one of the sets is empty. Raises `wrong_shape` for a NaN or infinite score.
    """
    genuine, impostor = _ascending(genuine), _ascending(impostor)
    if genuine.size == 0 or impostor.size == 0:
        return None
    below = int(np.searchsorted(impostor, genuine, side="left").sum())
    not_above = int(np.searchsorted(impostor, genuine, side="right").sum())
    return (below + not_above) / (2 * genuine.size * impostor.size)


def det_curve(genuine: Floats, impostor: Floats) -> DetCurve:
    """The operating point at every distinct score, and one just above the highest.

    Raises `wrong_shape` for a NaN or infinite score.
    """
    genuine, impostor = _ascending(genuine), _ascending(impostor)
    if genuine.size == 0 or impostor.size == 0:
        nothing = np.empty(0)
        return DetCurve(nothing, nothing, nothing)
    scores = np.unique(np.concatenate([genuine, impostor]))
    thresholds = np.append(scores, np.nextafter(scores[-1], np.inf))
    rejected_impostors = np.searchsorted(impostor, thresholds, side="left")
    return DetCurve(
        thresholds,
        (impostor.size - rejected_impostors) / impostor.size,
        np.searchsorted(genuine, thresholds, side="left") / genuine.size,
    )


def equal_error_rate(curve: DetCurve) -> float | None:
    """Where FMR = FNMR on the curve joined by straight lines; None for an empty curve."""
    if curve.thresholds.size == 0:
        return None
    excess = curve.fnmr - curve.fmr  # rises strictly, from -1 to 1: it crosses 0 exactly once
    after = int(np.argmax(excess >= 0.0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    return float(curve.fnmr[before] + share * (curve.fnmr[after] - curve.fnmr[before]))


def thinned(curve: DetCurve, points_max: int) -> DetCurve:
    """At most `points_max` (>= 2) of the points, both ends kept, evenly spread as drawn.

    Even along the curve on normal-deviate axes, because the tail of rare errors, which a DET
    plot exists to show, holds few of the scores and would be lost by thinning evenly by count.
    """
    if curve.thresholds.size <= points_max:
        return curve
    # Rates of 0 and 1 lie infinitely far out; here, where a quarter of the least step would be.
    rates = np.concatenate([curve.fmr, curve.fnmr])
    rates = np.minimum(rates, 1.0 - rates)
    edge = float(np.min(rates, where=rates > 0.0, initial=1.0)) / 4.0
    drawn = [normal_deviate(np.clip(rate, edge, 1.0 - edge)) for rate in (curve.fmr, curve.fnmr)]
    steps = sum(np.abs(np.diff(axis)) for axis in drawn)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    marks = np.linspace(0.0, travelled[-1], points_max)
    kept = np.unique(np.searchsorted(travelled, marks, side="left"))
    return DetCurve(curve.thresholds[kept], curve.fmr[kept], curve.fnmr[kept])


def normal_deviate(rate: Floats) -> Floats:
    """The standard normal quantile of each rate in (0, 1): the axis of a DET plot."""
    return np.asarray(special.ndtri(rate), np.float64)


def _ascending(scores: Floats) -> Floats:
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise PipelineError(Code.WRONG_SHAPE, f"scores {scores.shape} must be finite, in one row")
    return np.sort(scores)
