"""Requests of `/api/v1` as models: what validates them is what describes them.

Unknown keys are refused, and no value is taken for one of another type.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from serve.domain.alert import AlertStatus, AlertType
from serve.domain.audit import Action
from serve.domain.ids import IDENTITY_PATTERN, TOKEN_PATTERN, Prefix, id_pattern
from serve.domain.liveness.limits import CAPTURED_MS_MAX, FRAMES_MAX, FRAMES_MIN
from serve.domain.sweeps.signals import (
    SIGNAL_LENGTH_MAX,
    SIGNAL_LENGTH_MIN,
    SIGNAL_PATTERN,
    SignalKind,
)
from serve.domain.tenancy.preferences import Amount, Count
from serve.domain.tenancy.tenant import URL_LENGTH_MAX

NAME_LENGTH_MAX = 256
LIMIT_MAX = 100
LIMIT_DEFAULT = 20
NONCE_LENGTH_MAX = 128
CURSOR_LENGTH_MAX = 256  # whatever its characters, the head of a request has room for them

NAME_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"  # no control characters, in words every reader knows

Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX, pattern=NAME_PATTERN)]
Url = Annotated[str, Field(max_length=URL_LENGTH_MAX)]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]


def _named_by(pattern: str) -> WithJsonSchema:
    """Describes what an id looks like. What looks otherwise finds nothing, so nobody checks."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


SessionId = Annotated[str, _named_by(id_pattern(Prefix.SESSION))]
FaceId = Annotated[str, _named_by(id_pattern(Prefix.FACE))]
AlertId = Annotated[str, _named_by(id_pattern(Prefix.ALERT))]
EventId = Annotated[str, _named_by(id_pattern(Prefix.EVENT))]
ErasureId = Annotated[str, _named_by(id_pattern(Prefix.ERASURE))]
VerificationId = Annotated[str, _named_by(id_pattern(Prefix.VERIFICATION))]
FlagId = Annotated[str, _named_by(id_pattern(Prefix.FLAG))]
BlockId = Annotated[str, _named_by(id_pattern(Prefix.BLOCK))]
SweepId = Annotated[str, _named_by(id_pattern(Prefix.SWEEP))]
RingId = Annotated[str, _named_by("rng_[0-9a-f]{28}")]
Token = Annotated[str, _named_by(TOKEN_PATTERN)]
IdentityToken = Annotated[str, _named_by(IDENTITY_PATTERN)]
TokenIfAny = Annotated[str, _named_by(f"({TOKEN_PATTERN})?")]


class Wire(BaseModel):
    """Anything on the wire."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,  # what is rendered has every member
    )


class Parameters(Wire):
    """What the path and the query say; text is turned into the type that is asked for."""


class Empty(Parameters):
    """Nothing."""


class TokenParameters(Parameters):
    """A session token."""

    token: Token = Field(repr=False)
    """What `POST /api/v1/kyc/face/session` gave out."""


class SessionParameters(Parameters):
    """A session."""

    session_id: SessionId


class CustomerParameters(Parameters):
    """A customer of the tenant, under the tenant's own name for it."""

    customer_id: Name = Field(repr=False)


class SessionsParameters(CustomerParameters):
    """Which sessions of a customer to list."""

    reference: Name | None = Field(default=None, repr=False)
    """Only those opened under this reference."""
    limit: Limit = LIMIT_DEFAULT


class PageParameters(Parameters):
    """Which page of a list."""

    cursor: str = Field(default="", max_length=CURSOR_LENGTH_MAX)
    """`next_cursor` of the page before; empty for the first."""
    limit: Limit = LIMIT_DEFAULT


class AlertsParameters(PageParameters):
    """Which alerts to list."""

    status: AlertStatus | None = None
    alert_type: AlertType | None = None
    """Only this type; a page then holds those of its alerts that are of it, maybe none."""


class AuditParameters(PageParameters):
    """Which entries of the audit trail to list.

    With a customer or an action a page holds those of the entries looked at that are meant, maybe
    none: go on while there is a `next_cursor`.
    """

    customer_id: Name | None = Field(default=None, repr=False)
    """Only what was done to this customer, erased or not."""
    action: Action | None = None


