"""From a selfie to a verdict: begin, look, compare, judge, write down; at once or as a job.

    op = HMAC-SHA256(token, SHA-256(image)): the same bytes are one submission, however often sent.
    begin    the session is processing, under a lease
    look     the models; nothing is held while they run
    finish   verdict, attempt, alert, callback and answer in one change, if the lease still holds

When the lease ran out, or the models could not be asked, no attempt was made.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pipeline.decision.verdict import Recapture, Verdict
from pipeline.errors import Failure
from pipeline.evidence import Feedback, Template
from serve.deps import Deps
from serve.domain.audit import PERSON, Action, AuditEntry
from serve.domain.callback import CallbackEvent, callback_object
from serve.domain.change import Change, Job, JobHeader, Snapshot, closing, settle
from serve.domain.customer import Customer
from serve.domain.handoff import TOKEN_VALID_MS, Handoff
from serve.domain.ids import Prefix, Subject
from serve.domain.operation import Operation
from serve.domain.progress import Progress, SubmitAnswer, begin, is_current, judge, release
from serve.domain.search.findings import with_findings
from serve.domain.session import Session, State, Submission, elapsed
from serve.domain.tenancy.tenant import Tenant
from serve.domain.verifications.rules import view_of
from serve.errors import STATUSES, Code, ServeError
from serve.flows.handoff import find_handoff
from serve.flows.liveness.clip import Capture
from serve.flows.search.screen import fresh_about, tell_others
from serve.flows.transact import new_id, new_operation, transact, transact_read
from serve.flows.verifications.compare import Judged, judge_capture
from serve.observe import metrics
from serve.ports import Records

LEASE_MS = 30_000
JOB_WAIT_MS = 600_000
LET_GO_S_MAX = 1.0
UNKNOWN = frozenset({Code.STATE_UNAVAILABLE, Code.DURABILITY_UNAVAILABLE})  # written, or not
DIGESTED_AT_ONCE_BYTES_MAX = 2**18  # in a fifth of a millisecond; megabytes in a thread


@dataclass(frozen=True, slots=True)
class _Capture:
    """One submission on its way: whose, of which session, under which operation."""

    subject: Subject
    session_id: str
    op_id: str
    image: bytes = field(repr=False)
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the models and the rules say of a capture; `code` and `detail` of one unfit."""

    judged: Judged
    code: str = ""
    detail: str = ""

    @property
    def outcome(self) -> Verdict | Recapture:
        """What becomes of it."""
        return self.judged.outcome


async def submit(
    deps: Deps, token: str, capture: Capture, known: Handoff | None = None
) -> SubmitAnswer:
    """Judge a selfie or a clip now. `known` is what the token finds, where that was read before.

    Raises `not_found`; `token_expired` after 10 minutes; `submission_in_progress`,
    `attempts_exhausted` or `session_closed`; and `overloaded` or `service_unavailable`, after
    which the same bytes may be sent again: no attempt was made.
    """
    handoff = known or (await find_handoff(deps, token))[0]
    assert isinstance(capture, bytes)
    taken = await _capture(handoff, token, capture)
    begun = await _begin(deps, handoff, taken, LEASE_MS)
    if isinstance(begun, SubmitAnswer):
        return begun
    try:
        finding = await _look(deps, taken, begun)
        return await _finish(deps, taken, finding, begun)
    except BaseException:
        await _let_go(deps, taken)
        raise


async def accept(
    deps: Deps, token: str, image: bytes, known: Handoff | None = None
) -> SubmitAnswer:
    """Keep a selfie to be judged soon: 202 with the session in `processing`, once it is durable.

    The same bytes again get the same, or the verdict if there is one. Raises what `submit`
    raises before it looks, and `storage_low`: a waiting image needs room.
    """
    handoff = known or (await find_handoff(deps, token))[0]
    capture = await _capture(handoff, token, image)
    capture = replace(capture, job_id=new_id(deps, Prefix.JOB, capture.subject))
    begun = await _begin(deps, handoff, capture, JOB_WAIT_MS)
    if isinstance(begun, SubmitAnswer):
        return begun
    return SubmitAnswer(202, callback_object(begun.session).to_wire())


