"""One atomic change to a customer's records: all of it is written, or none.

Flows build a `Change` out of what the rules return; the store turns it into one script.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.evidence import Template
from serve.domain.alert import Alert
from serve.domain.audit import SERVICE, Action, Actor, AuditEntry
from serve.domain.callback import CallbackEvent, callback_for
from serve.domain.customer import Customer
from serve.domain.document import Document
from serve.domain.handoff import Handoff
from serve.domain.ids import Subject
from serve.domain.progress import Progress, cancel, run_out
from serve.domain.search.block import Block
from serve.domain.search.duplicate import DuplicateFlag
from serve.domain.search.gallery import GalleryKind
from serve.domain.search.screening import Screening
from serve.domain.session import Session, State
from serve.domain.verifications.verification import Verification


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A customer's records at one version; a change made from it fails if they moved on.

    `version` 0 means that the customer does not exist. `log_ids` maps each face to its entry in
    the log of faces. `data_key` is the customer's, in the clear: it never leaves the process;
    `epoch` is the number of the epoch key that wraps it at rest.
    """

    subject: Subject
    version: int
    now_ms: int
    customer: Customer | None
    data_key: bytes = field(repr=False)
    epoch: int
    log_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnrolledFace:
    """A reference on its way into the log. `chip` is the aligned face as JPEG, if it is kept."""

    face_id: str
    template: Template
    chip: bytes | None = field(default=None, repr=False)
    gallery: GalleryKind = GalleryKind.ENROLLED


class JobHeader(Document):
    """A submission that waits for a worker; its image travels sealed beside this header."""

    id: str
    session_id: str
    op_id: str
    accepted_at_ms: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job with its image, the encoded bytes as they came."""

    header: JobHeader
    image: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What one script writes. Documents replace what was there under the same id.

    `captures` holds an image to keep for review by session id, or None to drop one;
    `ended_jobs` holds the size of its image, in bytes, by job id. `identities` are digests of
    reusable identity tokens, and whether each is in force; `ended_flags` are ids of flags that
    go, `ended_screenings` of what is owed no more. `counts` are added to the tenant's overview,
    `audit` to the trail. `answer` is stored under the operation's id and is what a repeat of it
    gets.
    """

    customer: Customer
    sessions: tuple[Session, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    alerts: tuple[Alert, ...] = ()
    callbacks: tuple[CallbackEvent, ...] = ()
    faces: tuple[EnrolledFace, ...] = ()
    jobs: tuple[Job, ...] = ()
    ended_jobs: Mapping[str, int] = field(default_factory=dict)
    captures: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)
    verifications: tuple[Verification, ...] = ()
    flags: tuple[DuplicateFlag, ...] = ()
    ended_flags: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    screenings: tuple[Screening, ...] = ()
    ended_screenings: tuple[str, ...] = ()
    identities: Mapping[str, bool] = field(default_factory=dict, repr=False)
    counts: Mapping[str, int] = field(default_factory=dict)
    audit: tuple[AuditEntry, ...] = ()
    answer: bytes = field(default=b"", repr=False)


def settle(
    before: Session | None, progress: Progress, event_id: str, now_ms: int, *, tells: bool
) -> Change:
    """The change that writes `progress` down: session, customer, alert, counts and callback.

    `tells` says whether the step is one that a callback tells of; a session without a
    `callback_url` tells nobody. The capture kept for a reviewer goes with the decision.
    """
    session = progress.session
    callbacks: tuple[CallbackEvent, ...] = ()
    if tells and session.callback_url:
        session, event = callback_for(session, event_id, now_ms)
        callbacks = (event,)
    counts: Counter[str] = Counter()
    counts[f"sessions.{session.status}"] += 1
    if before is None:
        counts["sessions.total"] += 1
    else:
        counts[f"sessions.{before.status}"] -= 1
    is_decided = before is not None and before.state is State.NEEDS_REVIEW and session.is_over
    return Change(
        customer=progress.customer,
        sessions=(session,),
        alerts=() if progress.alert is None else (progress.alert,),
        callbacks=callbacks,
        captures={session.id: None} if is_decided else {},
        counts={name: number for name, number in counts.items() if number},
    )


def supersede(
    older: Session, customer: Customer, event_id: str, now_ms: int, actor: Actor
) -> Change | None:
    """What `actor`, opening another session for the same event, does to `older`; None for nothing.

    One that the person could still use is canceled, unless it has expired already. One that is
    being judged may finish, and one under review stays with its reviewer.
    """
    step = run_out(older, customer, now_ms)
    if step.session.state in {State.CREATED, State.CAPTURING}:
        step = cancel(step.session, step.customer, now_ms)
    if older.is_over or not step.session.is_over:
        return None
    entry = AuditEntry(Action.SESSION_CANCELED, actor, older.id)
    if step.session.state is State.EXPIRED:
        entry = AuditEntry(Action.SESSION_EXPIRED, SERVICE, older.id)
    return replace(settle(older, step, event_id, now_ms, tells=True), audit=(entry,))


def closing(change: Change, event_id: str, now_ms: int) -> Change:
    """`change`, and the end of its session if another was opened while it was being judged."""
    (session,) = change.sessions
    is_listed = change.customer.open_sessions.get(session.event) == session.id
    if session.state is not State.CAPTURING or is_listed:
        return change
    ending = supersede(session, change.customer, event_id, now_ms, SERVICE)
    return change if ending is None else merged(change, ending)


def merged(first: Change, second: Change) -> Change:
    """Both as one change, `second` having been made from what `first` left."""
    counts = Counter(first.counts)
    counts.update(second.counts)
    sessions = {session.id: session for session in (*first.sessions, *second.sessions)}
    return replace(
        first,
        customer=second.customer,
        sessions=tuple(sessions.values()),
        handoffs=first.handoffs + second.handoffs,
        alerts=first.alerts + second.alerts,
        callbacks=first.callbacks + second.callbacks,
        faces=first.faces + second.faces,
        jobs=first.jobs + second.jobs,
        ended_jobs={**first.ended_jobs, **second.ended_jobs},
        captures={**first.captures, **second.captures},
        verifications=first.verifications + second.verifications,
        flags=first.flags + second.flags,
        ended_flags=first.ended_flags + second.ended_flags,
        blocks=first.blocks + second.blocks,
        screenings=first.screenings + second.screenings,
        ended_screenings=first.ended_screenings + second.ended_screenings,
        identities={**first.identities, **second.identities},
        counts={name: number for name, number in counts.items() if number},
        audit=first.audit + second.audit,
        answer=second.answer or first.answer,
    )
