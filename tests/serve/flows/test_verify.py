"""Verification of two photos: evidence of each, one comparison, a verdict that fails closed."""

import pytest

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import LivenessPolicy, Policy
from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import Outcome, Recapture, Verdict
from pipeline.errors import Code, PipelineError
from pipeline.evidence import Feedback, Missing
from serve.flows.verify import Verification, verify
from tests.helpers.toy_faces import SCALE, ToyFaces

STRICT = Policy()
MATCH_ONLY = Policy(LivenessPolicy.MATCH_ONLY)


def verification(reference: str, probe: str, policy: Policy = STRICT) -> Verification:
    """The flow over two toy images."""
    return verify(ToyFaces(), SCALE, reference.encode(), probe.encode(), policy)


def test_a_match_without_liveness_is_reviewed() -> None:
    """By default a match alone approves nobody; only a policy that says so does."""
    strict = verification("face 0", "face 5")
    assert strict.verdict == Verdict(Outcome.NEEDS_REVIEW, (Reason.LIVENESS_UNAVAILABLE,))
    lenient = verification("face 0", "face 5", MATCH_ONLY)
    assert lenient.verdict == Verdict(Outcome.APPROVED, (Reason.LIVENESS_NOT_CHECKED,))


def test_another_face_is_declined() -> None:
    """A face beyond the threshold is a mismatch under any policy."""
    for policy in (STRICT, MATCH_ONLY):
        found = verification("face 0", "face 40", policy)
        assert isinstance(found.verdict, Verdict)
        assert found.verdict.outcome is Outcome.DECLINED
        assert found.verdict.reasons[0] is Reason.FACE_MISMATCH


def test_an_unfit_probe_is_taken_again() -> None:
    """A probe with a hint is not judged, although it was compared."""
    found = verification("face 0", "blurred 0", MATCH_ONLY)
    assert found.verdict == Recapture((Feedback.BLUR_SELFIE, Feedback.CLOSED_EYES))
    assert isinstance(found.comparison, Comparison)


def test_an_unfit_reference_decides_nothing() -> None:
    """A reference that may show somebody else never leads to an approval, nor to a decline."""
    for probe in ("face 0", "face 90"):
        found = verification("crowd 0", probe, MATCH_ONLY)
        assert isinstance(found.verdict, Verdict)
        assert found.verdict.outcome is Outcome.NEEDS_REVIEW
        assert isinstance(found.comparison, Comparison)  # it is shown all the same


def test_a_reference_without_a_face_cannot_be_compared() -> None:
    """Without a template on both sides there is no comparison, and no number in its place."""
    found = verification("nobody", "face 0", MATCH_ONLY)
    assert found.comparison is Missing.NO_FACE
    assert isinstance(found.verdict, Verdict)
    assert found.verdict.outcome is Outcome.NEEDS_REVIEW


@pytest.mark.parametrize("pair", [("broken", "face 0"), ("face 0", "broken")])
def test_an_unreadable_image_is_an_error(pair: tuple[str, str]) -> None:
    """Either image's own error is raised with its code."""
    with pytest.raises(PipelineError) as refused:
        verification(*pair)
    assert refused.value.code is Code.IMAGE_CORRUPT
