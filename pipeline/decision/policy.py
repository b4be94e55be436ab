"""What a tenant asks of a capture before it may be approved."""

from dataclasses import dataclass
from enum import StrEnum


class LivenessPolicy(StrEnum):
    """Whether an approval needs proof that a live person stood before the camera."""

    REQUIRED = "required"
    MATCH_ONLY = "match_only"


class DuplicatePolicy(StrEnum):
    """What becomes of a face that another customer has as well."""

    FLAG = "flag"
    REVIEW = "review"
    DECLINE = "decline"


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's rules; the default is the strict one, so that forgetting fails closed.

    There is no quality bar here: a capture unfit to compare is asked for again, never judged,
    and what counts as fit is the pipeline's to say.
    """

    liveness_policy: LivenessPolicy = LivenessPolicy.REQUIRED
    duplicates: DuplicatePolicy = DuplicatePolicy.REVIEW
