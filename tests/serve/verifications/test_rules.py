"""What a verification says of what it came from."""

from typing import Any

import pytest

from pipeline.decision.reasons import Reason
from serve.domain.customer import Reference
from serve.domain.ids import Prefix, partition_of, renamed
from serve.domain.search.gallery import Standing
from serve.domain.session import State, Submission, elapsed
from serve.domain.verifications.rules import (
    CheckName,
    CheckStatus,
    checks_of,
    is_decided,
    reviewed,
    view_of,
)
from serve.domain.verifications.verification import (
    FaceMatch,
    LivenessScore,
    Verification,
    VerificationKind,
    VerificationStatus,
)
from serve.errors import Code, ServeError
from tests.helpers.records import NOW_MS, TENANT, a_customer, a_session, an_id

# The contract's table, column AvalKYC. Written out, because clients have it written out as well.
TABLE = {
    "created": "pending",
    "capturing": "pending",
    "processing": "processing",
    "approved": "approved",
    "declined": "rejected",
    "needs_review": "needs_review",
    "expired": "rejected",
    "canceled": "rejected",
}
REVIEWABLE = VerificationStatus.NEEDS_REVIEW
SUBMISSION = Submission(op_id="op", lease_until_ms=NOW_MS + 30_000)
MATCH = FaceMatch(similarity=0.9, threshold=0.36, is_match=True)
MISMATCH = FaceMatch(similarity=0.1, threshold=0.36, is_match=False)
LIVE = LivenessScore(score=0.9, threshold=0.5, is_live=True)


def a_reference(number: int = 0, standing: Standing = Standing.APPROVED) -> Reference:
    """One of alice's faces."""
    return Reference(
        face_id=an_id(Prefix.FACE, 7, number),
        model_id="model.1",
        enrolled_at_ms=NOW_MS,
        has_chip=False,
        standing=standing,
    )


def a_verification(
    kind: VerificationKind = VerificationKind.REVERIFICATION,
    status: VerificationStatus = REVIEWABLE,
    **changes: Any,
) -> Verification:
    """One of alice's."""
    return Verification(
        id=an_id(Prefix.VERIFICATION, 7),
        tenant_id=TENANT,
        mode=a_session().mode,
        kind=kind,
        customer_id="alice",
        reference="order-1",
        status=status,
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    ).model_copy(update=changes)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("tries", [0, 1])
def test_every_state_has_the_contract_s_status(state: State, tries: int) -> None:
    """A failed try with retries left is pending here, whatever other dialects call it."""
    submission = SUBMISSION if state is State.PROCESSING else None
    session = a_session(state=state, tries=tries, submission=submission)
    view = view_of(session)
    assert view.status == TABLE[state]
    assert is_decided(view) == (TABLE[state] not in {"pending", "processing"})


def test_a_session_that_time_has_ended_is_rejected() -> None:
    """What was never submitted is rejected once it has expired, and says why."""
    late = elapsed(a_session(), NOW_MS + 3_600_000)
    view = view_of(late)
    assert (view.status, view.reasons) == ("rejected", (Reason.SESSION_EXPIRED,))


def test_a_view_names_its_session_and_its_scores() -> None:
    """Its id is the session's with another prefix, in the same partition."""
    session = a_session(9, 3, face_match=MATCH, liveness=LIVE, reasons=(Reason.BLOCKLISTED,))
    view = view_of(session)
    assert view.id == an_id(Prefix.VERIFICATION, 9, 3)
    assert partition_of(Prefix.VERIFICATION, view.id) == 9
    assert renamed(Prefix.SESSION, view.id) == view.session_id == session.id
    assert (view.kind, view.face_match, view.liveness) == ("session", MATCH, LIVE)
    assert view.document_type is None


