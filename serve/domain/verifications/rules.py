"""What a verification says: a session seen as one, how its checks came out, and its review.

| session                             | verification |
|-------------------------------------|--------------|
| created, capturing, tried or not    | pending      |
| processing                          | processing   |
| approved                            | approved     |
| declined, expired, canceled         | rejected     |
| needs_review                        | needs_review |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import Outcome
from serve.domain.customer import Customer
from serve.domain.ids import Prefix, renamed
from serve.domain.search.gallery import Standing
from serve.domain.session import Session, State
from serve.domain.verifications.verification import (
    Verification,
    VerificationKind,
    VerificationStatus,
)
from serve.errors import Code, ServeError

STATUSES: Mapping[State, VerificationStatus] = MappingProxyType(
    {
        State.CREATED: VerificationStatus.PENDING,
        State.CAPTURING: VerificationStatus.PENDING,
        State.PROCESSING: VerificationStatus.PROCESSING,
        State.APPROVED: VerificationStatus.APPROVED,
        State.DECLINED: VerificationStatus.REJECTED,
        State.NEEDS_REVIEW: VerificationStatus.NEEDS_REVIEW,
        State.EXPIRED: VerificationStatus.REJECTED,
        State.CANCELED: VerificationStatus.REJECTED,
    }
)
OUTCOMES: Mapping[Outcome, VerificationStatus] = MappingProxyType(
    {
        Outcome.APPROVED: VerificationStatus.APPROVED,
        Outcome.DECLINED: VerificationStatus.REJECTED,
        Outcome.NEEDS_REVIEW: VerificationStatus.NEEDS_REVIEW,
    }
)
_UNDECIDED = frozenset({VerificationStatus.PENDING, VerificationStatus.PROCESSING})
_STANDINGS = MappingProxyType(
    {
        VerificationStatus.APPROVED: Standing.APPROVED,
        VerificationStatus.REJECTED: Standing.REFUSED,
    }
)


class CheckName(StrEnum):
    """What is looked at."""

    FACE_MATCH = "face_match"
    LIVENESS = "liveness"
    BLOCKLIST = "blocklist"
    DUPLICATES = "duplicates"


class CheckStatus(StrEnum):
    """How it came out. What the policy does not ask for was not checked."""

    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One check that something is known of."""

    name: CheckName
    status: CheckStatus


def view_of(session: Session) -> Verification:
    """The verification that a session is, once time has moved it (`elapsed`)."""
    return Verification(
        id=renamed(Prefix.VERIFICATION, session.id),
        tenant_id=session.tenant_id,
        mode=session.mode,
        kind=VerificationKind.SESSION,
        customer_id=session.customer_id,
        reference=session.reference,
        status=STATUSES[session.state],
        session_id=session.id,
        reasons=session.reasons,
        face_match=session.face_match,
        liveness=session.liveness,
        created_at_ms=session.created_at_ms,
        updated_at_ms=session.updated_at_ms,
    )


def is_decided(verification: Verification) -> bool:
    """Whether there is a result: after a verdict, or the end of what it is a view of."""
    return verification.status not in _UNDECIDED


def checks_of(verification: Verification) -> tuple[Check, ...]:
    """The checks of which the record says something; a search that found nobody leaves no word."""
    reasons = frozenset(verification.reasons)
    face_match = _face_match(verification, reasons)
    is_searched = Reason.SERVICE_UNAVAILABLE not in reasons or face_match is CheckStatus.UNAVAILABLE
    found = {
        CheckName.FACE_MATCH: face_match,
        CheckName.LIVENESS: _liveness(verification, reasons),
        CheckName.BLOCKLIST: _search(reasons, Reason.BLOCKLISTED, is_searched=is_searched),
        CheckName.DUPLICATES: _search(reasons, Reason.DUPLICATE_FACE, is_searched=is_searched),
    }
    return tuple(Check(name, status) for name, status in found.items() if status is not None)


def reviewed(
    verification: Verification, customer: Customer, decision: VerificationStatus, now_ms: int
) -> tuple[Verification, Customer]:
    """A record after a reviewer approved or rejected it, and its customer: of an enrolment the
    face may be compared with from now on, or never. Raises `verification_closed`.
    """
    assert decision in _STANDINGS, "a reviewer approves or rejects"
    if verification.status is not VerificationStatus.NEEDS_REVIEW:
        raise ServeError(
            Code.VERIFICATION_CLOSED, f"the verification is {verification.status.value}"
        )
    is_rejected = decision is VerificationStatus.REJECTED
    declined = (Reason.REVIEW_DECLINED,) if is_rejected else ()
    decided = verification.model_copy(
        update={
            "status": decision,
            "reasons": (*declined, *verification.reasons),
            "updated_at_ms": now_ms,
        }
    )
    if verification.kind is not VerificationKind.ENROLMENT:
        return decided, customer
    return decided, with_standing(customer, verification.face_id, _STANDINGS[decision])


def with_standing(customer: Customer, face_id: str, standing: Standing) -> Customer:
    """`customer` with that standing of that reference."""
    references = tuple(
        item.model_copy(update={"standing": standing}) if item.face_id == face_id else item
        for item in customer.references
    )
    return customer.model_copy(update={"references": references})


def _face_match(verification: Verification, reasons: frozenset[Reason]) -> CheckStatus | None:
    if verification.face_match is not None:
        is_match = verification.face_match.is_match
        return CheckStatus.PASSED if is_match else CheckStatus.FAILED
    if Reason.FACE_MISMATCH in reasons:
        return CheckStatus.FAILED
    compares = verification.kind in {VerificationKind.SESSION, VerificationKind.REVERIFICATION}
    if compares and Reason.SERVICE_UNAVAILABLE in reasons:
        return CheckStatus.UNAVAILABLE
    return None


def _liveness(verification: Verification, reasons: frozenset[Reason]) -> CheckStatus | None:
    if reasons & {Reason.PRESENTATION_ATTACK, Reason.LIVENESS_FAILED}:
        return CheckStatus.FAILED
    if Reason.LIVENESS_UNAVAILABLE in reasons:
        return CheckStatus.UNAVAILABLE
    if Reason.LIVENESS_NOT_CHECKED in reasons:
        return CheckStatus.NOT_CHECKED
    if verification.liveness is not None and verification.liveness.is_live:
        return CheckStatus.PASSED
    return None


def _search(reasons: frozenset[Reason], found: Reason, *, is_searched: bool) -> CheckStatus | None:
    if found in reasons:
        return CheckStatus.FAILED
    return None if is_searched else CheckStatus.UNAVAILABLE
