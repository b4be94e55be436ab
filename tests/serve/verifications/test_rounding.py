"""A score that is told stands on the side of its threshold on which it was judged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.comparison import Comparison
from serve.api.search.faces import SearchMatchResponse
from serve.api.verifications.answers import FaceMatchResponse, LivenessResponse
from serve.cli.render import told_similarity
from serve.domain.verifications.told import told_score
from serve.domain.verifications.verification import (
    FaceMatch,
    LivenessMethod,
    LivenessScore,
    VerificationStatus,
)
from serve.flows.search.find import Match

THRESHOLD = 0.36
STEP = 0.01


def below(line: float) -> float:
    """What fails by a hair."""
    return math.nextafter(line, 0.0)


def found(score: float) -> Match:
    """Somebody whom a search found."""
    is_match = score >= THRESHOLD
    return Match("", None, score, is_match, None, VerificationStatus.APPROVED, 0)


@given(st.floats(0.0, 1.0), st.integers(1, 100).map(lambda each: each / 100))
def test_what_is_told_decides_as_the_score_did(score: float, threshold: float) -> None:
    """At any threshold of two digits, and less than a hundredth away from the score."""
    told = told_score(score, threshold, is_passed=score >= threshold)
    assert (told >= threshold) == (score >= threshold)
    assert told == round(told, 2)
    assert abs(told - score) < STEP + 1e-9


@given(st.floats(0.0, 1.0), st.floats(0.01, 1.0))
def test_a_threshold_of_more_digits_is_not_crossed_either(score: float, threshold: float) -> None:
    """What is told is then the threshold itself at the least, or less than it."""
    told = told_score(score, threshold, is_passed=score >= threshold)
    assert (told >= threshold) == (score >= threshold)


@pytest.mark.parametrize(("score", "told"), [(0.7, 0.7), (0.704, 0.7), (0.706, 0.71), (1.0, 1.0)])
def test_far_from_the_line_it_is_the_nearest(score: float, told: float) -> None:
    """An image that is the same to the last bit but one is told as such."""
    assert told_score(score, THRESHOLD, is_passed=True) == told
    assert told_score(below(1.0), THRESHOLD, is_passed=True) == 1.0


@pytest.mark.parametrize("score", [0.0, 0.355, 0.3599, below(THRESHOLD), THRESHOLD, 0.3649, 1.0])
def test_a_comparison_is_told_on_its_side(score: float) -> None:
    """In a verification, in a search, and by the command line, whatever its digits."""
    is_match = score >= THRESHOLD
    match = FaceMatch(similarity=score, threshold=THRESHOLD, is_match=is_match)
    told = FaceMatchResponse.of(match)
    assert (told.similarity >= told.threshold == THRESHOLD) == told.is_match == is_match
    shown = SearchMatchResponse.of(found(score), 0.0)
    assert shown.similarity == told.similarity
    assert (shown.similarity >= THRESHOLD) == shown.is_match
    compared = Comparison(score, score, THRESHOLD, is_match)
    for digits in (3, 4):
        assert (told_similarity(compared, digits) >= THRESHOLD) == is_match


def test_a_search_tells_nobody_below_what_it_asked_for() -> None:
    """Where the threshold has more digits than the answers have."""
    assert SearchMatchResponse.of(found(0.6041), 0.604).similarity == 0.604
    assert SearchMatchResponse.of(found(0.6041), 0.5).similarity == 0.6


@pytest.mark.parametrize("method", LivenessMethod)
@pytest.mark.parametrize("score", [0.0, 0.494, 0.4951, below(0.5), 0.5, 0.996, 1.0])
def test_liveness_is_told_on_its_side(score: float, method: LivenessMethod) -> None:
    """What failed by a hair is shown below the threshold, not at it."""
    is_live = score >= 0.5
    told = LivenessResponse.of(
        LivenessScore(score=score, threshold=0.5, is_live=is_live, method=method)
    )
    assert (told.score >= told.threshold == 0.5) == told.is_live == is_live


def test_what_is_no_number_is_told_as_nothing() -> None:
    """NaN passes no line, and no belief near one is made of it."""
    assert told_score(math.nan, THRESHOLD, is_passed=False) == 0.0
