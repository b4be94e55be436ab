"""A score on the wire stands on the side of its threshold on which it was judged."""

import math

import pytest

from serve.api.verifications.answers import LivenessResponse
from serve.domain.verifications.verification import LivenessScore


@pytest.mark.parametrize("score", [0.0, 0.494, 0.4951, math.nextafter(0.5, 0.0), 0.5, 0.996, 1.0])
def test_liveness_is_not_rounded_across_the_line(score: float) -> None:
    """What failed by a hair is shown below the threshold, not at it."""
    told = LivenessResponse.of(LivenessScore(score=score, threshold=0.5, is_live=score >= 0.5))
    assert (told.score >= told.threshold) == told.is_live
    assert abs(told.score - score) <= 0.01
