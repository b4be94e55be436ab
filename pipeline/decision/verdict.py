"""From the evidence of one capture to a verdict with reasons. It fails closed.

    unfit capture                         -> Recapture, which is not an attempt
    mismatch, or evidence of an attack    -> declined
    nothing to compare with               -> needs_review
    match of a face on the blocklist      -> needs_review
    match, not everybody searched         -> needs_review
    match of a face somebody else has     -> as the policy says: declined, needs_review, or go on
    match with evidence of liveness       -> approved
    match without it                      -> needs_review; approved if the policy is match_only

Read downwards: the first line that applies decides the outcome. The reasons are always all
that apply, so the evidence of an attack is told even when the face did not match.
"""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import DuplicatePolicy, LivenessPolicy, Policy
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
class Screened:
    """What a search for the face among everybody else's found.

    `is_duplicate` says that somebody has it whom no reviewer has told from this person.
    """

    is_blocked: bool = False
    is_duplicate: bool = False
    is_complete: bool = True


NOBODY_ELSE = Screened()
_DUPLICATES = {
    DuplicatePolicy.FLAG: Outcome.APPROVED,
    DuplicatePolicy.REVIEW: Outcome.NEEDS_REVIEW,
    DuplicatePolicy.DECLINE: Outcome.DECLINED,
}


@dataclass(frozen=True, slots=True)
class Recapture:
    """The capture cannot be judged: `feedback` tells the person what to change, never empty."""

    feedback: tuple[Feedback, ...]


def decide(
    probe: FaceEvidence,
    comparison: Comparison | Missing,
    challenge: Challenge,
    policy: Policy,
    screened: Screened,
) -> Verdict | Recapture:
    """Judge one capture against the customer's reference.

    `comparison` is of the template in `probe`; it is Missing when there is no reference of the
    same model. Passive liveness comes with `probe`. A NaN score neither matches nor is live.
    `screened` counts for a match alone: nobody else need be searched for any other.
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
    objection = object_to(screened, policy.duplicates)
    outcome = objection.outcome
    if attack:
        outcome = Outcome.DECLINED
    elif unproven and policy.liveness_policy is not LivenessPolicy.MATCH_ONLY:
        outcome = Outcome.NEEDS_REVIEW if outcome is Outcome.APPROVED else outcome
    return Verdict(outcome, (*attack, *objection.reasons, *unproven))


def object_to(screened: Screened, policy: DuplicatePolicy) -> Verdict:
    """What becomes of a face by who else has it alone; approved is no objection.

    A face on the blocklist needs a reviewer always, and so does one when not everybody was
    looked at. A policy that only flags duplicates is no reason.
    """
    counts = screened.is_duplicate and policy is not DuplicatePolicy.FLAG
    said = (
        (Reason.BLOCKLISTED, screened.is_blocked),
        (Reason.SERVICE_UNAVAILABLE, not screened.is_complete),
        (Reason.DUPLICATE_FACE, counts),
    )
    reasons = tuple(reason for reason, applies in said if applies)
    if screened.is_blocked or not screened.is_complete:
        return Verdict(Outcome.NEEDS_REVIEW, reasons)
    return Verdict(_DUPLICATES[policy] if counts else Outcome.APPROVED, reasons)


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
