"""From a `Change`, which knows nothing of Redis, to the commands that write it down.

Everything that tells of a person is sealed here, under the customer's data key, with a label
that names its place: a sealed value moved to another record does not open there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from serve.domain.alert import Alert, AlertStatus
from serve.domain.audit import AuditEntry, Concern
from serve.domain.callback import CallbackEvent
from serve.domain.change import Change, EnrolledFace, Job, Snapshot
from serve.domain.handoff import HANDOFF_KEPT_MS, Handoff
from serve.domain.ids import Subject, keyed_digest
from serve.domain.search.block import Block
from serve.domain.search.duplicate import DuplicateFlag
from serve.domain.search.screening import Screening
from serve.domain.session import REVIEW_MS_MAX, Session
from serve.domain.verifications.verification import Verification
from serve.ports.liveness import Ending
from serve.store import names
from serve.store.audit import added_at, fields_of
from serve.store.liveness.endings import told
from serve.store.scripts import Argument
from serve.store.vault.sealing import seal

DAY_MS = 24 * 3_600_000
FOREVER_MS = 2**53 - 1  # the largest score a ZSET holds exactly
LISTED_MAX_MS = 365 * DAY_MS
COMMANDS_MAX = 20_000
MEMBERS_MAX = 1_000  # of one command; Lua can hand on some 8,000


@dataclass(slots=True)
class Batch:
    """Commands over keys of one slot, in the order in which they will run."""

    positions: dict[str, int] = field(default_factory=dict)
    arguments: list[Argument] = field(default_factory=list)
    commands: int = 0

    def add(self, name: str, key: str, *arguments: Argument) -> None:
        """Append one command."""
        # Two keys stand before these: the operation's record and the customer.
        position = self.positions.setdefault(key, len(self.positions) + 3)
        self.arguments += (name, position, len(arguments), *arguments)
        self.commands += 1

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that commands name by position, in that order."""
        return tuple(self.positions)

    def unlink(self, keys: Sequence[str]) -> None:
        """Delete keys, however many: a command takes a thousand."""
        for start in range(0, len(keys), MEMBERS_MAX):
            self.add("UNLINK", *keys[start : start + MEMBERS_MAX])

    def remove(self, listed: str, members: Sequence[str]) -> None:
        """Take members out of a sorted set, a thousand by a command."""
        for start in range(0, len(members), MEMBERS_MAX):
            self.add("ZREM", listed, *members[start : start + MEMBERS_MAX])

    def append_audit(self, subject: Subject, entry: AuditEntry, now_ms: int) -> None:
        """Add an entry to the trail of a customer's partition; nothing deletes it with them."""
        key = names.audit(subject.partition, subject.tenant_id, subject.mode)
        self.add("XADD", key, *added_at(now_ms, fields_of(Concern.of(subject), entry)))
        self.add("PEXPIREAT", key, now_ms + names.AUDIT_KEPT_MS)

    def end_streams(self, partition: int, ending: Ending, now_ms: int) -> None:
        """Tell every door that streams are to end."""
        self.add("XADD", names.ended(partition), *told(ending))
        self.add("PEXPIREAT", names.ended(partition), now_ms + names.ENDED_KEPT_MS)

    def put(self, key: str, fields: Sequence[Argument], expires_at_ms: int) -> None:
        """Replace a hash's fields, given as name, value, …, and say when it goes."""
        self.add("HSET", key, *fields)
        self.add("PEXPIREAT", key, expires_at_ms)


