"""A verification: the resource behind every enrolment and every face session.

One of a session is a view of the session, made when it is read; the others are records.
"""

from enum import StrEnum

from pydantic import Field

from pipeline.decision.reasons import Reason
from serve.domain.document import Document
from serve.domain.ids import Mode


class VerificationStatus(StrEnum):
    """Where it stands, in the words of this dialect."""

    PENDING = "pending"
    PROCESSING = "processing"
    APPROVED = "approved"
    REJECTED = "rejected"
    NEEDS_REVIEW = "needs_review"


class VerificationKind(StrEnum):
    """What it came from."""

    CREATED = "created"
    ENROLMENT = "enrolment"
    SESSION = "session"
    REVERIFICATION = "reverification"


class DocumentType(StrEnum):
    """The document that is asked for."""

    PASSPORT = "passport"
    ID_CARD = "id_card"
    DRIVERS_LICENSE = "drivers_license"


class Applicant(Document):
    """What the tenant says of the person."""

    name: str | None = Field(default=None, repr=False)
    email: str | None = Field(default=None, repr=False)
    dob: str | None = Field(default=None, repr=False)
    country: str | None = None


class FaceMatch(Document):
    """The 1:1 comparison behind a verdict, on the mapped scale of 0 to 1."""

    similarity: float
    threshold: float
    is_match: bool


class LivenessMethod(StrEnum):
    """What looked for somebody live."""

    PASSIVE = "passive"  # presentation attack detection on the one image
    MOTION_CHALLENGE = "motion_challenge"  # a clip of what was asked for, attack detection with it


class LivenessScore(Document):
    """How sure it is that somebody live stood before the camera; `score` is a belief, 0 to 1."""

    score: float
    threshold: float
    is_live: bool
    method: LivenessMethod = LivenessMethod.PASSIVE


class Verification(Document):
    """The record; sealed under its customer's key as a whole.

    `document_type` is None where no document is asked for. `face_id` is the face that an
    enrolment was about, `session_id` the session that one is a view of; empty for the others.
    """

    id: str
    tenant_id: str
    mode: Mode
    kind: VerificationKind
    customer_id: str = Field(repr=False)
    reference: str = Field(repr=False)
    status: VerificationStatus
    document_type: DocumentType | None = None
    applicant: Applicant = Field(default_factory=Applicant, repr=False)
    face_id: str = ""
    session_id: str = ""
    reasons: tuple[Reason, ...] = ()
    face_match: FaceMatch | None = Field(default=None, repr=False)
    liveness: LivenessScore | None = Field(default=None, repr=False)
    created_at_ms: int
    updated_at_ms: int

    @property
    def is_new(self) -> bool:
        """Whether nothing has changed it since it was made."""
        return self.updated_at_ms == self.created_at_ms
