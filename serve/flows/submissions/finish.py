"""The verdict is written down: attempt, alert, callback and answer in one change."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

from pipeline.decision.verdict import Recapture, Verdict
from serve.deps import Deps
from serve.domain.audit import PERSON, Action, AuditEntry
from serve.domain.callback import CallbackEvent, callback_object
from serve.domain.change import Change, closing, settle
from serve.domain.ids import Prefix
from serve.domain.progress import Progress, SubmitAnswer, is_current, judge
from serve.domain.search.findings import with_findings
from serve.domain.session import Session, State, elapsed
from serve.domain.verifications.rules import view_of
from serve.errors import Code, ServeError
from serve.flows.search.screen import fresh_about, tell_others
from serve.flows.submissions.taken import Begun, Finding, Taken, read_records
from serve.flows.transact import new_id, transact_read
from serve.observe import metrics
from serve.ports import Records


async def finish(deps: Deps, taken: Taken, finding: Finding, begun: Begun) -> SubmitAnswer:
    """Write the verdict down, or find that it had been. Raises `service_unavailable` when the
    lease ran out.

    The first try takes the records to be as beginning left them, and saves the reading; if they
    are not, the commit says so.
    """
    alert_id = new_id(deps, Prefix.ALERT, taken.subject)
    event_ids = [new_id(deps, Prefix.EVENT, taken.subject) for _ in range(2)]
    about = fresh_about(deps, taken.subject)
    earlier: bytes | None = None
    known = _left(deps, begun)

    async def read() -> Records:
        nonlocal known
        records, known = known, None
        return records or await read_records(deps, taken)

    def decide(records: Records) -> Change | None:
        nonlocal earlier
        snapshot, before = records.snapshot, records.session
        if before is None or snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such session token")
        now_ms = snapshot.now_ms
        if not is_current(elapsed(before, now_ms), taken.op_id):
            earlier = records.answer
            if earlier is None:
                raise ServeError(Code.SERVICE_UNAVAILABLE, "it took too long", retry_after_s=1)
            return None
        progress = judge(before, snapshot.customer, finding.outcome, alert_id, now_ms)
        change = _verdict_change(taken, finding, before, progress, event_ids[0])
        view = view_of(change.sessions[0])
        change = with_findings(change, finding.judged.look, about, view, now_ms)
        return closing(change, event_ids[1], now_ms)

    done = await transact_read(deps, taken.op_id, read, decide)
    if done.change is not None and not done.is_repeat:
        _count(finding)
        if done.change.flags:
            await tell_others(deps, taken.subject, about.screening_id, done.change.flags)
    return SubmitAnswer.load(done.answer if earlier is None else earlier)


def _left(deps: Deps, begun: Begun) -> Records | None:
    """The records as they are now unless somebody else changed them."""
    if begun.after is None:
        return None
    elapsed_s = asyncio.get_running_loop().time() - begun.at_s
    return Records(deps.ledger.later(begun.after, elapsed_s), begun.session, None)


def _count(finding: Finding) -> None:
    if isinstance(finding.outcome, Verdict):
        metrics.count_verdict(finding.outcome.outcome)
        metrics.count_doubts(finding.judged.scores.doubts)
    else:
        metrics.count_unfit(finding.code)


def _verdict_change(
    taken: Taken, finding: Finding, before: Session, progress: Progress, event_id: str
) -> Change:
    """A mere recapture is told to nobody but the person, unless it was the last."""
    tells = not isinstance(finding.outcome, Recapture) or progress.session.is_over
    now_ms = progress.session.updated_at_ms
    if isinstance(finding.outcome, Verdict):
        known = finding.judged.scores
        scores = {
            "face_match": known.face_match,
            "liveness": known.liveness,
            "liveness_doubts": known.doubts,
        }
        progress = replace(progress, session=progress.session.model_copy(update=scores))
    change = settle(before, progress, event_id, now_ms, tells=tells)
    session = change.sessions[0]
    is_held = session.state is State.NEEDS_REVIEW
    return replace(
        change,
        captures={session.id: finding.image} if is_held else change.captures,
        ended_jobs=taken.ended_job,
        audit=_judged(finding, session),
        answer=_answer(finding, session, change.callbacks).dump(),
    )


def _judged(finding: Finding, session: Session) -> tuple[AuditEntry, ...]:
    """What the trail says: a capture that decides nothing leaves no word there."""
    if isinstance(finding.outcome, Verdict):
        outcome: str = finding.outcome.outcome
    elif session.is_over:
        outcome = session.status
    else:
        return ()
    return (AuditEntry(Action.SESSION_JUDGED, PERSON, session.id, outcome),)


def _answer(finding: Finding, session: Session, told: Sequence[CallbackEvent]) -> SubmitAnswer:
    if isinstance(finding.outcome, Verdict):
        same = told[0].body.encode() if told else callback_object(session).to_wire()
        return SubmitAnswer(200, same)
    body = {
        "code": finding.code,
        "detail": finding.detail,
        "feedback": list(finding.outcome.feedback),
    }
    return SubmitAnswer(422, json.dumps(body).encode())
