"""The verdict, walked over the whole product of what it may be given."""

import math
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import DuplicatePolicy, LivenessPolicy, Policy
from pipeline.decision.reasons import DESCRIPTIONS, Reason
from pipeline.decision.verdict import (
    NOBODY_ELSE,
    Challenge,
    Outcome,
    Recapture,
    Screened,
    Verdict,
    decide,
)
from pipeline.errors import Code, PipelineError
from pipeline.evidence import (
    FaceEvidence,
    Feedback,
    Missing,
    PassiveLiveness,
    Template,
)
from tests.helpers.builders import face_evidence

NAN = math.nan
TEMPLATE = Template("embedder-test", np.array([1.0, 0.0], np.float32))
STRICT = Policy()
MATCH_ONLY = Policy(LivenessPolicy.MATCH_ONLY)

MATCHES = [
    Comparison(native=0.95, similarity=0.36, threshold=0.36, is_match=True),
    Comparison(native=0.99, similarity=1.0, threshold=0.36, is_match=True),
]
BROKEN_SCORES = [
    (0.91, math.nextafter(0.36, 0.0), 0.36),
    (NAN, 0.9, 0.36),
    (math.inf, 0.9, 0.36),
    (0.95, NAN, 0.36),
    (0.95, 1.5, 0.36),
    (0.95, 0.9, NAN),
    (0.95, 0.9, 0.0),
]
MISMATCHES = [
    Comparison(native=-1.0, similarity=0.0, threshold=0.36, is_match=False),
    # The native score decides: at its threshold, rounding may lift the similarity to 0.36.
    Comparison(native=0.91, similarity=0.36, threshold=0.36, is_match=False),
    *(Comparison(*scores, is_match=False) for scores in BROKEN_SCORES),
]
BONA_FIDE = [PassiveLiveness(0.5, 0.5), PassiveLiveness(1.0, 0.5)]
ATTACKS = [
    PassiveLiveness(math.nextafter(0.5, 0.0), 0.5),
    PassiveLiveness(0.0, 0.5),
    PassiveLiveness(NAN, 0.5),
    PassiveLiveness(1.0, NAN),
]
PASSIVE = [*BONA_FIDE, *ATTACKS, *Missing]
COMPARISONS = [*MATCHES, *MISMATCHES, *Missing]
FIT = (Feedback.OK,)

FIT_CASES = [
    (template, passive, comparison, challenge, policy)
    for template, passive, comparison, challenge, policy in product(
        [TEMPLATE, *Missing], PASSIVE, COMPARISONS, Challenge, [STRICT, MATCH_ONLY]
    )
]


def evidence(
    *,
    feedback: tuple[Feedback, ...] = FIT,
    template: Template | Missing = TEMPLATE,
    passive: PassiveLiveness | Missing = Missing.MODEL_UNAVAILABLE,
) -> FaceEvidence:
    return face_evidence(feedback=feedback, template=template, passive_liveness=passive)


def verdict(
    passive: PassiveLiveness | Missing = Missing.MODEL_UNAVAILABLE,
    comparison: Comparison | Missing = MATCHES[0],
    challenge: Challenge = Challenge.NOT_TAKEN,
    policy: Policy = STRICT,
    template: Template | Missing = TEMPLATE,
    **found: Screened,
) -> Verdict:
    screened = found.get("screened", NOBODY_ELSE)
    result = decide(
        evidence(template=template, passive=passive), comparison, challenge, policy, screened
    )
    assert isinstance(result, Verdict)
    return result


def test_approval_needs_a_match_and_liveness_or_a_policy_that_waives_it() -> None:
    """Over every input, approved holds exactly when match, liveness or waiver, and no attack."""
    approved = 0
    for template, passive, comparison, challenge, policy in FIT_CASES:
        is_match = comparison in MATCHES and template is TEMPLATE
        is_attack = passive in ATTACKS or challenge is Challenge.FAILED
        is_live = passive in BONA_FIDE or challenge is Challenge.PASSED
        expected = is_match and not is_attack and (is_live or policy is MATCH_ONLY)
        outcome = verdict(passive, comparison, challenge, policy, template).outcome
        assert (outcome is Outcome.APPROVED) == expected, (passive, comparison, challenge, policy)
        approved += expected
    # Of each match, 7 pairs of (passive, challenge) are live; match_only adds 3 open ones.
    assert approved == 2 * (7 + 10)


def test_decline_needs_evidence_against_the_person() -> None:
    """Over every input, declined holds exactly on a mismatch or on evidence of an attack."""
    for template, passive, comparison, challenge, policy in FIT_CASES:
        is_mismatch = comparison in MISMATCHES and template is TEMPLATE
        is_attack = passive in ATTACKS or challenge is Challenge.FAILED
        outcome = verdict(passive, comparison, challenge, policy, template).outcome
        assert (outcome is Outcome.DECLINED) == (is_mismatch or is_attack)


