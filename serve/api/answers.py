"""Responses of `/api/v1` as models: what renders them is what describes them.

Times are RFC 3339 in UTC with milliseconds.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from aiohttp import web
from pydantic import BaseModel, Field, RootModel

from pipeline.decision.policy import DuplicatePolicy, LivenessPolicy
from serve.api.wire import (
    AlertId,
    ErasureId,
    EventId,
    FaceId,
    SessionId,
    VerificationId,
    Wire,
)
from serve.domain.alert import Alert, AlertStatus, AlertType
from serve.domain.callback import CallbackEvent, DeliveryState
from serve.domain.erasure import ErasureReceipt, ErasureStep
from serve.domain.session import KycStatus
from serve.domain.tenancy.preferences import Preferences, PreferencesPatch
from serve.domain.tenancy.tenant import Tenant
from serve.domain.verifications.verification import VerificationStatus
from serve.flows.customers import EnrolAnswer
from serve.ports import Page

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_STAMPS = {"created_at_ms", "updated_at_ms"}


def timestamp(ms: int) -> str:
    """`2026-01-31T12:00:00.000Z` of milliseconds since 1970."""
    moment = datetime.fromtimestamp(ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1_000:03d}Z"


def _timestamp_or_none(ms: int | None) -> str | None:
    return None if ms is None else timestamp(ms)


def answered(model: BaseModel, status: int = 200) -> web.Response:
    """`model` as a JSON response."""
    return answered_bytes(model.model_dump_json().encode(), status)


def answered_bytes(body: bytes, status: int = 200) -> web.Response:
    """JSON that is already rendered."""
    return web.Response(status=status, body=body, content_type="application/json")


class StatusResponse(Wire):
    """Where a customer's verification stands."""

    kyc_status: KycStatus
    message: str


class OverviewResponse(RootModel[dict[str, int]]):
    """Counts of the tenant's sessions and alerts, by status."""


class EnrolResponse(Wire):
    """An enrolled face, and how good it is."""

    face_id: FaceId
    customer_id: str
    quality: dict[str, int | None]
    """Each component 0 to 100; null where it could not be measured."""
    feedback: tuple[str, ...]
    model: str
    verification_id: VerificationId | None
    """The verification of the enrolment; null for a face from before there were verifications."""
    status: VerificationStatus
    """Approved once the face was searched among all others and nothing speaks against it."""
    duplicates: int
    """How many other customers this one is flagged with."""

    @classmethod
    def of(cls, answer: EnrolAnswer) -> Self:
        """`answer` on the wire."""
        return cls(
            face_id=answer.face_id,
            customer_id=answer.customer_id,
            quality=answer.quality,
            feedback=answer.feedback,
            model=answer.model,
            verification_id=answer.verification_id,
            status=answer.status,
            duplicates=answer.duplicates,
        )


class StepResponse(Wire):
    """One step of an erasure."""

    step: ErasureStep
    due_at: Timestamp
    done_at: Timestamp | None


class ErasureResponse(Wire):
    """The receipt of an erasure: what was erased, and by when each copy is gone."""

    erasure_id: ErasureId
    requested_at: Timestamp
    is_complete: bool
    faces: int
    sessions: int
    steps: tuple[StepResponse, ...]

    @classmethod
    def of(cls, receipt: ErasureReceipt) -> Self:
        """`receipt` on the wire."""
        return cls(
            erasure_id=receipt.id,
            requested_at=timestamp(receipt.requested_at_ms),
            is_complete=receipt.is_complete,
            faces=receipt.faces,
            sessions=receipt.sessions,
            steps=tuple(
                StepResponse(
                    step=step.step,
                    due_at=timestamp(step.due_at_ms),
                    done_at=_timestamp_or_none(step.done_at_ms),
                )
                for step in receipt.steps
            ),
        )


class PreferencesResponse(PreferencesPatch):
    """The tenant's preferences in the key's world."""

    id: str
    tenant_id: str
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, preferences: Preferences) -> Self:
        """`preferences` on the wire."""
        return cls(
            **preferences.model_dump(exclude=_STAMPS),
            created_at=timestamp(preferences.created_at_ms),
            updated_at=timestamp(preferences.updated_at_ms),
        )


