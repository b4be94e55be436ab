"""A customer: the aggregate under whose version every change of theirs is made.

The whole document is encrypted at rest under the customer's own data key.
"""

from typing import Annotated

from pydantic import Field

from serve.domain.document import Document
from serve.domain.search.duplicate import DIFFERENT_KEPT, FLAGS_KEPT
from serve.domain.search.gallery import GalleryKind, Standing
from serve.domain.sweeps.signals import SIGNALS_KEPT
from serve.domain.tenancy.preferences import Event

REFERENCES_MAX = 5
CARRY_OVER_MS = 24 * 3_600_000
LOCKOUT_FAILURES = 10
LOCKOUT_WINDOW_MS = 24 * 3_600_000


class Reference(Document):
    """One enrolled face. Its template lies in the log of faces, its chip beside it.

    `photo_digest` is a keyed digest of the photo's bytes: the same photo is the same face, today
    and in a year. `quality` maps each measure to 0 to 100, or None if it was not assessed.
    """

    face_id: str
    model_id: str
    enrolled_at_ms: int
    consent_id: str | None = Field(default=None, repr=False)
    has_chip: bool
    photo_digest: str = Field(default="", repr=False)
    quality: dict[str, int | None] = Field(default_factory=dict)
    standing: Standing = Standing.APPROVED
    verification_id: str = ""


class CarriedFailures(Document):
    """Failed attempts under one reference of the tenant's, which outlive the session."""

    failed_attempts: int
    since_ms: int


class Flagged(Document):
    """A duplicate flag, and the subject key of the other customer of its pair."""

    flag_id: str
    other: str


class Customer(Document):
    """What is remembered of a customer between sessions.

    `flags` are duplicate flags made for this customer, `flagged_by` those made for others that
    name them, the newest first. There is one flag for a pair of customers: a pair that either of
    their records knows as flagged, or as different people, is not flagged again, whoever of them
    is searched for, and costs no further change. `different_from` are subject keys of people whom
    a reviewer told from this one. `identity_sha256` is the digest of the reusable identity token in
    force. `signals` are what this customer gave beside a face, each as "kind:digest".
    """

    customer_id: str = Field(repr=False)
    name: str | None = Field(default=None, repr=False)
    """As the tenant gave it last, with a verification; None while it gave none."""
    created_at_ms: int
    references: tuple[Reference, ...] = ()
    open_sessions: dict[Event, str] = Field(default_factory=dict)
    carried: dict[str, CarriedFailures] = Field(default_factory=dict, repr=False)
    failures_ms: tuple[int, ...] = ()
    lockout_alert_id: str = ""
    gallery: GalleryKind = GalleryKind.ENROLLED
    flags: Annotated[tuple[Flagged, ...], Field(max_length=FLAGS_KEPT)] = ()
    flagged_by: Annotated[tuple[Flagged, ...], Field(max_length=FLAGS_KEPT)] = ()
    different_from: Annotated[tuple[str, ...], Field(max_length=DIFFERENT_KEPT)] = ()
    identity_sha256: str = Field(default="", repr=False)
    signals: Annotated[tuple[str, ...], Field(max_length=SIGNALS_KEPT, repr=False)] = ()

    @property
    def has_prior_kyc(self) -> bool:
        """Whether there is a face to compare with."""
        return bool(self.usable_references)

    @property
    def usable_references(self) -> tuple[Reference, ...]:
        """The faces to compare with: those that are not held back, nor refused."""
        return tuple(item for item in self.references if item.standing is Standing.APPROVED)

    def reference_of(self, photo_digest: str) -> Reference | None:
        """The face enrolled from these very bytes, if there is one."""
        return next((item for item in self.references if item.photo_digest == photo_digest), None)

    def carried_failures(self, reference: str, now_ms: int) -> int:
        """Failed attempts of `reference` within the last 24 hours."""
        found = self.carried.get(reference)
        if found is None or now_ms - found.since_ms >= CARRY_OVER_MS:
            return 0
        return found.failed_attempts

    def recent_failures(self, now_ms: int) -> tuple[int, ...]:
        """When the failures of the last 24 hours happened, over all sessions."""
        return tuple(at for at in self.failures_ms if now_ms - at < LOCKOUT_WINDOW_MS)

    def is_locked(self, now_ms: int) -> bool:
        """Whether a new session starts declined."""
        return len(self.recent_failures(now_ms)) >= LOCKOUT_FAILURES


def with_failure(customer: Customer, reference: str, now_ms: int) -> Customer:
    """`customer` after one more failed attempt under `reference`; old ones are forgotten."""
    carried = {
        name: item for name, item in customer.carried.items()
        if now_ms - item.since_ms < CARRY_OVER_MS
    }  # fmt: skip
    before = carried.get(reference, CarriedFailures(failed_attempts=0, since_ms=now_ms))
    carried[reference] = before.model_copy(update={"failed_attempts": before.failed_attempts + 1})
    failed = with_lockout_failure(customer, now_ms)
    return failed.model_copy(update={"carried": carried})


def with_lockout_failure(customer: Customer, now_ms: int) -> Customer:
    """`customer` after one more failed attempt under no reference: it counts for the lock alone."""
    failures = (*customer.recent_failures(now_ms), now_ms)[-LOCKOUT_FAILURES:]
    return customer.model_copy(update={"failures_ms": failures})


def without_carried(customer: Customer, reference: str) -> Customer:
    """`customer` once `reference` was approved: its failures no longer count against it."""
    carried = {name: item for name, item in customer.carried.items() if name != reference}
    return customer.model_copy(update={"carried": carried})


def with_open_session(customer: Customer, event: Event, session_id: str) -> Customer:
    """`customer` with this session as the open one for `event`."""
    opened = {**customer.open_sessions, event: session_id}
    return customer.model_copy(update={"open_sessions": opened})


def without_open_session(customer: Customer, session_id: str) -> Customer:
    """`customer` once this session has ended."""
    opened = {event: sid for event, sid in customer.open_sessions.items() if sid != session_id}
    return customer.model_copy(update={"open_sessions": opened})
