"""What is told of an estimated age: bands, the interval, and where it decides nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.liveness.age import MARGIN_YEARS, read_age

BANDS = {
    0: "under_18", 17: "under_18", 18: "18_24", 24: "18_24", 25: "25_39", 39: "25_39",
    40: "40_59", 59: "40_59", 60: "60_plus", 99: "60_plus",
}  # fmt: skip
ADULTS = {0: False, 7: False, 8: None, 17: None, 18: None, 27: None, 28: True, 60: True}


@pytest.mark.parametrize(("age", "band"), BANDS.items())
def test_both_ends_of_a_band_are_in_it(age: int, band: str) -> None:
    """From the birthday to the day before the next band's; parts of a year are no year."""
    assert read_age(age).band == band
    assert read_age(age + 0.99).band == band
    assert read_age(age + 0.99).age == age


@pytest.mark.parametrize(("age", "is_adult"), ADULTS.items())
def test_near_the_line_nothing_is_decided(age: int, is_adult: bool | None) -> None:
    """Adult where all of the interval is 18 or more, a minor where all is less, else unknown."""
    assert read_age(age).is_adult is is_adult


@given(st.floats(0, 100))
def test_the_interval_is_ten_years_to_either_side(years: float) -> None:
    """Cut at birth, and never on one side of 18 with an answer for the other."""
    reading = read_age(years)
    assert reading.high - reading.age == MARGIN_YEARS
    assert reading.low == max(0, reading.age - MARGIN_YEARS)
    assert (reading.is_adult is None) == (reading.low < 18 <= reading.high)