class TenantResponse(Wire):
    """The tenant's own settings."""

    id: str
    name: str
    liveness_policy: LivenessPolicy
    allowed_origins: tuple[str, ...]
    frontend_base_url: str
    keep_reference_images: bool
    session_retention_days: int
    duplicates: DuplicatePolicy
    duplicate_target_fpir: float | None
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, tenant: Tenant) -> Self:
        """`tenant` on the wire."""
        return cls(
            **tenant.model_dump(exclude=_STAMPS | {"preferences", "test_settings"}),
            created_at=timestamp(tenant.created_at_ms),
            updated_at=timestamp(tenant.updated_at_ms),
        )


class AlertResponse(Wire):
    """An alert."""

    id: AlertId
    tenant_id: str
    customer_id: str
    session_id: SessionId | None
    """Null for what no session raised."""
    verification_id: VerificationId | None
    """The verification that found the duplicate or the blocked face; null for other alerts."""
    reference: str
    alert_type: AlertType
    status: AlertStatus
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """`alert` on the wire."""
        return cls(
            **alert.model_dump(exclude=_STAMPS | {"mode", "session_id", "verification_id"}),
            session_id=alert.session_id or None,
            verification_id=alert.verification_id or None,
            created_at=timestamp(alert.created_at_ms),
            updated_at=timestamp(alert.updated_at_ms),
        )


class AttemptResponse(Wire):
    """One try to deliver a callback; `status` is null when no answer came."""

    at: Timestamp
    duration_ms: int
    status: int | None
    error: str


class EventSummary(Wire):
    """A callback on its way, delivered, or given up."""

    id: EventId
    session_id: SessionId
    sequence: int
    """Counts the callbacks of a session: they may arrive in another order."""
    url: str
    state: DeliveryState
    failures: int
    created_at: Timestamp
    next_attempt_at: Timestamp | None

    @classmethod
    def of(cls, event: CallbackEvent) -> Self:
        """`event` on the wire."""
        return cls.model_validate(cls.members(event))

    @staticmethod
    def members(event: CallbackEvent) -> dict[str, object]:
        """What a list tells of `event`."""
        return {
            "id": event.id,
            "session_id": event.session_id,
            "sequence": event.sequence,
            "url": event.url,
            "state": event.state,
            "failures": event.failures,
            "created_at": timestamp(event.created_at_ms),
            "next_attempt_at": _timestamp_or_none(event.next_attempt_at_ms),
        }


class EventResponse(EventSummary):
    """A callback with what was sent and every attempt that is kept."""

    body: str
    """The callback object, byte for byte as it is signed and sent."""
    attempts: tuple[AttemptResponse, ...]

    @staticmethod
    def members(event: CallbackEvent) -> dict[str, object]:
        """All of `event`."""
        return {
            **EventSummary.members(event),
            "body": event.body,
            "attempts": tuple(
                AttemptResponse(
                    at=timestamp(attempt.at_ms),
                    duration_ms=attempt.duration_ms,
                    status=attempt.status,
                    error=attempt.error,
                )
                for attempt in event.attempts
            ),
        }


class ListResponse(Wire):
    """A page of a list, newest first; `next_cursor` is empty on the last."""

    next_cursor: str = ""
    has_more: bool = False


class AlertsResponse(ListResponse):
    """The tenant's alerts."""

    data: tuple[AlertResponse, ...]

    @classmethod
    def of(cls, page: Page[Alert], alert_type: AlertType | None) -> Self:
        """The alerts of `page` that are of `alert_type`, or all."""
        wanted = (item for item in page.items if alert_type in {None, item.alert_type})
        return cls(
            data=tuple(map(AlertResponse.of, wanted)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


class EventsResponse(ListResponse):
    """The tenant's callbacks."""

    data: tuple[EventSummary, ...]

    @classmethod
    def of(cls, page: Page[CallbackEvent]) -> Self:
        """`page` on the wire."""
        return cls(
            data=tuple(map(EventSummary.of, page.items)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


class HealthResponse(Wire):
    """The process answers."""

    status: Literal["ok"] = "ok"
