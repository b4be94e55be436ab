"""From which scores on likeness makes a ring, by what the sweep itself shows of chance."""

from index.rings.edges import Rules
from serve.domain.search.evidence import ERRORS_MIN
from serve.domain.sweeps.calibration import BINS, Calibration, edge_of
from serve.domain.sweeps.mates import SMALL_MAX
from serve.domain.sweeps.sweep import Sweep

STRONG_CHANCE_MAX = 0.01  # strangers that chance ties to a face: few enough that none are chained


def bars(sweep: Sweep, calibration: Calibration, match_min: float) -> Rules:
    """The strong bar is the lowest score at which the pairs taken for errors tie so few strangers
    to a face, the weak one where company makes a ring; neither is below `match_min`, the pack's
    threshold, a native score.

    At a bar of 1 or more nothing joins: too many are as alike as can be.
    """
    low = max(match_min, sweep.complete_from)
    strong = lowest_score(calibration, STRONG_CHANCE_MAX, sweep.faces, low)
    weak = min(strong, max(low, calibration.rings_from))
    return Rules(
        strong=strong,
        weak=weak,
        gallery_size=sweep.faces,
        false_match_rate=_rate(calibration, strong),
        weak_false_match_rate=_weak_rate(calibration, weak),
        company_max=SMALL_MAX,  # the weak bar itself is where company tells
    )


def lowest_score(
    calibration: Calibration, chance_max: float, gallery_size: int, low: float
) -> float:
    """The lowest score, `low` or more, at which the pairs taken for errors tie so few strangers to
    a face among so many; 1 where too many are as alike as can be.
    """
    errors_max = chance_max * calibration.pairs / max(1, gallery_size)
    errors = 0
    for place in sorted(calibration.impostors, reverse=True):
        errors += calibration.impostors[place]
        if errors > errors_max:
            return max(low, edge_of(min(place + 1, BINS)))
    return low


def _weak_rate(calibration: Calibration, weak: float) -> float | None:
    """Of persons: a stranger who is like one of ten accounts is like the others by one chance."""
    if weak != calibration.rings_from:
        return _rate(calibration, weak)
    left = calibration.rings_left
    return left / calibration.pairs if left >= ERRORS_MIN else None


def _rate(calibration: Calibration, score: float) -> float | None:
    """How likely two strangers score so much; None where too few did."""
    errors = calibration.impostors_from(score)
    return errors / calibration.pairs if errors >= ERRORS_MIN else None