def test_each_reason_is_given_exactly_when_it_applies() -> None:
    """Over every input, the reasons are all that apply, each once, and no others."""
    for template, passive, comparison, challenge, policy in FIT_CASES:
        is_comparable = isinstance(comparison, Comparison) and template is TEMPLATE
        is_attack = passive in ATTACKS or challenge is Challenge.FAILED
        is_open = (
            isinstance(passive, Missing) and challenge is not Challenge.PASSED and not is_attack
        )
        expected = {
            Reason.FACE_MISMATCH: is_comparable and comparison in MISMATCHES,
            Reason.SERVICE_UNAVAILABLE: not is_comparable,
            Reason.PRESENTATION_ATTACK: passive in ATTACKS,
            Reason.LIVENESS_FAILED: challenge is Challenge.FAILED,
            Reason.LIVENESS_UNAVAILABLE: is_open and policy is STRICT,
            Reason.LIVENESS_NOT_CHECKED: is_open and policy is MATCH_ONLY,
        }
        reasons = verdict(passive, comparison, challenge, policy, template).reasons
        assert len(set(reasons)) == len(reasons)
        assert set(reasons) == {reason for reason, applies in expected.items() if applies}


def test_only_a_clean_approval_is_without_reasons() -> None:
    """A decline or a review always says why; an approval says at most that liveness was waived."""
    for template, passive, comparison, challenge, policy in FIT_CASES:
        result = verdict(passive, comparison, challenge, policy, template)
        if result.outcome is Outcome.APPROVED:
            assert result.reasons in {(), (Reason.LIVENESS_NOT_CHECKED,)}
        else:
            assert result.reasons


def test_the_default_policy_requires_liveness() -> None:
    """A tenant that sets nothing gets the strict policy: a match alone ends in review."""
    assert Policy().liveness_policy is LivenessPolicy.REQUIRED
    assert verdict(policy=Policy()) == Verdict(Outcome.NEEDS_REVIEW, (Reason.LIVENESS_UNAVAILABLE,))


def test_match_only_waives_proof_but_not_evidence_of_an_attack() -> None:
    """Under match_only an absent check is waived and said so; a failed one still declines."""
    assert verdict(policy=MATCH_ONLY) == Verdict(Outcome.APPROVED, (Reason.LIVENESS_NOT_CHECKED,))
    assert verdict(ATTACKS[0], policy=MATCH_ONLY) == Verdict(
        Outcome.DECLINED, (Reason.PRESENTATION_ATTACK,)
    )
    assert verdict(challenge=Challenge.FAILED, policy=MATCH_ONLY) == Verdict(
        Outcome.DECLINED, (Reason.LIVENESS_FAILED,)
    )


@pytest.mark.parametrize("policy", [STRICT, MATCH_ONLY])
def test_one_kind_of_liveness_never_outweighs_the_failure_of_the_other(policy: Policy) -> None:
    """A passed challenge does not excuse a spoof, nor a bona fide image a failed challenge."""
    spoof = verdict(ATTACKS[0], challenge=Challenge.PASSED, policy=policy)
    assert spoof == Verdict(Outcome.DECLINED, (Reason.PRESENTATION_ATTACK,))
    failed = verdict(BONA_FIDE[0], challenge=Challenge.FAILED, policy=policy)
    assert failed == Verdict(Outcome.DECLINED, (Reason.LIVENESS_FAILED,))


def test_the_weightiest_reason_comes_first() -> None:
    """The first reason, which old clients read alone, is the mismatch, then the attack."""
    worst = verdict(ATTACKS[0], MISMATCHES[0], Challenge.FAILED)
    assert worst.reasons == (
        Reason.FACE_MISMATCH,
        Reason.PRESENTATION_ATTACK,
        Reason.LIVENESS_FAILED,
    )
    blind = verdict(ATTACKS[0], Missing.NO_FACE)
    assert blind.reasons == (Reason.PRESENTATION_ATTACK, Reason.SERVICE_UNAVAILABLE)
    assert verdict(comparison=Missing.NO_FACE).reasons[0] is Reason.SERVICE_UNAVAILABLE


def test_a_missing_comparison_is_never_decided_by_machine() -> None:
    """Without a reference of the same model a live capture goes to a person, not to approval."""
    for reason, policy in product(Missing, [STRICT, MATCH_ONLY]):
        assert verdict(BONA_FIDE[0], reason, Challenge.PASSED, policy) == Verdict(
            Outcome.NEEDS_REVIEW, (Reason.SERVICE_UNAVAILABLE,)
        )


def test_a_comparison_of_some_other_capture_is_not_used() -> None:
    """Evidence without a template cannot borrow a match, so liveness and match stay one image."""
    result = verdict(BONA_FIDE[0], MATCHES[0], template=Missing.NOT_REQUESTED)
    assert result == Verdict(Outcome.NEEDS_REVIEW, (Reason.SERVICE_UNAVAILABLE,))


