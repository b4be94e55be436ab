"""What a search is expected to show by chance, and when that allows an alert."""

import pytest

from serve.domain.search.evidence import (
    ExpectedFalseMatches,
    ImpostorEvidence,
    expected_false_matches,
)


def test_without_a_pair_nothing_is_known_and_nothing_alerts() -> None:
    """No number is made up before anything was compared."""
    found = expected_false_matches(1_000, ImpostorEvidence())
    assert found == ExpectedFalseMatches(None, None)
    assert not found.may_alert


def test_without_an_error_the_rule_of_three_bounds_it() -> None:
    """3N/n and no estimate, however many pairs there were."""
    assert expected_false_matches(500, ImpostorEvidence(1_000)) == (None, 1.5)
    assert expected_false_matches(500, ImpostorEvidence(1_500)) == (None, 1.0)


@pytest.mark.parametrize(("errors", "mean"), [(1, 4.7439), (9, 15.7052)])
def test_few_errors_give_a_bound_alone(errors: int, mean: float) -> None:
    """One to nine errors: the exact bound of Poisson, and still no estimate."""
    expected, upper = expected_false_matches(2_000, ImpostorEvidence(1_000_000, errors))
    assert expected is None
    assert upper == pytest.approx(2_000 * mean / 1_000_000, rel=1e-4)


def test_ten_errors_give_an_estimate_below_its_bound() -> None:
    """N times the empirical rate, once ten errors support it."""
    expected, upper = expected_false_matches(2_000, ImpostorEvidence(1_000_000, 10))
    assert expected == pytest.approx(0.02)
    assert upper is not None
    assert expected is not None
    assert expected < upper


def test_no_search_is_expected_to_show_more_than_everybody() -> None:
    """A handful of pairs bounds nothing better than the gallery itself."""
    assert expected_false_matches(40, ImpostorEvidence(1)).upper_bound == 40


@pytest.mark.parametrize(
    ("size", "evidence", "may_alert"),
    [
        (100, ImpostorEvidence(300), True),
        (100, ImpostorEvidence(299), False),
        (100, ImpostorEvidence(474, 1), False),
        (100, ImpostorEvidence(475, 1), True),
    ],
)
def test_an_alert_needs_a_bound_of_one(
    size: int, evidence: ImpostorEvidence, *, may_alert: bool
) -> None:
    """Only where chance shows at most one match in a search does a match raise an alert."""
    assert expected_false_matches(size, evidence).may_alert == may_alert
