"""The audit trail: who did what, to whom, and when. It is appended to and never changed.

An entry names nobody: a customer by the keyed digest that their records lie under, everything
else by an opaque id. It holds no score, template, reference, name or address, so that it may
outlive the customer it tells of: it is the proof of what was done with their data.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from serve.domain.ids import Mode, Subject


class Action(StrEnum):
    """What was done. These words are stored: one may be added, none renamed."""

    CUSTOMER_ENROLLED = "customer.enrolled"
    CUSTOMER_READ = "customer.read"
    CUSTOMER_ERASED = "customer.erased"
    CUSTOMER_SCREENED = "customer.screened"
    FACE_SEARCHED = "face.searched"
    FACE_BLOCKED = "face.blocked"
    FACE_UNBLOCKED = "face.unblocked"
    BLOCKLIST_READ = "blocklist.read"
    SWEEP_CREATED = "sweep.created"
    SWEEP_READ = "sweep.read"
    SWEEP_CANCELED = "sweep.canceled"
    SWEEP_ENDED = "sweep.ended"
    RING_READ = "ring.read"
    FLAG_READ = "flag.read"
    FLAG_CHANGED = "flag.changed"
    IDENTITY_ISSUED = "identity.issued"
    VERIFICATION_CREATED = "verification.created"
    VERIFICATION_READ = "verification.read"
    VERIFICATION_REVIEWED = "verification.reviewed"
    VERIFICATION_REPEATED = "verification.repeated"
    ERASURE_READ = "erasure.read"
    SESSION_OPENED = "session.opened"
    SESSION_PASSED = "session.passed"  # the event called for no face; nothing else is kept of it
    SESSION_READ = "session.read"
    SESSION_JUDGED = "session.judged"
    SESSION_REVIEWED = "session.reviewed"
    SESSION_CANCELED = "session.canceled"
    SESSION_EXPIRED = "session.expired"
    ALERT_READ = "alert.read"
    ALERT_CHANGED = "alert.changed"
    EVENT_READ = "event.read"
    EVENT_RESENT = "event.resent"
    PREFERENCES_CHANGED = "preferences.changed"
    TENANT_CREATED = "tenant.created"
    TENANT_CHANGED = "tenant.changed"
    TENANT_CALIBRATED = "tenant.calibrated"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    SECRET_ROTATED = "secret.rotated"  # noqa: S105 (what was done, not the secret)
    AUDIT_READ = "audit.read"
    MASTER_ROTATED = "master.rotated"
    EPOCH_ROTATED = "epoch.rotated"
    BACKUP_TAKEN = "backup.taken"
    BACKUP_RESTORED = "backup.restored"


class ActorKind(StrEnum):
    """Who may have done something."""

    KEY = "key"  # whoever held an API key
    TOKEN = "token"  # noqa: S105 (whoever held the session token: the person)
    OPERATOR = "operator"  # the command line
    SERVICE = "service"  # nobody: time passed, or the service saw to it by itself


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it; `key_id` is empty for all but the holder of an API key."""

    kind: ActorKind
    key_id: str = ""

    def __str__(self) -> str:
        """How it is kept: `key:<id>`, or the kind alone."""
        return f"{self.kind}:{self.key_id}" if self.key_id else self.kind.value

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` has kept."""
        kind, _, key_id = text.partition(":")
        return cls(ActorKind(kind), key_id)


PERSON = Actor(ActorKind.TOKEN)
OPERATOR = Actor(ActorKind.OPERATOR)
SERVICE = Actor(ActorKind.SERVICE)


@dataclass(frozen=True, slots=True)
class Concern:
    """Whom an entry concerns: a customer, by the subject's key; else a tenant in one of its
    worlds, or in both where `mode` is None; else the whole install.
    """

    tenant_id: str = ""
    mode: Mode | None = None
    customer: str = ""

    @classmethod
    def of(cls, subject: Subject) -> Self:
        """A customer."""
        return cls(subject.tenant_id, subject.mode, subject.key)

    @property
    def subject(self) -> Subject | None:
        """The customer, where it is one."""
        if not self.customer or self.mode is None:
            return None
        return Subject(self.tenant_id, self.mode, self.customer)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is to be written: ids and bounded words only.

    `target` is the id of what it was done to, `outcome` how it came out in a word, and `count`
    how many records a list showed.
    """

    action: Action
    actor: Actor
    target: str = ""
    outcome: str = ""
    count: int | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry as it stands in the trail. `id` names its place there, within a tenant's world;
    `at_ms` is when it was written, by the clock of the system of record.
    """

    id: str
    at_ms: int
    concern: Concern
    entry: AuditEntry
