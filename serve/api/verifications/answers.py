"""Responses about verifications.

`result` is null until there is a verdict. What was not looked at says `available: false`, and no
number is ever made up. Scores are on the mapped scale, 0 to 1, rounded to 0.01 on their own side of
the threshold.
"""

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import Field

from serve.api.answers import ListResponse, Timestamp, timestamp
from serve.api.wire import FaceId, IdentityToken, SessionId, VerificationId, Wire
from serve.domain.callback import ReasonItem
from serve.domain.ids import Mode
from serve.domain.verifications.rules import CheckName, CheckStatus, checks_of, is_decided
from serve.domain.verifications.told import told_score
from serve.domain.verifications.verification import (
    Applicant,
    DocumentType,
    FaceMatch,
    LivenessMethod,
    LivenessScore,
    Verification,
    VerificationKind,
    VerificationStatus,
)
from serve.flows.verifications.identity import IssuedIdentity
from serve.ports import Page

Score = Annotated[float, Field(ge=0.0, le=1.0)]


class UnavailableResponse(Wire):
    """What was not looked at."""

    available: Literal[False] = False


class FaceMatchResponse(Wire):
    """The comparison with the face verified before."""

    available: Literal[True] = True
    similarity: Score
    threshold: Score
    is_match: bool

    @classmethod
    def of(cls, found: FaceMatch) -> Self:
        """`found` on the wire."""
        return cls(
            similarity=told_score(found.similarity, found.threshold, is_passed=found.is_match),
            threshold=found.threshold,
            is_match=found.is_match,
        )


class LivenessResponse(Wire):
    """Attack detection on one image, or a challenge that was done before the camera."""

    available: Literal[True] = True
    is_live: bool
    score: Score
    threshold: Score
    method: LivenessMethod

    @classmethod
    def of(cls, found: LivenessScore) -> Self:
        """`found` on the wire."""
        return cls(
            is_live=found.is_live,
            score=told_score(found.score, found.threshold, is_passed=found.is_live),
            threshold=found.threshold,
            method=found.method,
        )


class CheckResponse(Wire):
    """One check that something is known of."""

    name: CheckName
    status: CheckStatus


class ResultResponse(Wire):
    """What a verification came to."""

    document: UnavailableResponse
    face_match: FaceMatchResponse | UnavailableResponse
    liveness: LivenessResponse | UnavailableResponse
    screening: UnavailableResponse
    """Sanctions and politically exposed persons; not the search for the face."""
    checks: tuple[CheckResponse, ...]
    risk: None = None
    reasons: tuple[ReasonItem, ...]

    @classmethod
    def of(cls, verification: Verification) -> Self:
        """The result of a verification that is decided."""
        match, live = verification.face_match, verification.liveness
        nothing = UnavailableResponse()
        return cls(
            document=nothing,
            face_match=nothing if match is None else FaceMatchResponse.of(match),
            liveness=nothing if live is None else LivenessResponse.of(live),
            screening=nothing,
            checks=tuple(
                CheckResponse(name=check.name, status=check.status)
                for check in checks_of(verification)
            ),
            reasons=tuple(
                ReasonItem(code=code, description=code.description) for code in verification.reasons
            ),
        )


class ApplicantResponse(Wire):
    """What the tenant said of the person; nulls for a key without the scope `pii`."""

    name: str | None
    email: str | None
    dob: str | None
    country: str | None

    @classmethod
    def of(cls, applicant: Applicant) -> Self:
        """`applicant` on the wire."""
        return cls(**applicant.model_dump())


class VerificationResponse(Wire):
    """A verification: of a tenant's asking, or the one behind an enrolment, a session or a
    re-verification.
    """

    id: VerificationId
    reference: str
    status: VerificationStatus
    mode: Mode
    kind: VerificationKind
    customer_id: str
    session_id: SessionId | None
    """The session that this is a view of."""
    face_id: FaceId | None
    """The face that was enrolled."""
    document_type: DocumentType | Literal[""]
    """Empty where no document is asked for."""
    applicant: ApplicantResponse
    hosted_url: str
    """Where the person is to go on; empty while the service has no public base URL. The page itself
    comes with the capture of documents."""
    created_at: Timestamp
    updated_at: Timestamp
    result: ResultResponse | None
    """Null until there is a verdict."""
    signals: None = None

    @classmethod
    def of(cls, found: Verification, hosted_url: str, *, shows_applicant: bool) -> Self:
        """`found` on the wire."""
        return cls(
            id=found.id,
            reference=found.reference,
            status=found.status,
            mode=found.mode,
            kind=found.kind,
            customer_id=found.customer_id,
            session_id=found.session_id or None,
            face_id=found.face_id or None,
            document_type=found.document_type or "",
            applicant=ApplicantResponse.of(found.applicant if shows_applicant else Applicant()),
            hosted_url=hosted_url,
            created_at=timestamp(found.created_at_ms),
            updated_at=timestamp(found.updated_at_ms),
            result=ResultResponse.of(found) if is_decided(found) else None,
        )


class VerificationsResponse(ListResponse):
    """The tenant's verifications."""

    data: tuple[VerificationResponse, ...]

    @classmethod
    def of(
        cls, page: Page[Verification], told: Callable[[Verification], VerificationResponse]
    ) -> Self:
        """`page` on the wire, each as `told` renders it."""
        return cls(
            data=tuple(map(told, page.items)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


class IdentityResponse(Wire):
    """A reusable identity token, which is shown this once."""

    token: IdentityToken
    customer_id: str

    @classmethod
    def of(cls, issued: IssuedIdentity) -> Self:
        """`issued` on the wire."""
        return cls(token=issued.token, customer_id=issued.customer_id)
