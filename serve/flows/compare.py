"""A capture against the customer's references: the best comparison, and what is kept of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.decision.comparison import Comparison
from pipeline.evidence import FaceEvidence, Missing, Template
from serve.deps import Deps
from serve.domain.verifications.verification import FaceMatch, LivenessScore


@dataclass(frozen=True, slots=True)
class Scores:
    """The numbers behind a verdict: for the tenant alone. None where there is none."""

    face_match: FaceMatch | None = None
    liveness: LivenessScore | None = None


def best(
    deps: Deps, references: Sequence[Template], probe: Template | Missing
) -> Comparison | Missing:
    """The comparison with the reference most alike, among those of the probe's model."""
    if isinstance(probe, Missing):
        return Missing.NO_FACE
    comparisons = [
        deps.scale.compare(reference, probe)
        for reference in references
        if reference.model_id == probe.model_id
    ]
    return max(comparisons, key=lambda c: (c.is_match, c.native), default=Missing.NO_FACE)


def scores_of(comparison: Comparison | Missing, evidence: FaceEvidence) -> Scores:
    """What is kept of a capture that was judged."""
    found, passive = None, evidence.passive_liveness
    if isinstance(comparison, Comparison):
        found = FaceMatch(
            similarity=comparison.similarity,
            threshold=comparison.threshold,
            is_match=comparison.is_match,
        )
    if isinstance(passive, Missing):
        return Scores(found)
    live = LivenessScore(
        score=passive.score, threshold=passive.threshold, is_live=passive.is_bona_fide
    )
    return Scores(found, live)
