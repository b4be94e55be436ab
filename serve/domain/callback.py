"""The callback object, and the record of one callback on its way to the tenant.

The object is what `submit` and `verify` answer and what is POSTed to `callback_url`. Whoever
holds the token can read it, so it has no score, no threshold and no customer's id.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from pipeline.decision.reasons import Reason
from serve.domain.document import Document
from serve.domain.ids import Mode
from serve.domain.session import KycStatus, Session, State

ATTEMPTS_KEPT = 32


class ReasonItem(Document):
    """One structured reason."""

    code: Reason
    description: str


class ReactionResult(Document):
    """What is left, and what the tenant's app shall do once the retry limit was exceeded."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    retries_remaining: int
    retry_limit_exceeded: bool
    trigger_alert: bool
    enforce_logout: bool
    freeze_account: bool
    block: bool
    freeze_duration_minutes: int
    alert_id: str | SkipJsonSchema[None] = None
    """Absent where there is none."""


class CallbackObject(Document):
    """The state of a session, as the wire tells it."""

    event: Literal["reuse_kyc"] = "reuse_kyc"
    reference: str
    resource_id: str
    status: KycStatus
    reasons: tuple[ReasonItem, ...]
    declined_reason: str
    """Deprecated: the first description of `reasons`."""
    warnings: dict[str, dict[str, str]]
    """Deprecated: the same as `reasons`, under `face`."""
    data: ReactionResult

    def to_wire(self) -> bytes:
        """UTF-8 JSON; `alert_id` is absent where there is none."""
        return self.model_dump_json(exclude_none=True).encode()


def callback_object(session: Session) -> CallbackObject:
    """What the wire says of `session`."""
    exceeded = session.state is State.DECLINED
    reactions = session.reactions
    reasons = tuple(ReasonItem(code=code, description=code.description) for code in session.reasons)
    described = {item.code.value: item.description for item in reasons}
    return CallbackObject(
        reference=session.reference,
        resource_id=session.id,
        status=session.status,
        reasons=reasons,
        declined_reason=reasons[0].description if reasons else "",
        warnings={"face": described} if described else {},
        data=ReactionResult(
            retries_remaining=session.retries_remaining,
            retry_limit_exceeded=exceeded,
            trigger_alert=exceeded and reactions.trigger_alert,
            enforce_logout=exceeded and reactions.enforce_logout,
            freeze_account=exceeded and reactions.freeze_account,
            block=exceeded,
            freeze_duration_minutes=(
                reactions.freeze_duration_minutes if exceeded and reactions.freeze_account else 0
            ),
            alert_id=session.alert_id or None,
        ),
    )


class DeliveryState(StrEnum):
    """How far a callback has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"  # every retry failed; it can be sent again by hand
    DISABLED = "disabled"  # the receiver answered 410 Gone, or only failed for five days


class DeliveryAttempt(Document):
    """One try. `status` is the HTTP status, or None when no answer came; `error` says why."""

    at_ms: int
    duration_ms: int
    status: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one POST; `retry_after_s` is the receiver's wish."""

    attempt: DeliveryAttempt
    retry_after_s: int | None = None


class CallbackEvent(Document):
    """One callback of one session; `body` is rendered once and never changes."""

    id: str
    tenant_id: str
    mode: Mode
    session_id: str
    sequence: int
    url: str = Field(repr=False)
    body: str = Field(repr=False)
    created_at_ms: int
    state: DeliveryState = DeliveryState.PENDING
    failures: int = 0
    next_attempt_at_ms: int | None
    attempts: Annotated[tuple[DeliveryAttempt, ...], Field(max_length=ATTEMPTS_KEPT)] = ()


def callback_for(session: Session, event_id: str, now_ms: int) -> tuple[Session, CallbackEvent]:
    """The callback that tells of `session` as it is, and the session counting it."""
    counted = session.model_copy(update={"sequence": session.sequence + 1})
    event = CallbackEvent(
        id=event_id,
        tenant_id=session.tenant_id,
        mode=session.mode,
        session_id=session.id,
        sequence=counted.sequence,
        url=session.callback_url,
        body=callback_object(counted).to_wire().decode(),
        created_at_ms=now_ms,
        next_attempt_at_ms=now_ms,
    )
    return counted, event