async def judge_job(deps: Deps, subject: Subject, job: Job) -> None:
    """Judge an accepted selfie; a second run of the same job changes nothing.

    A job that cannot be judged any more is deleted. Raises `overloaded` or
    `service_unavailable`: the job stays, and comes back when its lease runs out.
    """
    header = job.header
    capture = _Capture(subject, header.session_id, header.op_id, job.image, header.id)
    records = await _read(deps, capture, to_judge=True)
    session, now_ms = records.session, records.snapshot.now_ms
    if session is None or not is_current(elapsed(session, now_ms), header.op_id):
        await _drop(deps, capture)
        return
    begun = _Begun(session, records.tenant, records.templates)
    await _finish(deps, capture, await _look(deps, capture, begun), begun)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A session that is being judged, and what its capture is judged by.

    `after` are the records as beginning left them, at `at_s` on the event loop's clock.
    """

    session: Session
    tenant: Tenant | None = None
    references: Sequence[Template] = field(default=(), repr=False)
    after: Snapshot | None = field(default=None, repr=False)
    at_s: float = 0.0


async def _capture(handoff: Handoff, token: str, image: bytes) -> _Capture:
    if len(image) <= DIGESTED_AT_ONCE_BYTES_MAX:
        op_id = _operation(token, image)
    else:
        op_id = await asyncio.to_thread(_operation, token, image)
    return _Capture(handoff.subject, handoff.session_id, op_id, image)


def _operation(token: str, image: bytes) -> str:
    digest = hashlib.sha256(image).digest()
    return hmac.new(token.encode(), digest, hashlib.sha256).hexdigest()


async def _begin(
    deps: Deps, handoff: Handoff, capture: _Capture, lease_ms: int
) -> _Begun | SubmitAnswer:
    """The session as it is being judged, or the answer that these bytes got before."""
    outcome: _Begun | SubmitAnswer | None = None

    async def read() -> Records:
        records = await _read(deps, capture, to_judge=capture.job_id is None)
        if capture.job_id is not None and not _is_known(records, capture.op_id):
            await deps.headroom.check()
        return records

    def decide(records: Records) -> Change | None:
        nonlocal outcome
        snapshot, before = records.snapshot, records.session
        if records.answer is not None:
            outcome = SubmitAnswer.load(records.answer)
            return None
        if before is None or snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such session token")
        if capture.job_id is not None and is_current(
            elapsed(before, snapshot.now_ms), capture.op_id
        ):
            outcome = _Begun(before)
            return None
        if snapshot.now_ms - handoff.created_at_ms >= TOKEN_VALID_MS:
            raise ServeError(Code.TOKEN_EXPIRED, "the session takes no submissions any more")
        change = _begin_change(capture, before, snapshot, snapshot.customer, lease_ms)
        outcome = _Begun(change.sessions[0], records.tenant, records.templates)
        return change

    try:
        done = await transact_read(deps, new_operation(deps).id, read, decide)
    except ServeError as error:
        await _let_go_unknown(deps, capture, outcome, error)
        raise
    assert outcome is not None
    if isinstance(outcome, SubmitAnswer):
        return outcome
    return replace(outcome, after=done.after, at_s=asyncio.get_running_loop().time())


def _is_known(records: Records, op_id: str) -> bool:
    """Whether this submission was answered before, or is being judged."""
    session = records.session
    now_ms = records.snapshot.now_ms
    is_under_way = session is not None and is_current(elapsed(session, now_ms), op_id)
    return is_under_way or records.answer is not None


async def _read(deps: Deps, capture: _Capture, *, to_judge: bool = False) -> Records:
    return await deps.ledger.read(
        capture.subject, capture.session_id, capture.op_id, to_judge=to_judge
    )


def _begin_change(
    capture: _Capture, before: Session, snapshot: Snapshot, customer: Customer, lease_ms: int
) -> Change:
    now_ms = snapshot.now_ms
    submission = Submission(
        op_id=capture.op_id, lease_until_ms=now_ms + lease_ms, job_id=capture.job_id
    )
    session = begin(before, submission, now_ms)
    change = settle(before, Progress(session, customer), "", now_ms, tells=False)
    if capture.job_id is None:
        return change
    header = JobHeader(
        id=capture.job_id,
        session_id=capture.session_id,
        op_id=capture.op_id,
        accepted_at_ms=now_ms,
    )
    return replace(change, jobs=(Job(header, capture.image),))


async def _look(deps: Deps, capture: _Capture, begun: _Begun) -> _Finding:
    """Ask the models and the rules. Raises `overloaded` or `service_unavailable`."""
    tenant = begun.tenant
    if tenant is None:
        raise ServeError(Code.NOT_FOUND, "no such session token")
    evidence = await deps.faces.examine(capture.image, tenant_id=capture.subject.tenant_id)
    if isinstance(evidence, Failure):
        if STATUSES.get(evidence.code) != 422:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "the models failed", retry_after_s=1)
        return _Finding(Judged(Recapture((Feedback.OTHER,))), evidence.code, evidence.detail)
    seen = tenant.seen_in(capture.subject.mode)
    judged = await judge_capture(deps, capture.subject, evidence, begun.references, seen)
    detail = "the capture cannot be judged; take it again"
    return _Finding(judged, Code.CAPTURE_UNFIT, detail)


async def _finish(deps: Deps, capture: _Capture, finding: _Finding, begun: _Begun) -> SubmitAnswer:
    """Write the verdict down, or find that it had been. Raises `service_unavailable` when the
    lease ran out.

    The first try takes the records to be as beginning left them, and saves the reading; if they
    are not, the commit says so.
    """
    alert_id = new_id(deps, Prefix.ALERT, capture.subject)
    event_ids = [new_id(deps, Prefix.EVENT, capture.subject) for _ in range(2)]
    about = fresh_about(deps, capture.subject)
    earlier: bytes | None = None
    known = _left(deps, begun)

    async def read() -> Records:
        nonlocal known
        records, known = known, None
        return records or await _read(deps, capture)

    def decide(records: Records) -> Change | None:
        nonlocal earlier
        snapshot, before = records.snapshot, records.session
        if before is None or snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such session token")
        now_ms = snapshot.now_ms
        if not is_current(elapsed(before, now_ms), capture.op_id):
            earlier = records.answer
            if earlier is None:
                raise ServeError(Code.SERVICE_UNAVAILABLE, "it took too long", retry_after_s=1)
            return None
        progress = judge(before, snapshot.customer, finding.outcome, alert_id, now_ms)
        change = _verdict_change(capture, finding, before, progress, event_ids[0])
        view = view_of(change.sessions[0])
        change = with_findings(change, finding.judged.look, about, view, now_ms)
        return closing(change, event_ids[1], now_ms)

    done = await transact_read(deps, capture.op_id, read, decide)
    if done.change is not None and not done.is_repeat:
        _count(finding)
        if done.change.flags:
            await tell_others(deps, capture.subject, about.screening_id, done.change.flags)
    return SubmitAnswer.load(done.answer if earlier is None else earlier)


def _left(deps: Deps, begun: _Begun) -> Records | None:
    """The records as they are now unless somebody else changed them."""
    if begun.after is None:
        return None
    elapsed_s = asyncio.get_running_loop().time() - begun.at_s
    return Records(deps.ledger.later(begun.after, elapsed_s), begun.session, None)


def _count(finding: _Finding) -> None:
    if isinstance(finding.outcome, Verdict):
        metrics.count_verdict(finding.outcome.outcome)
    else:
        metrics.count_unfit(finding.code)


def _verdict_change(
    capture: _Capture, finding: _Finding, before: Session, progress: Progress, event_id: str
) -> Change:
    """A mere recapture is told to nobody but the person, unless it was the last."""
    tells = not isinstance(finding.outcome, Recapture) or progress.session.is_over
    now_ms = progress.session.updated_at_ms
    if isinstance(finding.outcome, Verdict):
        known = finding.judged.scores
        scores = {"face_match": known.face_match, "liveness": known.liveness}
        progress = replace(progress, session=progress.session.model_copy(update=scores))
    change = settle(before, progress, event_id, now_ms, tells=tells)
    session = change.sessions[0]
    is_held = session.state is State.NEEDS_REVIEW
    return replace(
        change,
        captures={session.id: capture.image} if is_held else change.captures,
        ended_jobs=_ended(capture),
        audit=_judged(finding, session),
        answer=_answer(finding, session, change.callbacks).dump(),
    )


def _judged(finding: _Finding, session: Session) -> tuple[AuditEntry, ...]:
    """What the trail says: a capture that decides nothing leaves no word there."""
    if isinstance(finding.outcome, Verdict):
        outcome: str = finding.outcome.outcome
    elif session.is_over:
        outcome = session.status
    else:
        return ()
    return (AuditEntry(Action.SESSION_JUDGED, PERSON, session.id, outcome),)


def _answer(finding: _Finding, session: Session, told: Sequence[CallbackEvent]) -> SubmitAnswer:
    if isinstance(finding.outcome, Verdict):
        same = told[0].body.encode() if told else callback_object(session).to_wire()
        return SubmitAnswer(200, same)
    body = {
        "code": finding.code,
        "detail": finding.detail,
        "feedback": list(finding.outcome.feedback),
    }
    return SubmitAnswer(422, json.dumps(body).encode())


def _ended(capture: _Capture) -> dict[str, int]:
    return {} if capture.job_id is None else {capture.job_id: len(capture.image)}


async def _let_go_unknown(
    deps: Deps, capture: _Capture, outcome: object, error: ServeError
) -> None:
    """The session may be processing by now, and nobody would judge it. A job is judged if it is."""
    if isinstance(outcome, _Begun) and error.code in UNKNOWN and capture.job_id is None:
        await _let_go(deps, capture)


async def _let_go(deps: Deps, capture: _Capture) -> None:
    """Release it if that can be done at once; else its lease gives it back."""
    with suppress(ServeError, TimeoutError):
        async with asyncio.timeout(LET_GO_S_MAX):
            await _release(deps, capture)


async def _release(deps: Deps, capture: _Capture) -> None:
    """Give the session back as if nothing had been submitted, if it is still ours."""
    event_id = new_id(deps, Prefix.EVENT, capture.subject)

    async def attempt(snapshot: Snapshot) -> Change | None:
        before = await deps.ledger.session(snapshot, capture.session_id)
        if before is None or snapshot.customer is None:
            return None
        now_ms = snapshot.now_ms
        if not is_current(before, capture.op_id):
            return None
        progress = Progress(release(before, now_ms), snapshot.customer)
        change = settle(before, progress, "", now_ms, tells=False)
        return closing(change, event_id, now_ms)

    await transact(deps, capture.subject, new_operation(deps), attempt)


async def _drop(deps: Deps, capture: _Capture) -> None:
    """Delete a job that decides nothing any more."""

    async def attempt(snapshot: Snapshot) -> Change | None:
        if snapshot.customer is None:
            return None
        return Change(customer=snapshot.customer, ended_jobs=_ended(capture))

    await transact(deps, capture.subject, Operation(f"drop-{capture.job_id}"), attempt)
