"""A face verification session: its states, its record, and what its holder may read.

created -> capturing -> processing -> approved | declined | needs_review
processing -> capturing             a failed try with retries left, or its lease ran out
needs_review -> approved | declined by a reviewer
created, capturing, needs_review -> expired | canceled
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field

from pipeline.decision.reasons import Reason
from pipeline.liveness.judgement import Doubt
from serve.domain.document import Document
from serve.domain.ids import Mode
from serve.domain.liveness.challenge import Challenge
from serve.domain.tenancy.preferences import Event, Reactions
from serve.domain.verifications.verification import FaceMatch, LivenessScore

CAPTURES_MAX = 20
REVIEW_MS_MAX = 30 * 24 * 3_600_000


class State(StrEnum):
    """Where a session stands."""

    CREATED = "created"
    CAPTURING = "capturing"
    PROCESSING = "processing"
    APPROVED = "approved"
    DECLINED = "declined"
    NEEDS_REVIEW = "needs_review"
    EXPIRED = "expired"
    CANCELED = "canceled"


class KycStatus(StrEnum):
    """What the wire says of a session or a customer."""

    PENDING = "pending"
    PROCESSING = "processing"
    APPROVED = "approved"
    DECLINED = "declined"
    NEEDS_REVIEW = "needs_review"
    EXPIRED = "expired"
    CANCELED = "canceled"


_ENDED = frozenset({State.EXPIRED, State.CANCELED})
_UNDER_WAY = frozenset({State.CREATED, State.CAPTURING, State.PROCESSING})
MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.CREATED: frozenset({State.CAPTURING}) | _ENDED,
        State.CAPTURING: frozenset({State.PROCESSING}) | _ENDED,
        State.PROCESSING: frozenset(
            {State.CAPTURING, State.APPROVED, State.DECLINED, State.NEEDS_REVIEW}
        ),
        State.NEEDS_REVIEW: frozenset({State.APPROVED, State.DECLINED}) | _ENDED,
        State.APPROVED: frozenset(),
        State.DECLINED: frozenset(),
        State.EXPIRED: frozenset(),
        State.CANCELED: frozenset(),
    }
)
INITIAL = frozenset({State.CREATED, State.DECLINED})  # declined: locked out from the start


class Submission(Document):
    """The capture being judged. When its lease runs out it counts as never made."""

    op_id: str
    lease_until_ms: int
    job_id: str | None = None


class Session(Document):
    """The record of one session; encrypted at rest as a whole.

    `failed_attempts` includes those carried over from earlier sessions of the same reference;
    `tries` counts verdicts in this session; `captures` counts captures unfit to judge.
    `face_match`, `liveness` and `liveness_doubts` are of the last verdict: for the tenant, never
    for who holds the token. `challenge` is that of the attempt to come, None until it is asked for.
    """

    id: str
    tenant_id: str
    mode: Mode
    customer_id: str = Field(repr=False)
    reference: str = Field(repr=False)
    event: Event
    state: State
    token_sha256: str = Field(repr=False)
    callback_url: str = Field(default="", repr=False)
    redirect_url: str = Field(default="", repr=False)
    created_at_ms: int
    updated_at_ms: int
    expires_at_ms: int
    retention_days: int = 30
    reactions: Reactions
    failed_attempts: int = 0
    tries: int = 0
    captures: int = 0
    reasons: tuple[Reason, ...] = ()
    face_match: FaceMatch | None = Field(default=None, repr=False)
    liveness: LivenessScore | None = Field(default=None, repr=False)
    liveness_doubts: tuple[Doubt, ...] = ()
    submission: Submission | None = None
    challenge: Challenge | None = None
    alert_id: str = ""
    sequence: int = 0

    @property
    def max_attempts(self) -> int:
        """Submissions in all before the retry limit fires."""
        return self.reactions.max_retry_attempts + 1

    @property
    def retries_remaining(self) -> int:
        """Submissions the customer still has."""
        return max(0, self.max_attempts - self.failed_attempts)

    @property
    def is_new(self) -> bool:
        """Whether nothing has moved it since it was opened."""
        return self.updated_at_ms == self.created_at_ms

    @property
    def is_under_way(self) -> bool:
        """Whether a capture may be made for it, or is being judged."""
        return self.state in _UNDER_WAY

    @property
    def is_over(self) -> bool:
        """Whether no state follows."""
        return not MOVES[self.state]

    @property
    def status(self) -> KycStatus:
        """The wire's word: a failed try with retries left reads `declined` as well."""
        if self.state is State.CREATED:
            return KycStatus.PENDING
        if self.state is State.CAPTURING:
            return KycStatus.DECLINED if self.tries else KycStatus.PENDING
        return KycStatus(self.state)

    @property
    def due_ms(self) -> int | None:
        """When time alone moves this session, or None when it never does."""
        match self.state:
            case State.CREATED | State.CAPTURING:
                return self.expires_at_ms
            case State.PROCESSING:
                assert self.submission is not None
                return self.submission.lease_until_ms
            case State.NEEDS_REVIEW:
                return self.updated_at_ms + REVIEW_MS_MAX
            case _:
                return None


def moved(session: Session, state: State, now_ms: int, **changes: object) -> Session:
    """`session` in `state`. A move outside the published graph is a defect, not an error."""
    assert state in MOVES[session.state], f"{session.state} -> {state}"
    return session.model_copy(update={"state": state, "updated_at_ms": now_ms, **changes})


def elapsed(session: Session, now_ms: int) -> Session:
    """`session` as time alone has left it; the very same object when nothing is due.

    The sweeper writes this down, but readers need not wait for it.
    """
    if session.due_ms is None or now_ms < session.due_ms:
        return session
    if session.state is State.PROCESSING:
        back = moved(session, State.CAPTURING, now_ms, submission=None)
        return elapsed(back, now_ms)
    return moved(session, State.EXPIRED, now_ms, reasons=(Reason.SESSION_EXPIRED,))
