"""A session begins to be judged, under a lease; or what was handed in was answered before."""

import asyncio
import hmac
from dataclasses import replace

from serve.deps import Deps
from serve.domain.change import Change, Job, JobHeader, Snapshot, settle
from serve.domain.customer import Customer
from serve.domain.handoff import TOKEN_VALID_MS, Handoff
from serve.domain.progress import Progress, SubmitAnswer, begin, is_current
from serve.domain.session import Session, Submission, elapsed
from serve.errors import Code, ServeError
from serve.flows.submissions.release import let_go
from serve.flows.submissions.taken import Begun, Taken, read_records
from serve.flows.transact import new_operation, transact_read
from serve.ports import Records

UNKNOWN = frozenset({Code.STATE_UNAVAILABLE, Code.DURABILITY_UNAVAILABLE})  # written, or not


async def begin_judging(
    deps: Deps, handoff: Handoff, taken: Taken, lease_ms: int
) -> Begun | SubmitAnswer:
    """The session as it is being judged, or the answer that these bytes got before."""
    outcome: Begun | SubmitAnswer | None = None

    async def read() -> Records:
        records = await read_records(deps, taken, to_judge=taken.job_id is None)
        if taken.job_id is not None and not _is_known(records, taken.op_id):
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
        if taken.job_id is not None and is_current(elapsed(before, snapshot.now_ms), taken.op_id):
            outcome = Begun(before)
            return None
        if snapshot.now_ms - handoff.created_at_ms >= TOKEN_VALID_MS:
            raise ServeError(Code.TOKEN_EXPIRED, "the session takes no submissions any more")
        change = _begin_change(taken, before, snapshot, snapshot.customer, lease_ms)
        outcome = Begun(change.sessions[0], records.tenant, records.templates)
        return change

    try:
        done = await transact_read(deps, new_operation(deps).id, read, decide)
    except ServeError as error:
        await _let_go_unknown(deps, taken, outcome, error)
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


def _begin_change(
    taken: Taken, before: Session, snapshot: Snapshot, customer: Customer, lease_ms: int
) -> Change:
    now_ms = snapshot.now_ms
    submission = Submission(
        op_id=taken.op_id, lease_until_ms=now_ms + lease_ms, job_id=taken.job_id
    )
    session = begin(before, submission, now_ms)
    _check_nonce(taken, session)
    change = settle(before, Progress(session, customer), "", now_ms, tells=False)
    if taken.job_id is None:
        return change
    header = JobHeader(
        id=taken.job_id,
        session_id=taken.session_id,
        op_id=taken.op_id,
        accepted_at_ms=now_ms,
    )
    return replace(change, jobs=(Job(header, taken.picture),))


def _check_nonce(taken: Taken, session: Session) -> None:
    """Raises `challenge_mismatch` for a clip of another challenge than the session's."""
    if isinstance(taken.capture, bytes):
        return
    challenge = session.challenge
    known = "" if challenge is None else challenge.nonce
    is_same = hmac.compare_digest(known.encode(), taken.capture.nonce.encode())
    if challenge is None or not is_same:
        raise ServeError(Code.CHALLENGE_MISMATCH, "ask for the challenge of this attempt")


async def _let_go_unknown(deps: Deps, taken: Taken, outcome: object, error: ServeError) -> None:
    """The session may be processing by now, and nobody would judge it. A job is judged if it is."""
    if isinstance(outcome, Begun) and error.code in UNKNOWN and taken.job_id is None:
        await let_go(deps, taken)
