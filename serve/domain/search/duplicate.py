"""Duplicates: one face under two accounts, flagged, reviewed, and never found again once a
reviewer has said that they are different people.
"""

from enum import StrEnum

from pydantic import Field

from serve.domain.document import Document
from serve.domain.ids import Mode

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
