"""What is told of an estimated age: a band, an interval as wide as it is honest, and adult or not.

The model errs by years and nobody has calibrated it here: near the line of 18 it decides nothing.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

MARGIN_YEARS = 10
"""Half the width of the interval, for everybody: a rule, and no measure of the model."""
ADULT_YEARS = 18


class AgeBand(StrEnum):
    """The bands of age, both ends included."""

    UNDER_18 = "under_18"
    FROM_18 = "18_24"
    FROM_25 = "25_39"
    FROM_40 = "40_59"
    FROM_60 = "60_plus"


_FROM_YEARS = (
    (60, AgeBand.FROM_60),
    (40, AgeBand.FROM_40),
    (25, AgeBand.FROM_25),
    (ADULT_YEARS, AgeBand.FROM_18),
    (0, AgeBand.UNDER_18),
)


@dataclass(frozen=True, slots=True)
class AgeReading:
    """An age in completed years, its band, and the interval from `low` to `high`, both included.

    `is_adult` is None where the interval reaches from below 18 to 18 or more.
    """

    age: int
    band: AgeBand
    low: int
    high: int
    is_adult: bool | None


def read_age(years: float) -> AgeReading:
    """What an estimate of `years`, 0 or more, is told as."""
    age = max(0, math.floor(years))
    low, high = max(0, age - MARGIN_YEARS), age + MARGIN_YEARS
    band = next(band for start, band in _FROM_YEARS if age >= start)
    is_unclear = low < ADULT_YEARS <= high
    return AgeReading(age, band, low, high, None if is_unclear else low >= ADULT_YEARS)
