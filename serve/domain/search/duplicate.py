"""Duplicates: one face under two accounts, flagged, reviewed, and never found again once a
reviewer has said that they are different people.
"""

from enum import StrEnum

from pydantic import Field

from serve.domain.document import Document
from serve.domain.ids import Mode, Prefix, Subject, renamed
from serve.errors import Code, ServeError

FLAGS_PER_SCREENING_MAX = 5  # the pairs most alike that are not known yet; a sweep finds all
FLAGS_KEPT = 100
DIFFERENT_KEPT = 1_000


class FlagType(StrEnum):
    """Which signal matched."""

    FACE = "face"
    DOCUMENT = "document"


class FlagStatus(StrEnum):
    """What a reviewer made of it. Dismissed means for ever: these are different people."""

    OPEN = "open"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


class DuplicateFlag(Document):
    """One face, or one document, under two accounts.

    Kept with the customer who was screened, sealed under their key. `matched_subject` locates
    the other (`tenant:mode:key`); nothing else is kept of them, so that it goes with them.
    `score` is the similarity, 0 to 1, rounded to 0.01.
    """

    id: str
    tenant_id: str
    mode: Mode
    type: FlagType = FlagType.FACE
    score: float
    detail: str | None = None
    status: FlagStatus = FlagStatus.OPEN
    verification_id: str
    matched_verification_id: str
    matched_subject: str = Field(repr=False)
    reviewer: str | None = Field(default=None, repr=False)
    reason: str | None = Field(default=None, repr=False)
    created_at_ms: int
    updated_at_ms: int

    @property
    def matched(self) -> Subject:
        """The other customer, who may have gone since."""
        return Subject(self.tenant_id, self.mode, self.matched_subject.rpartition(":")[2])

    @property
    def matched_face_id(self) -> str:
        """The face of the other's that was found."""
        return renamed(Prefix.FACE, self.matched_verification_id)


class FlagPatch(Document):
    """What a reviewer makes of a flag. `reviewer` and `reason` are the tenant's own words."""

    status: FlagStatus
    reviewer: str | None = Field(default=None, repr=False)
    reason: str | None = Field(default=None, repr=False)


def changed(flag: DuplicateFlag, patch: FlagPatch, now_ms: int) -> DuplicateFlag:
    """`flag` as a reviewer leaves it.

    Raises `flag_closed` for one that was dismissed, which is for ever, and `field_invalid` where
    two people are told apart without a reason.
    """
    if flag.status is FlagStatus.DISMISSED:
        raise ServeError(Code.FLAG_CLOSED, "the flag was dismissed")
    if patch.status is FlagStatus.DISMISSED and not (patch.reason or "").strip():
        raise ServeError(Code.FIELD_INVALID, "reason: a dismissal needs one")
    return flag.model_copy(update={**dict(patch), "updated_at_ms": now_ms})


def seen_by_matched(flag: DuplicateFlag, owner: Subject) -> DuplicateFlag:
    """The same flag as the customer has it whom it names: `owner` is the other there."""
    turned = {
        "verification_id": flag.matched_verification_id,
        "matched_verification_id": flag.verification_id,
        "matched_subject": owner.locator,
    }
    return flag.model_copy(update=turned)
