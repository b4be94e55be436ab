"""A tenant's preferences: which events call for a face, and what a failure sets off.

Names are the wire contract's. One definition serves the wire, the record and the rules.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from serve.domain.document import Document

RETRIES_MAX = 10
FREEZE_MINUTES_MAX = 525_600


class Event(StrEnum):
    """The events that may call for a face verification."""

    LOGIN = "login"
    PASSWORD_CHANGE = "password_change"  # noqa: S105 (the name of an event)
    NAME_CHANGE = "name_change"
    PHONE_NUMBER_CHANGE = "phone_number_change"
    TWO_FACTOR_AUTH_CHANGE = "two_factor_auth_change"
    NEW_DEVICE_OR_LOCATION = "new_device_or_location"
    DEVICE_FINGERPRINT_CHANGE = "device_fingerprint_change"
    PAYMENT_METHOD_CHANGE = "payment_method_change"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    LARGE_BET_PLACEMENT = "large_bet_placement"
    HIGH_FREQUENCY_BETTING = "high_frequency_betting"
    ACCOUNT_BALANCE_TRANSFER = "account_balance_transfer"


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**9)]


class ThresholdTrigger(Document):
    """Triggers at or above an amount; a threshold of 0 or null means any amount."""

    enabled: bool = False
    threshold: Amount | None = 0
    """USD."""


class FrequencyTrigger(Document):
    """Triggers at a number of events within a window; a bound of 0 or null is not enforced."""

    enabled: bool = False
    count: Count | None = 0
    window_minutes: Count | None = 0


class Triggers(Document):
    """One rule for each event; all off until the tenant says otherwise."""

    login: bool = False
    password_change: bool = False
    name_change: bool = False
    phone_number_change: bool = False
    two_factor_auth_change: bool = False
    new_device_or_location: bool = False
    device_fingerprint_change: bool = False
    payment_method_change: bool = False
    deposit: ThresholdTrigger = ThresholdTrigger()
    withdrawal: ThresholdTrigger = ThresholdTrigger()
    large_bet_placement: ThresholdTrigger = ThresholdTrigger()
    high_frequency_betting: FrequencyTrigger = FrequencyTrigger()
    account_balance_transfer: bool = False


class Reactions(Document):
    """What happens when the retries run out; total submissions are `max_retry_attempts` + 1."""

    max_retry_attempts: Annotated[int, Field(ge=0, le=RETRIES_MAX)] = 2
    trigger_alert: bool = True
    enforce_logout: bool = False
    freeze_account: bool = False
    freeze_duration_minutes: Annotated[int, Field(ge=0, le=FREEZE_MINUTES_MAX)] = 0


Age = Annotated[int, Field(ge=0, le=150)]
Score = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]
DocumentType = Annotated[str, Field(min_length=1, max_length=64)]


class PreferencesPatch(Document):
    """A partial update: only what is given changes. A rule given replaces its event's rule."""

    is_face_verification_required: bool = True
    is_address_verification_required: bool = False
    is_age_verification_required: bool = False
    is_reuse_kyc_enabled: bool = False
    min_age: Age = 18
    max_age: Age = 0
    required_document_count: Annotated[int, Field(ge=0, le=10)] = 1
    high_risk_score: Score = 0
    medium_risk_score: Score = 0
    supported_document_types: Annotated[tuple[DocumentType, ...], Field(max_length=32)] = ()
    reuse_kyc_triggers: Triggers = Triggers()
    reuse_kyc_reactions: Reactions = Reactions()


class Preferences(PreferencesPatch):
    """All of a tenant's preferences in one mode."""

    id: str
    tenant_id: str
    created_at_ms: int
    updated_at_ms: int


def patched(preferences: Preferences, patch: PreferencesPatch, now_ms: int) -> Preferences:
    """`preferences` with what `patch` names; triggers and reactions merge key by key."""
    given = patch.model_dump(exclude_unset=True)
    merged: dict[str, Any] = {**preferences.model_dump(), **given, "updated_at_ms": now_ms}
    for table in ("reuse_kyc_triggers", "reuse_kyc_reactions"):
        if table in given:
            before: Mapping[str, Any] = getattr(preferences, table).model_dump()
            merged[table] = {**before, **given[table]}
    return Preferences.model_validate(merged)
