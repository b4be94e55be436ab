"""What moves a session: opening, beginning a submission, judging it, and the ways it ends.

Each function takes the records as they are and returns them as they shall be; nothing is
written here. `now_ms` is the clock of the system of record.
"""

import json
from dataclasses import dataclass, field, replace

from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import Outcome, Recapture, Verdict
from serve.domain.alert import Alert, AlertType
from serve.domain.customer import (
    Customer,
    with_failure,
    with_open_session,
    without_carried,
    without_open_session,
)
from serve.domain.handoff import TOKEN_VALID_MS
from serve.domain.ids import Mode
from serve.domain.session import (
    CAPTURES_MAX,
    Session,
    State,
    Submission,
    elapsed,
    moved,
)
from serve.domain.tenancy.preferences import Event, Reactions
from serve.errors import Code, ServeError


@dataclass(frozen=True, slots=True)
class Opening:
    """What a tenant's request and the fresh random names bring to a new session."""

    session_id: str
    token_sha256: str
    tenant_id: str
    mode: Mode
    reference: str
    event: Event
    callback_url: str
    redirect_url: str
    retention_days: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A session and its customer after one step, and the alert it raised, if any."""

    session: Session
    customer: Customer
    alert: Alert | None = None


def open_session(
    opening: Opening, customer: Customer, reactions: Reactions, alert_id: str, now_ms: int
) -> Progress:
    """A new session; it starts declined when the customer is locked out.

    Failed attempts of the same reference carry over; where they already exhaust the retries the
    session starts declined as well.
    """
    session = Session(
        id=opening.session_id,
        tenant_id=opening.tenant_id,
        mode=opening.mode,
        customer_id=customer.customer_id,
        reference=opening.reference,
        event=opening.event,
        state=State.CREATED,
        token_sha256=opening.token_sha256,
        callback_url=opening.callback_url,
        redirect_url=opening.redirect_url,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        expires_at_ms=now_ms + TOKEN_VALID_MS,
        retention_days=opening.retention_days,
        reactions=reactions,
        failed_attempts=customer.carried_failures(opening.reference, now_ms),
    )
    if not customer.is_locked(now_ms) and session.retries_remaining:
        opened = with_open_session(customer, session.event, session.id)
        return Progress(session, opened.model_copy(update={"lockout_alert_id": ""}))
    shut = session.model_copy(update={"state": State.DECLINED, "reasons": (Reason.LOCKED_OUT,)})
    if not customer.is_locked(now_ms):
        return Progress(shut, customer)
    if customer.lockout_alert_id:  # one alert for each lockout, however often it is tried
        known = shut.model_copy(update={"alert_id": customer.lockout_alert_id})
        return Progress(known, customer)
    marked = customer.model_copy(update={"lockout_alert_id": alert_id})
    return _alerted(Progress(shut, marked), AlertType.LOCKOUT, alert_id)


def attach(session: Session, now_ms: int) -> Session:
    """`session` once a phone is there: a new one is capturing, any other is as it was."""
    session = elapsed(session, now_ms)
    if session.state is not State.CREATED:
        return session
    return moved(session, State.CAPTURING, now_ms)


def capturing(session: Session, now_ms: int) -> Session:
    """`session` ready for a capture; a new one is opened for it.

    Raises `token_expired`, `attempts_exhausted`, `submission_in_progress` or `session_closed`.
    """
    session = attach(session, now_ms)
    match session.state:
        case State.EXPIRED:
            raise ServeError(Code.TOKEN_EXPIRED, "the session has expired")
        case State.DECLINED:
            raise ServeError(Code.ATTEMPTS_EXHAUSTED, "no submissions are left")
        case State.PROCESSING:
            raise ServeError(Code.SUBMISSION_IN_PROGRESS, "another capture is being judged")
        case State.APPROVED | State.NEEDS_REVIEW | State.CANCELED:
            raise ServeError(Code.SESSION_CLOSED, f"the session is {session.state}")
        case _:
            return session


def begin(session: Session, submission: Submission, now_ms: int) -> Session:
    """`session` with `submission` being judged. Raises what `capturing` raises."""
    session = capturing(session, now_ms)
    return moved(session, State.PROCESSING, now_ms, submission=submission)


def is_current(session: Session, op_id: str) -> bool:
    """Whether the submission `op_id` is the one that may still decide this session."""
    return (
        session.state is State.PROCESSING
        and session.submission is not None
        and session.submission.op_id == op_id
    )


def judge(
    session: Session, customer: Customer, outcome: Verdict | Recapture, alert_id: str, now_ms: int
) -> Progress:
    """The session after its current submission was judged.

    An unfit capture is no attempt, but the twentieth ends the session. An attempt uses its
    challenge up; the next one has another drawn. A failed attempt goes
    back to capturing while retries are left; the last one declines the session and raises an
    alert where the tenant's reactions ask for it.
    """
    assert session.state is State.PROCESSING, "nothing is being judged"
    if isinstance(outcome, Recapture):
        captures = session.captures + 1
        if captures < CAPTURES_MAX:
            back = moved(session, State.CAPTURING, now_ms, captures=captures, submission=None)
            return Progress(back, customer)
        return _decline(
            session.model_copy(update={"captures": captures}),
            customer, (Reason.TOO_MANY_CAPTURES,), alert_id, now_ms,
        )  # fmt: skip
    session = session.model_copy(update={"tries": session.tries + 1, "challenge": None})
    if outcome.outcome is Outcome.APPROVED:
        done = moved(session, State.APPROVED, now_ms, reasons=outcome.reasons, submission=None)
        cleared = without_carried(customer, session.reference)
        return Progress(done, without_open_session(cleared, session.id))
    if outcome.outcome is Outcome.NEEDS_REVIEW:
        held = moved(session, State.NEEDS_REVIEW, now_ms, reasons=outcome.reasons, submission=None)
        return Progress(held, customer)
    session = session.model_copy(update={"failed_attempts": session.failed_attempts + 1})
    customer = with_failure(customer, session.reference, now_ms)
    if session.retries_remaining:
        back = moved(session, State.CAPTURING, now_ms, reasons=outcome.reasons, submission=None)
        return Progress(back, customer)
    return _decline(session, customer, outcome.reasons, alert_id, now_ms)


def release(session: Session, now_ms: int) -> Session:
    """The session when its submission could not be judged: as if it had not been made."""
    assert session.state is State.PROCESSING, "nothing is being judged"
    return moved(session, State.CAPTURING, now_ms, submission=None)


def cancel(session: Session, customer: Customer, now_ms: int) -> Progress:
    """A canceled session. Raises `session_closed`, or `submission_in_progress` while judging."""
    session = elapsed(session, now_ms)
    if session.state is State.PROCESSING:
        raise ServeError(Code.SUBMISSION_IN_PROGRESS, "a capture is being judged")
    if session.is_over:
        raise ServeError(Code.SESSION_CLOSED, f"the session is {session.state}")
    gone = moved(session, State.CANCELED, now_ms)
    return Progress(gone, without_open_session(customer, session.id))


def review(
    session: Session, customer: Customer, outcome: Outcome, alert_id: str, now_ms: int
) -> Progress:
    """A reviewer's decision on a session that needs one. Raises `session_closed`."""
    session = elapsed(session, now_ms)
    if session.state is not State.NEEDS_REVIEW:
        raise ServeError(Code.SESSION_CLOSED, f"the session is {session.state}")
    if outcome is Outcome.APPROVED:
        done = moved(session, State.APPROVED, now_ms)
        cleared = without_carried(customer, session.reference)
        return Progress(done, without_open_session(cleared, session.id))
    assert outcome is Outcome.DECLINED
    return _decline(session, customer, (Reason.REVIEW_DECLINED,), alert_id, now_ms)


