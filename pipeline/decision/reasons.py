"""The closed set of reasons a verdict or a session may give, with the sentence for each.

The codes and sentences are wire contract: a person may read them, so none holds a score, a
threshold or a customer's id.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Reason(StrEnum):
    """A stable code; `description` is its sentence."""

    FACE_MISMATCH = "face_mismatch"
    LIVENESS_FAILED = "liveness_failed"
    PRESENTATION_ATTACK = "presentation_attack"
    LIVENESS_UNAVAILABLE = "liveness_unavailable"
    LIVENESS_NOT_CHECKED = "liveness_not_checked"
    BLOCKLISTED = "blocklisted"
    DUPLICATE_FACE = "duplicate_face"
    TOO_MANY_CAPTURES = "too_many_captures"
    LOCKED_OUT = "locked_out"
    SESSION_EXPIRED = "session_expired"
    REVIEW_DECLINED = "review_declined"
    SERVICE_UNAVAILABLE = "service_unavailable"

    @property
    def description(self) -> str:
        """One sentence, fit for the person's eyes."""
        return DESCRIPTIONS[self]


DESCRIPTIONS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.FACE_MISMATCH: "The face does not match the face verified before.",
        Reason.LIVENESS_FAILED: "The liveness challenge was not passed.",
        Reason.PRESENTATION_ATTACK: "The capture does not appear to show a live person.",
        Reason.LIVENESS_UNAVAILABLE: "No liveness evidence could be obtained for the capture.",
        Reason.LIVENESS_NOT_CHECKED: "The policy in force does not ask for liveness evidence.",
        Reason.BLOCKLISTED: "The face is on a blocklist.",
        Reason.DUPLICATE_FACE: "The face belongs to another account as well.",
        Reason.TOO_MANY_CAPTURES: "Too many unusable captures were submitted.",
        Reason.LOCKED_OUT: "Too many failed attempts; verification is locked for now.",
        Reason.SESSION_EXPIRED: "The session expired before it was completed.",
        Reason.REVIEW_DECLINED: "A reviewer declined the verification.",
        Reason.SERVICE_UNAVAILABLE: "The verification could not be carried out.",
    }
)
