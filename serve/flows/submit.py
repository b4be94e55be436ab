"""From a capture to a verdict: begin, look, compare, judge, write down; at once or as a job.

    op = HMAC-SHA256(token, SHA-256(capture)): the same bytes are one submission, however often sent
    begin    the session is processing, under a lease
    look     the models; nothing is held while they run
    finish   verdict, attempt, alert, callback and answer in one change, if the lease still holds

A capture is a selfie, or a clip bound to the session's challenge. When the lease ran out, or the
models could not be asked, no attempt was made.
"""

from dataclasses import replace

from serve.deps import Deps
from serve.domain.callback import callback_object
from serve.domain.change import Job
from serve.domain.handoff import Handoff
from serve.domain.ids import Prefix, Subject
from serve.domain.progress import SubmitAnswer, is_current
from serve.domain.session import elapsed
from serve.flows.handoff import find_handoff
from serve.flows.liveness.clip import Capture
from serve.flows.submissions.begin import begin_judging
from serve.flows.submissions.finish import finish
from serve.flows.submissions.look import look
from serve.flows.submissions.release import drop, let_go
from serve.flows.submissions.taken import Begun, Taken, read_records, take
from serve.flows.transact import new_id

LEASE_MS = 30_000
JOB_WAIT_MS = 600_000


async def submit(
    deps: Deps, token: str, capture: Capture, known: Handoff | None = None
) -> SubmitAnswer:
    """Judge a selfie or a clip now. `known` is what the token finds, where that was read before.

    Raises `not_found`; `token_expired` after 10 minutes; `submission_in_progress`,
    `attempts_exhausted` or `session_closed`; `challenge_mismatch` for a clip of another attempt;
    and `overloaded` or `service_unavailable`, after which the same bytes may be sent again: no
    attempt was made.
    """
    handoff = known or (await find_handoff(deps, token))[0]
    taken = await take(handoff, token, capture)
    begun = await begin_judging(deps, handoff, taken, LEASE_MS)
    if isinstance(begun, SubmitAnswer):
        return begun
    try:
        finding = await look(deps, taken, begun)
        return await finish(deps, taken, finding, begun)
    except BaseException:
        await let_go(deps, taken)
        raise


async def accept(
    deps: Deps, token: str, image: bytes, known: Handoff | None = None
) -> SubmitAnswer:
    """Keep a selfie to be judged soon: 202 with the session in `processing`, once it is durable.

    The same bytes again get the same, or the verdict if there is one. Raises what `submit`
    raises before it looks, and `storage_low`: a waiting image needs room.
    """
    handoff = known or (await find_handoff(deps, token))[0]
    taken = await take(handoff, token, image)
    taken = replace(taken, job_id=new_id(deps, Prefix.JOB, taken.subject))
    begun = await begin_judging(deps, handoff, taken, JOB_WAIT_MS)
    if isinstance(begun, SubmitAnswer):
        return begun
    return SubmitAnswer(202, callback_object(begun.session).to_wire())


async def judge_job(deps: Deps, subject: Subject, job: Job) -> None:
    """Judge an accepted selfie; a second run of the same job changes nothing.

    A job that cannot be judged any more is deleted. Raises `overloaded` or
    `service_unavailable`: the job stays, and comes back when its lease runs out.
    """
    header = job.header
    taken = Taken(subject, header.session_id, header.op_id, job.image, header.id)
    records = await read_records(deps, taken, to_judge=True)
    session, now_ms = records.session, records.snapshot.now_ms
    if session is None or not is_current(elapsed(session, now_ms), header.op_id):
        await drop(deps, taken)
        return
    begun = Begun(session, records.tenant, records.templates)
    await finish(deps, taken, await look(deps, taken, begun), begun)
