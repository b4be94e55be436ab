"""Alerts: what a fraud team has to look at."""

from enum import StrEnum

from pydantic import Field

from serve.domain.document import Document
from serve.domain.ids import Mode


class AlertType(StrEnum):
    """What happened."""

    RETRY_LIMIT_EXCEEDED = "retry_limit_exceeded"
    DUPLICATE_FACE = "duplicate_face"
    BLOCKLIST_MATCH = "blocklist_match"
    LOCKOUT = "lockout"


class AlertStatus(StrEnum):
    """How far somebody has looked."""

    OPEN = "open"
    IN_REVIEW = "in_review"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


class Alert(Document):
    """One alert."""

    id: str
    tenant_id: str
    mode: Mode
    customer_id: str = Field(repr=False)
    session_id: str = ""
    verification_id: str = ""
    reference: str = Field(repr=False)
    alert_type: AlertType
    status: AlertStatus = AlertStatus.OPEN
    created_at_ms: int
    updated_at_ms: int

    @property
    def is_new(self) -> bool:
        """Whether nobody has changed it since it was raised."""
        return self.updated_at_ms == self.created_at_ms


class AlertPatch(Document):
    """What an operator may change of an alert."""

    alert_type: AlertType | None = None
    status: AlertStatus | None = None


def patched(alert: Alert, patch: AlertPatch, now_ms: int) -> Alert:
    """`alert` with what `patch` names."""
    given = patch.model_dump(exclude_none=True)
    return alert.model_copy(update={**given, "updated_at_ms": now_ms})