@pytest.mark.parametrize("hint", [hint for hint in Feedback if hint is not Feedback.OK])
def test_an_unfit_capture_is_asked_for_again_whatever_else_it_says(hint: Feedback) -> None:
    """Any hint makes a Recapture carrying it, never a verdict, for good and bad evidence alike."""
    for passive, comparison, challenge, policy in product(
        PASSIVE, COMPARISONS, Challenge, [STRICT, MATCH_ONLY]
    ):
        probe = evidence(feedback=(hint,), passive=passive)
        assert decide(probe, comparison, challenge, policy, NOBODY_ELSE) == Recapture((hint,))


def test_recapture_always_tells_the_person_something_true() -> None:
    """Feedback keeps its order, never says ok beside a hint, and is never empty."""
    blurred = evidence(feedback=(Feedback.BLUR_SELFIE, Feedback.OK, Feedback.CLOSED_EYES))
    assert decide(blurred, MATCHES[0], Challenge.PASSED, STRICT, NOBODY_ELSE) == Recapture(
        (Feedback.BLUR_SELFIE, Feedback.CLOSED_EYES)
    )
    silent = replace(blurred, feedback=())
    assert decide(silent, MATCHES[0], Challenge.PASSED, STRICT, NOBODY_ELSE) == Recapture(
        (Feedback.OTHER,)
    )


@pytest.mark.parametrize("scores", BROKEN_SCORES)
def test_a_match_that_its_numbers_deny_cannot_exist(scores: tuple[float, float, float]) -> None:
    """A claimed match below its threshold, or on a NaN, is refused before it can be judged."""
    with pytest.raises(PipelineError) as refused:
        Comparison(*scores, is_match=True)
    assert refused.value.code is Code.WRONG_SHAPE


def test_reasons_are_the_closed_set_of_the_contract() -> None:
    """The codes are exactly those of the wire contract, each with one sentence of its own."""
    codes = (
        "face_mismatch liveness_failed presentation_attack liveness_unavailable "
        "liveness_not_checked blocklisted duplicate_face too_many_captures locked_out "
        "session_expired review_declined service_unavailable"
    )
    assert [str(reason) for reason in Reason] == codes.split()
    assert len({reason.description for reason in Reason}) == len(Reason)
    assert set(DESCRIPTIONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_descriptions_give_nothing_away(reason: Reason) -> None:
    """A description is one sentence without numbers: no score, threshold or count can leak."""
    assert re.fullmatch(r"[A-Z][^.0-9]+\.", reason.description)


SCREENED = [Screened(*facts) for facts in product([False, True], repeat=3)]


def test_a_match_of_the_blocklist_or_an_incomplete_search_is_never_approved_nor_declined() -> None:
    """Whatever policy and liveness say, such a match without an attack ends with a reviewer."""
    for screened, passive, liveness, duplicates in product(
        SCREENED, [*BONA_FIDE, *Missing], LivenessPolicy, DuplicatePolicy
    ):
        policy = Policy(liveness, duplicates)
        found = verdict(passive=passive, policy=policy, screened=screened)
        assert (Reason.BLOCKLISTED in found.reasons) == screened.is_blocked
        assert (Reason.SERVICE_UNAVAILABLE in found.reasons) == (not screened.is_complete)
        if screened.is_blocked or not screened.is_complete:
            assert found.outcome is Outcome.NEEDS_REVIEW


def test_a_duplicate_ends_as_the_policy_says() -> None:
    """Flagged alone it is approved without a word; else held or declined, and says why."""
    expected = {
        DuplicatePolicy.FLAG: Verdict(Outcome.APPROVED),
        DuplicatePolicy.REVIEW: Verdict(Outcome.NEEDS_REVIEW, (Reason.DUPLICATE_FACE,)),
        DuplicatePolicy.DECLINE: Verdict(Outcome.DECLINED, (Reason.DUPLICATE_FACE,)),
    }
    for duplicates, verdict_then in expected.items():
        policy = Policy(LivenessPolicy.REQUIRED, duplicates)
        twin = Screened(is_duplicate=True)
        assert verdict(BONA_FIDE[0], policy=policy, screened=twin) == verdict_then


def test_who_else_has_a_face_counts_for_a_match_alone() -> None:
    """A mismatch says nothing of others: whoever is tried out learns nothing of who is known."""
    for screened, comparison in product(SCREENED, [*MISMATCHES, *Missing]):
        alone = verdict(BONA_FIDE[0], comparison)
        assert verdict(BONA_FIDE[0], comparison, screened=screened) == alone


def test_an_attack_is_declined_whoever_else_has_the_face() -> None:
    """No finding of a search lifts a presentation attack to a review."""
    for screened in SCREENED:
        found = verdict(ATTACKS[0], screened=screened)
        assert found.outcome is Outcome.DECLINED
        assert found.reasons[0] is Reason.PRESENTATION_ATTACK