def run_out(session: Session, customer: Customer, now_ms: int) -> Progress:
    """What time alone has done to the session; unchanged when nothing was due."""
    after = elapsed(session, now_ms)
    if after.state is State.EXPIRED and session.state is not State.EXPIRED:
        customer = without_open_session(customer, session.id)
    return Progress(after, customer)


def _decline(
    session: Session, customer: Customer, reasons: tuple[Reason, ...], alert_id: str, now_ms: int
) -> Progress:
    done = moved(session, State.DECLINED, now_ms, reasons=reasons, submission=None)
    progress = Progress(done, without_open_session(customer, session.id))
    if not session.reactions.trigger_alert:
        return progress
    return _alerted(progress, AlertType.RETRY_LIMIT_EXCEEDED, alert_id)


def _alerted(progress: Progress, alert_type: AlertType, alert_id: str) -> Progress:
    session = progress.session.model_copy(update={"alert_id": alert_id})
    alert = Alert(
        id=alert_id,
        tenant_id=session.tenant_id,
        mode=session.mode,
        customer_id=session.customer_id,
        session_id=session.id,
        reference=session.reference,
        alert_type=alert_type,
        created_at_ms=session.updated_at_ms,
        updated_at_ms=session.updated_at_ms,
    )
    return replace(progress, session=session, alert=alert)


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """What a submission is answered: an HTTP status and UTF-8 JSON, the same at every repeat."""

    http_status: int
    body: bytes = field(repr=False)

    def dump(self) -> bytes:
        """How it is kept."""
        return json.dumps({"http_status": self.http_status, "body": self.body.decode()}).encode()

    @classmethod
    def load(cls, data: bytes) -> "SubmitAnswer":
        """What `dump` has kept."""
        kept = json.loads(data)
        return cls(kept["http_status"], kept["body"].encode())