class AlertParameters(Parameters):
    """An alert."""

    alert_id: AlertId


class ErasureParameters(Parameters):
    """An erasure."""

    erasure_id: ErasureId


class EventParameters(Parameters):
    """A callback."""

    event_id: EventId


class Body(Wire):
    """A JSON object that a route reads."""


class OpenBody(Body):
    """An event at the tenant's that may call for a face."""

    reference: Name = Field(repr=False)
    """The tenant's own name for this verification."""
    customer_id: Name = Field(repr=False)
    event: str | None = None
    """One of the events of `reuse_kyc_triggers`; empty or unknown passes through."""
    amount: Amount | None = None
    """USD."""
    event_count: Count | None = None
    event_window_minutes: Count | None = None
    redirect_url: Url = Field(default="", repr=False)
    callback_url: Url = Field(default="", repr=False)


def _without_default(schema: dict[str, Any]) -> None:
    """What is absent is absent: there is no value that says the same."""
    schema.pop("default", None)


class FrameBody(Body):
    """A frame of a clip."""

    image: str = Field(repr=False)
    """The frame in base64 or as a data URL, of one size with the others, and within the limits that
    the challenge tells.
    """
    captured_ms: float = Field(ge=0, le=CAPTURED_MS_MAX, allow_inf_nan=False)
    """When it was taken, in milliseconds of a clock of the phone's that never goes back."""


class SubmitBody(Body):
    """A selfie; or a clip of what the challenge asks for, which is judged as a whole and never
    later: then `nonce` and `frames` come together.
    """

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"nonce": ["frames"], "frames": ["nonce"]}}
    )

    token: Token | None = Field(default=None, repr=False)
    """The session token, unless `Authorization: Bearer` carries it."""
    proof: str = Field(repr=False)
    """The image of a face, in base64 or as a data URL; of a clip, one of its frames."""
    nonce: str = Field(
        default="", max_length=NONCE_LENGTH_MAX, repr=False, json_schema_extra=_without_default
    )
    """That of the challenge."""
    frames: tuple[FrameBody, ...] = Field(
        default=(),
        min_length=FRAMES_MIN,
        max_length=FRAMES_MAX,
        repr=False,
        json_schema_extra=_without_default,
    )
    """The clip, in the order in which it was taken."""

    @model_validator(mode="after")
    def _bound(self) -> Self:
        if len({"nonce", "frames"} & self.model_fields_set) == 1:
            raise ValueError("`nonce` and `frames` come together")
        return self


class ConnectBody(Body):
    """A phone that attaches itself, or lets go."""

    token: Token = Field(repr=False)
    is_disconnect: bool = Field(
        default=False, validation_alias=AliasChoices("is_disconnect", "isDisconnect")
    )


class ReviewBody(Body):
    """A reviewer's decision."""

    decision: Literal["approved", "declined"]


Signal = Annotated[
    str,
    Field(
        min_length=SIGNAL_LENGTH_MIN,
        max_length=SIGNAL_LENGTH_MAX,
        pattern=SIGNAL_PATTERN,
    ),
]


class SignalsBody(Body):
    """What the customer gave beside the face: of each a hash of the tenant's own making, the same
    whenever it is the same thing. Send the hash and never the thing itself: it is kept as a digest
    of yours under a key of this install, shown to nobody again, and erased with the customer.
    """

    document: Signal | None = Field(default=None, repr=False)
    """Of the number of an identity document."""
    device: Signal | None = Field(default=None, repr=False)
    """Of what names the device."""
    phone: Signal | None = Field(default=None, repr=False)
    """Of the phone number."""
    email: Signal | None = Field(default=None, repr=False)
    """Of the e-mail address."""

    @property
    def given(self) -> dict[SignalKind, str]:
        """Those that are there."""
        return {SignalKind(kind): text for kind, text in self if text is not None}


class EnrolBody(Body):
    """A reference face."""

    image: str = Field(repr=False)
    """The image of a face, in base64 or as a data URL."""
    consent_id: Name | None = Field(default=None, repr=False)
    """The tenant's record of the customer's consent."""
    signals: SignalsBody = Field(default_factory=SignalsBody, repr=False)
    """The newest 16 of a customer are kept: two who gave the same are likelier one person."""