@dataclass(slots=True)
class Writer:
    """Writes one change of one customer into a batch."""

    snapshot: Snapshot
    salt: bytes = field(repr=False)
    jobs_bytes_max: int
    batch: Batch = field(default_factory=Batch)
    owned: list[Argument] = field(default_factory=list)

    def write(self, change: Change, op_key: str) -> Batch:
        """All commands of `change`, whose answer `op_key` will hold, but for the customer's own
        record.
        """
        self._own(op_key, self.snapshot.now_ms + names.OPERATION_KEPT_MS)
        for session in change.sessions:
            self._session(session)
        for handoff in change.handoffs:
            self._handoff(handoff)
        for alert in change.alerts:
            self._alert(alert)
        for event in change.callbacks:
            self._event(event)
        self._write_faces(change)
        self._write_jobs(change)
        for session_id, image in change.captures.items():
            self._capture(session_id, image)
        for entry in change.audit:
            self.batch.append_audit(self.snapshot.subject, entry, self.snapshot.now_ms)
        self._count(change.counts.items())
        owned = names.owned(self.snapshot.subject)
        self.batch.add("ZREMRANGEBYSCORE", owned, "-inf", self.snapshot.now_ms)
        self.batch.add("ZADD", owned, *self.owned)
        return self.batch

    def _write_faces(self, change: Change) -> None:
        """Faces, what they came to, and what is owed for them."""
        for face in change.faces:
            self._face(face)
        for verification in change.verifications:
            self._verification(verification)
        for flag in change.flags:
            self._flag(flag)
        for flag_id in change.ended_flags:
            self._drop(names.flag(self._partition, flag_id))
        for block in change.blocks:
            self._block(block)
        for screening in change.screenings:
            self._screening(screening)
        for screening_id in change.ended_screenings:
            self._end_screening(screening_id)
        for token_sha256, is_in_force in change.identities.items():
            self._identity(token_sha256, is_in_force=is_in_force)

    def _write_jobs(self, change: Change) -> None:
        for job in change.jobs:
            self._job(job)
        for job_id, size_bytes in change.ended_jobs.items():
            self._end_job(job_id, size_bytes)

    @property
    def _partition(self) -> int:
        return self.snapshot.subject.partition

    def _seal(self, plain: bytes, label: str) -> bytes:
        return seal(self.snapshot.data_key, plain, label)

    def _own(self, key: str, expires_at_ms: int) -> None:
        """Note that `key` goes when the customer is erased."""
        self.owned += (expires_at_ms, key)

    def _listed(self, kind: str, member: str, created_at_ms: int, kept_ms: int) -> str:
        """Put a member into a list of the tenant's; the list's key."""
        subject = self.snapshot.subject
        key = names.listing(self._partition, kind, subject.tenant_id, subject.mode)
        self.batch.add("ZREMRANGEBYSCORE", key, "-inf", self.snapshot.now_ms - kept_ms)
        self.batch.add("ZADD", key, created_at_ms, member)
        return key

    def _session(self, session: Session) -> None:
        subject, partition = self.snapshot.subject, self._partition
        due_ms = session.due_ms
        expires_at_ms = session.updated_at_ms + session.retention_days * DAY_MS
        if due_ms is not None:
            expires_at_ms = max(expires_at_ms, due_ms + DAY_MS)
        key = names.session(partition, session.id)
        sealed = self._seal(session.dump(), f"session|{session.id}")
        self.batch.put(key, ("u", names.locator(subject), "d", sealed), expires_at_ms)
        self._own(key, expires_at_ms)
        if not session.is_under_way:
            ending = Ending(subject.locator, session.id, session.status)
            self.batch.end_streams(partition, ending, self.snapshot.now_ms)
        if due_ms is None:
            self.batch.add("ZREM", names.deadlines(partition), session.id)
        else:
            self.batch.add("ZADD", names.deadlines(partition), due_ms, session.id)
        if session.is_new:
            self._list_session(session)

    def _list_session(self, session: Session) -> None:
        """Among all of the customer, those of one reference, and all of the tenant.

        The tenant's list holds each for as long as the newest may be kept, and goes with it.
        """
        kept_ms = session.retention_days * DAY_MS + REVIEW_MS_MAX + DAY_MS
        listed = self._listed("sessions", session.id, session.created_at_ms, kept_ms)
        self.batch.add("PEXPIREAT", listed, self.snapshot.now_ms + kept_ms)
        subject = self.snapshot.subject
        for digest in ("", self.reference_digest(session.reference)):
            listed = names.customer_sessions(subject, digest)
            oldest_ms = self.snapshot.now_ms - LISTED_MAX_MS
            self.batch.add("ZREMRANGEBYSCORE", listed, "-inf", oldest_ms)
            self.batch.add("ZADD", listed, session.created_at_ms, session.id)
            self._own(listed, session.created_at_ms + LISTED_MAX_MS)

    def reference_digest(self, reference: str) -> str:
        """What names a tenant's reference without telling it."""
        subject = self.snapshot.subject
        return keyed_digest(self.salt, "reference", subject.key, reference)

    def _handoff(self, handoff: Handoff) -> None:
        key = names.handoff(self._partition, handoff.token_sha256)
        self.batch.add("SET", key, handoff.dump())
        expires_at_ms = handoff.created_at_ms + HANDOFF_KEPT_MS
        self.batch.add("PEXPIREAT", key, expires_at_ms)
        self._own(key, expires_at_ms)

    def _alert(self, alert: Alert) -> None:
        key = names.alert(self._partition, alert.id)
        sealed = self._seal(alert.dump(), f"alert|{alert.id}")
        expires_at_ms = alert.created_at_ms + names.ALERT_KEPT_MS
        self.batch.put(key, ("u", names.locator(self.snapshot.subject), "d", sealed), expires_at_ms)
        self._own(key, expires_at_ms)
        self._listed("alerts", alert.id, alert.created_at_ms, names.ALERT_KEPT_MS)
        for status in AlertStatus:
            if status is alert.status:
                self._listed(f"alerts.{status}", alert.id, alert.created_at_ms, names.ALERT_KEPT_MS)
            else:
                self._unlist(f"alerts.{status}", alert.id)

    def _unlist(self, kind: str, member: str) -> None:
        subject = self.snapshot.subject
        key = names.listing(self._partition, kind, subject.tenant_id, subject.mode)
        self.batch.add("ZREM", key, member)

    def _event(self, event: CallbackEvent) -> None:
        key = names.event(self._partition, event.id)
        sealed = self._seal(event.dump(), f"event|{event.id}")
        expires_at_ms = event.created_at_ms + names.EVENT_KEPT_MS
        self.batch.put(key, ("u", names.locator(self.snapshot.subject), "d", sealed), expires_at_ms)
        self._own(key, expires_at_ms)
        self._listed("events", event.id, event.created_at_ms, names.EVENT_KEPT_MS)
        if event.next_attempt_at_ms is not None:
            outbox = names.outbox(self._partition)
            self.batch.add("ZADD", outbox, event.next_attempt_at_ms, event.id)
            self.batch.add("PUBLISH", outbox, names.WAKE_OUTBOX, self._partition)

    def _face(self, face: EnrolledFace) -> None:
        vector = np.ascontiguousarray(face.template.vector, dtype="<f4").tobytes()
        sealed = self._seal(vector, f"template|{face.face_id}")
        self.batch.add(
            "LOG", names.faces(self._partition), face.face_id,
            "k", "enrol", "u", names.locator(self.snapshot.subject), "f", face.face_id,
            "m", face.template.model_id, "l", face.gallery, "d", sealed,
        )  # fmt: skip
        if face.chip is not None:
            key = names.chip(self._partition, face.face_id)
            self.batch.add("SET", key, self._seal(face.chip, f"chip|{face.face_id}"))
            self._own(key, FOREVER_MS)

    def _verification(self, verification: Verification) -> None:
        key = names.verification(self._partition, verification.id)
        self._keep(key, verification.dump(), f"verification|{verification.id}")
        if verification.is_new:
            self._listed("verifications", verification.id, verification.created_at_ms, FOREVER_MS)

    def _flag(self, flag: DuplicateFlag) -> None:
        self._keep(names.flag(self._partition, flag.id), flag.dump(), f"flag|{flag.id}")

    def _block(self, block: Block) -> None:
        self._keep(names.block(self._partition, block.id), block.dump(), f"block|{block.id}")
        self._listed("blocklist", block.id, block.created_at_ms, FOREVER_MS)

    def _screening(self, screening: Screening) -> None:
        key = names.screening(self._partition, screening.id)
        self._keep(key, screening.dump(), f"screening|{screening.id}")
        self.batch.add("ZADD", names.screenings(self._partition), screening.due_ms, screening.id)

    def _end_screening(self, screening_id: str) -> None:
        self._drop(names.screening(self._partition, screening_id))
        self.batch.add("ZREM", names.screenings(self._partition), screening_id)

    def _identity(self, token_sha256: str, *, is_in_force: bool) -> None:
        """One that is no more in force is known for a while, so that it can be said of it."""
        key = names.identity(self._partition, token_sha256)
        if is_in_force:
            self.batch.add("SET", key, names.locator(self.snapshot.subject))
            self._own(key, FOREVER_MS)
        else:
            expires_at_ms = self.snapshot.now_ms + names.IDENTITY_REVOKED_KEPT_MS
            self.batch.add("PEXPIREAT", key, expires_at_ms)
            self._own(key, expires_at_ms)

    def _drop(self, key: str) -> None:
        """A record that goes before its customer does."""
        self.batch.add("UNLINK", key)
        self.batch.add("ZREM", names.owned(self.snapshot.subject), key)

    def _keep(self, key: str, document: bytes, label: str) -> None:
        """A sealed record for as long as the customer is there."""
        owner = names.locator(self.snapshot.subject)
        self.batch.add("HSET", key, "u", owner, "d", self._seal(document, label))
        self._own(key, FOREVER_MS)

    def _job(self, job: Job) -> None:
        key = names.job(self._partition, job.header.id)
        sealed = self._seal(job.image, f"job|{job.header.id}")
        share = self.jobs_bytes_max // len(names.EVERY_PARTITION)
        self.batch.add("QUOTA", names.jobs_bytes(self._partition), len(job.image), share)
        fields = ("u", names.locator(self.snapshot.subject), "h", job.header.dump(), "d", sealed)
        self.batch.add("HSET", key, *fields)
        self._own(key, FOREVER_MS)
        waiting = names.jobs(self._partition)
        self.batch.add("ZADD", waiting, self.snapshot.now_ms, job.header.id)
        self.batch.add("PUBLISH", waiting, names.WAKE_JOBS, self._partition)

    def _end_job(self, job_id: str, size_bytes: int) -> None:
        key = names.job(self._partition, job_id)
        self.batch.add("UNLINK", key)
        self.batch.add("ZREM", names.jobs(self._partition), job_id)
        # Two workers may end one job; the bytes come back once.
        held = names.jobs_bytes(self._partition)
        self.batch.add("QUOTA", held, -size_bytes, self.jobs_bytes_max, key)
        self.batch.add("ZREM", names.owned(self.snapshot.subject), key)

    def _capture(self, session_id: str, image: bytes | None) -> None:
        key = names.capture(self._partition, session_id)
        if image is None:
            self.batch.add("UNLINK", key)
            self.batch.add("ZREM", names.owned(self.snapshot.subject), key)
            return
        self.batch.add("SET", key, self._seal(image, f"capture|{session_id}"))
        expires_at_ms = self.snapshot.now_ms + names.CAPTURE_KEPT_MS
        self.batch.add("PEXPIREAT", key, expires_at_ms)
        self._own(key, expires_at_ms)

    def _count(self, counts: Iterable[tuple[str, int]]) -> None:
        subject = self.snapshot.subject
        key = names.counts(self._partition, subject.tenant_id, subject.mode)
        for name, number in counts:
            self.batch.add("HINCRBY", key, name, number)
