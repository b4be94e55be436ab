"""From the evidence of one capture to a verdict with reasons. It fails closed.

    unfit capture                         -> Recapture, which is not an attempt
    mismatch, or evidence of an attack    -> declined
    nothing to compare with               -> needs_review
    match with evidence of liveness       -> approved
    match without it                      -> needs_review; approved if the policy is match_only

Read downwards: the first line that applies decides the outcome. The reasons are always all
that apply, so the evidence of an attack is told even when the face did not match.
"""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import LivenessPolicy, Policy
from pipeline.decision.reasons import Reason
from pipeline.evidence import FaceEvidence, Feedback, Missing, PassiveLiveness


class Outcome(StrEnum):
    """Where a verdict leaves the session."""

    APPROVED = "approved"
    DECLINED = "declined"
    NEEDS_REVIEW = "needs_review"


class Challenge(StrEnum):
    """How the active liveness challenge ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TAKEN = "not_taken"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome and every reason for it, the weightiest first; an approval may need none."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Recapture:
    """The capture cannot be judged: `feedback` tells the person what to change, never empty."""

    feedback: tuple[Feedback, ...]


def decide(
    probe: FaceEvidence,
    comparison: Comparison | Missing,
    challenge: Challenge,
    policy: Policy,
) -> Verdict | Recapture:
    """Judge one capture against the customer's reference.

    `comparison` is of the template in `probe`; it is Missing when there is no reference of the
    same model. Passive liveness comes with `probe`. A NaN score neither matches nor is live.
    """
    if not probe.is_fit:
        hints = tuple(hint for hint in probe.feedback if hint is not Feedback.OK)
        return Recapture(hints or (Feedback.OTHER,))
    attack = _attack(probe.passive_liveness, challenge)
    unproven = () if attack else _unproven(probe.passive_liveness, challenge, policy)
    # Without a template in the probe, the comparison must be of some other capture.
    if isinstance(comparison, Missing) or isinstance(probe.template, Missing):
        outcome = Outcome.DECLINED if attack else Outcome.NEEDS_REVIEW
        return Verdict(outcome, (*attack, Reason.SERVICE_UNAVAILABLE, *unproven))
    if not comparison.is_match:
        return Verdict(Outcome.DECLINED, (Reason.FACE_MISMATCH, *attack, *unproven))
    if attack:
        return Verdict(Outcome.DECLINED, attack)
    if not unproven or policy.liveness_policy is LivenessPolicy.MATCH_ONLY:
        return Verdict(Outcome.APPROVED, unproven)
    return Verdict(Outcome.NEEDS_REVIEW, unproven)


def _attack(passive: PassiveLiveness | Missing, challenge: Challenge) -> tuple[Reason, ...]:
    """Evidence against a live person. No policy waives it, and no other evidence outweighs it."""
    found: list[Reason] = []
    if not isinstance(passive, Missing) and not passive.is_bona_fide:
        found.append(Reason.PRESENTATION_ATTACK)
    if challenge is Challenge.FAILED:
        found.append(Reason.LIVENESS_FAILED)
    return tuple(found)


def _unproven(
    passive: PassiveLiveness | Missing, challenge: Challenge, policy: Policy
) -> tuple[Reason, ...]:
    """Why liveness is open when nothing speaks against it; empty when something speaks for it."""
    is_bona_fide = not isinstance(passive, Missing) and passive.is_bona_fide
    if is_bona_fide or challenge is Challenge.PASSED:
        return ()
    if policy.liveness_policy is LivenessPolicy.MATCH_ONLY:
        return (Reason.LIVENESS_NOT_CHECKED,)
    return (Reason.LIVENESS_UNAVAILABLE,)