@pytest.mark.parametrize(
    ("changes", "checks"),
    [
        ({}, {}),
        ({"face_match": MATCH}, {"face_match": "passed"}),
        ({"face_match": MISMATCH, "reasons": (Reason.FACE_MISMATCH,)}, {"face_match": "failed"}),
        ({"reasons": (Reason.FACE_MISMATCH,)}, {"face_match": "failed"}),
        ({"reasons": (Reason.SERVICE_UNAVAILABLE,)}, {"face_match": "unavailable"}),
        (
            {"face_match": MATCH, "reasons": (Reason.SERVICE_UNAVAILABLE,)},
            {"face_match": "passed", "blocklist": "unavailable", "duplicates": "unavailable"},
        ),
        (
            {"face_match": MATCH, "reasons": (Reason.BLOCKLISTED, Reason.DUPLICATE_FACE)},
            {"face_match": "passed", "blocklist": "failed", "duplicates": "failed"},
        ),
        ({"reasons": (Reason.LIVENESS_UNAVAILABLE,)}, {"liveness": "unavailable"}),
        ({"reasons": (Reason.LIVENESS_NOT_CHECKED,)}, {"liveness": "not_checked"}),
        ({"reasons": (Reason.PRESENTATION_ATTACK,)}, {"liveness": "failed"}),
        ({"reasons": (Reason.LIVENESS_FAILED,)}, {"liveness": "failed"}),
        ({"liveness": LIVE}, {"liveness": "passed"}),
        ({"reasons": (Reason.LOCKED_OUT,)}, {}),
    ],
)
def test_checks_are_those_that_something_is_known_of(
    changes: dict[str, Any], checks: dict[str, str]
) -> None:
    """A check that nobody made is not listed, and one that could not be made is not passed."""
    found = checks_of(a_verification(**changes))
    assert {check.name: check.status for check in found} == {
        CheckName(name): CheckStatus(status) for name, status in checks.items()
    }


def test_an_enrolment_that_could_not_be_searched_compared_nothing() -> None:
    """What was unavailable is the search, not a comparison."""
    enrolled = a_verification(VerificationKind.ENROLMENT, reasons=(Reason.SERVICE_UNAVAILABLE,))
    assert {check.name for check in checks_of(enrolled)} == {"blocklist", "duplicates"}


@pytest.mark.parametrize(
    ("decision", "standing"), [("approved", Standing.APPROVED), ("rejected", Standing.REFUSED)]
)
def test_a_review_of_an_enrolment_decides_its_face_alone(decision: str, standing: Standing) -> None:
    """Approved, it may be compared with; rejected, never. Other references stay as they were."""
    held, other = (a_reference(number, Standing.HELD) for number in (1, 2))
    before = a_verification(VerificationKind.ENROLMENT, face_id=held.face_id)
    customer = a_customer(references=(other, held))
    after, decided = reviewed(before, customer, VerificationStatus(decision), NOW_MS + 1)
    assert (after.status, after.updated_at_ms, after.is_new) == (decision, NOW_MS + 1, False)
    assert (Reason.REVIEW_DECLINED in after.reasons) == (decision == "rejected")
    assert [item.standing for item in decided.references] == [Standing.HELD, standing]


def test_a_review_of_a_reverification_leaves_the_customer_as_it_was() -> None:
    """Only enrolments have a face to decide on."""
    customer = a_customer(references=(a_reference(),))
    _, after = reviewed(a_verification(), customer, VerificationStatus.REJECTED, NOW_MS + 1)
    assert after is customer


@pytest.mark.parametrize("status", [item for item in VerificationStatus if item != REVIEWABLE])
@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_only_what_needs_a_review_can_be_reviewed(
    status: VerificationStatus, decision: str
) -> None:
    """No other status moves by a reviewer's hand, nor twice."""
    with pytest.raises(ServeError) as refused:
        reviewed(a_verification(status=status), a_customer(), VerificationStatus(decision), NOW_MS)
    assert refused.value.code is Code.VERIFICATION_CLOSED


def test_nothing_that_tells_of_a_person_is_in_a_repr() -> None:
    """Neither scores nor names, whoever logs a record by mistake."""
    session = a_session(face_match=MATCH, liveness=LIVE)
    text = repr(session) + repr(view_of(session))
    assert "0.9" not in text
    assert "alice" not in text
