"""A capture against the customer's references, and a match among everybody else: the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import Policy
from pipeline.decision.verdict import NOBODY_ELSE, Challenge, Outcome, Recapture, Verdict, decide
from pipeline.evidence import FaceEvidence, Missing, PassiveLiveness, Template
from pipeline.liveness.judgement import SCORE_MIN, Doubt, Judgement
from serve.deps import Deps
from serve.domain.ids import Subject
from serve.domain.search.findings import ALONE, Look
from serve.domain.tenancy.tenant import Tenant
from serve.domain.verifications.verification import FaceMatch, LivenessMethod, LivenessScore
from serve.flows.search.screen import look_for


@dataclass(frozen=True, slots=True)
class Scores:
    """The numbers behind a verdict: for the tenant alone. None where there is none.

    `doubts` are what a clip raised.
    """

    face_match: FaceMatch | None = None
    liveness: LivenessScore | None = None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What is compared, and what came of the clip whose best shot it is; None for one picture.

    The passive liveness in `evidence` is then that of the clip.
    """

    evidence: FaceEvidence
    clip: Judgement | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What the rules say of a capture, the numbers behind it, and who else has the face."""

    outcome: Verdict | Recapture
    scores: Scores = field(default_factory=Scores, repr=False)
    look: Look = ALONE


async def judge_capture(
    deps: Deps,
    subject: Subject,
    probe: Probe,
    references: Sequence[Template],
    tenant: Tenant,
) -> Judged:
    """The verdict on a capture of the customer, by the policies of `tenant` as its world has them.

    Only a match is searched for, and only where it would not be declined in any case. Raises
    `overloaded` when too many searches wait.
    """
    evidence, challenge = probe.evidence, challenge_of(probe.clip)
    comparison = best(deps, references, evidence.template)
    policy, look = Policy(tenant.liveness_policy, tenant.duplicates), ALONE
    outcome = decide(evidence, comparison, challenge, policy, NOBODY_ELSE)
    if _is_match(outcome, comparison) and isinstance(evidence.template, Template):
        look = await look_for(deps, subject, evidence.template)
        outcome = decide(evidence, comparison, challenge, policy, look.screened)
    return Judged(outcome, scores_of(comparison, probe), look)


def challenge_of(clip: Judgement | None) -> Challenge:
    """How the challenge of a clip ended.

    Where the models alone say that it is an attack they say so by themselves, and no step failed.
    """
    if clip is None:
        return Challenge.NOT_TAKEN
    if clip.is_passed:
        return Challenge.PASSED
    passive = clip.passive_liveness
    is_told = isinstance(passive, PassiveLiveness) and not passive.is_bona_fide
    is_attack_alone = clip.doubts == (Doubt.ATTACK_DETECTED,) and is_told
    return Challenge.PASSED if is_attack_alone else Challenge.FAILED


def _is_match(outcome: Verdict | Recapture, comparison: Comparison | Missing) -> bool:
    """Whether it is approved, or held for a reviewer, unless somebody else has the face."""
    is_open = isinstance(outcome, Verdict) and outcome.outcome is not Outcome.DECLINED
    return is_open and isinstance(comparison, Comparison) and comparison.is_match


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


def scores_of(comparison: Comparison | Missing, probe: Probe) -> Scores:
    """What is kept of a capture that was judged."""
    found, clip = None, probe.clip
    if isinstance(comparison, Comparison):
        found = FaceMatch(
            similarity=comparison.similarity,
            threshold=comparison.threshold,
            is_match=comparison.is_match,
        )
    if clip is None:
        return Scores(found, _passive(probe.evidence.passive_liveness))
    live = LivenessScore(
        score=clip.score,
        threshold=SCORE_MIN,
        is_live=clip.is_passed,
        method=LivenessMethod.MOTION_CHALLENGE,
    )
    return Scores(found, live, clip.doubts)


def _passive(passive: PassiveLiveness | Missing) -> LivenessScore | None:
    if isinstance(passive, Missing):
        return None
    return LivenessScore(
        score=passive.score, threshold=passive.threshold, is_live=passive.is_bona_fide
    )
