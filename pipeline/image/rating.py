"""From what was measured to a quality component of 0 to 100, or to a failure to assess."""

import math

from pipeline.evidence import Measure, Quality

EXPONENT_MAX = 60.0  # beyond it a sigmoid is 0 or 1 to the last bit


def rated(measure: Measure, native: float, value: float) -> Quality:
    """The component with its value rounded into 0 to 100.

    A number that is not finite is a failure to assess, whatever it came from.
    """
    if not (math.isfinite(native) and math.isfinite(value)):
        return unassessed(measure)
    return Quality(measure, round(min(max(value, 0.0), 100.0)), native)


def unassessed(measure: Measure) -> Quality:
    """A failure to assess: neither good nor bad, and never a number."""
    return Quality(measure, None, None)


def sigmoid(x: float, centre: float, width: float) -> float:
    """A smooth step from 0 to 1, 0.5 at `centre`; `width` is negative for a step down."""
    exponent = min(max((centre - x) / width, -EXPONENT_MAX), EXPONENT_MAX)
    return 1.0 / (1.0 + math.exp(exponent))


def share(part: float, whole: float) -> float:
    """`part` over `whole`; NaN, which is a failure to assess, where there is no whole."""
    return part / whole if whole > 0.0 else math.nan
