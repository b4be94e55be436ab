"""Responses about sessions; no score is in any of them."""

from collections.abc import Iterable
from typing import Self

from pipeline.liveness.judgement import Doubt
from serve.api.answers import ListResponse, Timestamp, timestamp
from serve.api.wire import AlertId, SessionId, TokenIfAny, Wire
from serve.domain.callback import ReasonItem
from serve.domain.session import KycStatus, Session
from serve.domain.tenancy.preferences import Event


class OpenResponse(Wire):
    """Whether a face is asked for; `reason` says why not."""

    reference: str
    token: TokenIfAny
    reason: str
    is_required: bool
    link: str
    attempts: int
    max_attempts: int


class HandoffResponse(Wire):
    """The hand-off; the fields of documents are unused for a face, and empty."""

    document: str = ""
    document_backside: str = ""
    document_two: str = ""
    document_two_backside: str = ""
    address: str = ""
    face: str = ""
    mobile_connected: bool
    is_submitted: bool = False


class ConnectResponse(Wire):
    """Whether a phone is attached."""

    mobile_connected: bool


class DoubtItem(Wire):
    """One thing that speaks against a clip."""

    code: Doubt
    description: str


class SessionResponse(Wire):
    """A session, as the tenant sees it."""

    id: SessionId
    reference: str
    customer_id: str
    event: Event
    status: KycStatus
    reasons: tuple[ReasonItem, ...]
    attempts: int
    max_attempts: int
    retries_remaining: int
    liveness_doubts: tuple[DoubtItem, ...]
    """What the last clip that was judged raised; the person is never told."""
    alert_id: AlertId | None
    created_at: Timestamp
    updated_at: Timestamp
    expires_at: Timestamp

    @classmethod
    def of(cls, session: Session) -> Self:
        """`session` on the wire."""
        return cls(
            id=session.id,
            reference=session.reference,
            customer_id=session.customer_id,
            event=session.event,
            status=session.status,
            reasons=tuple(
                ReasonItem(code=code, description=code.description) for code in session.reasons
            ),
            attempts=session.failed_attempts,
            max_attempts=session.max_attempts,
            retries_remaining=session.retries_remaining,
            liveness_doubts=tuple(
                DoubtItem(code=code, description=code.description)
                for code in session.liveness_doubts
            ),
            alert_id=session.alert_id or None,
            created_at=timestamp(session.created_at_ms),
            updated_at=timestamp(session.updated_at_ms),
            expires_at=timestamp(session.expires_at_ms),
        )


class SessionsResponse(ListResponse):
    """A customer's sessions."""

    data: tuple[SessionResponse, ...]

    @classmethod
    def of(cls, sessions: Iterable[Session]) -> Self:
        """The newest sessions, as many as were asked for."""
        return cls(data=tuple(map(SessionResponse.of, sessions)))
