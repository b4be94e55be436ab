"""Does this event call for a face? The contract's rules, and its words for why not.

What fails open here does so by the contract: an unknown event, a missing amount, a customer
without a verified face. Each comes back as a reason, so that the caller can count it.
"""

from dataclasses import dataclass
from enum import StrEnum

from serve.domain.tenancy.preferences import Event, FrequencyTrigger, Preferences, ThresholdTrigger


class Exemption(StrEnum):
    """Why no face is asked for; `sentence` is what the tenant reads."""

    FEATURE_DISABLED = "feature_disabled"
    UNKNOWN_EVENT = "unknown_event"
    EVENT_DISABLED = "event_disabled"
    THRESHOLD_NOT_MET = "threshold_not_met"
    FREQUENCY_NOT_MET = "frequency_not_met"
    NO_PRIOR_KYC = "no_prior_kyc"

    @property
    def sentence(self) -> str:
        """The `reason` on the wire."""
        return _SENTENCES[self]


_SENTENCES = {
    Exemption.FEATURE_DISABLED: "Event-based face verification is disabled.",
    Exemption.UNKNOWN_EVENT: "The event is empty or unknown and passes through.",
    Exemption.EVENT_DISABLED: "The event does not trigger face verification.",
    Exemption.THRESHOLD_NOT_MET: "The amount does not meet the threshold.",
    Exemption.FREQUENCY_NOT_MET: "The frequency of events does not meet the rule.",
    Exemption.NO_PRIOR_KYC: "The customer has no prior KYC.",
}


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What happened at the tenant's. `event` is as sent, known or not; `amount` is in USD."""

    event: str
    amount: float | None = None
    event_count: int | None = None
    event_window_minutes: int | None = None


def exemption(
    preferences: Preferences, occurrence: Occurrence, *, has_prior_kyc: bool
) -> Exemption | None:
    """Why `occurrence` calls for no face, or None when it calls for one."""
    if not preferences.is_reuse_kyc_enabled:
        return Exemption.FEATURE_DISABLED
    if occurrence.event not in set(Event):
        return Exemption.UNKNOWN_EVENT
    rule = getattr(preferences.reuse_kyc_triggers, occurrence.event)
    match rule:
        case bool():
            refused = None if rule else Exemption.EVENT_DISABLED
        case ThresholdTrigger():
            refused = _threshold(rule, occurrence)
        case FrequencyTrigger():
            refused = _frequency(rule, occurrence)
    if refused is None and not has_prior_kyc:
        return Exemption.NO_PRIOR_KYC
    return refused


def _threshold(rule: ThresholdTrigger, occurrence: Occurrence) -> Exemption | None:
    if not rule.enabled:
        return Exemption.EVENT_DISABLED
    if rule.threshold and (occurrence.amount or 0.0) < rule.threshold:
        return Exemption.THRESHOLD_NOT_MET
    return None


def _frequency(rule: FrequencyTrigger, occurrence: Occurrence) -> Exemption | None:
    if not rule.enabled:
        return Exemption.EVENT_DISABLED
    if rule.count and (occurrence.event_count or 0) < rule.count:
        return Exemption.FREQUENCY_NOT_MET
    # A window that is not given is no reason to let the event pass unchecked.
    if rule.window_minutes and (occurrence.event_window_minutes or 0) > rule.window_minutes:
        return Exemption.FREQUENCY_NOT_MET
    return None
