"""What the models and the rules say of what was handed in; nothing is held while they run."""

from pipeline.decision.verdict import Recapture
from pipeline.errors import Failure
from pipeline.evidence import Feedback
from serve.deps import Deps
from serve.errors import STATUSES, Code, ServeError
from serve.flows.liveness.look import Looked, look_at
from serve.flows.submissions.taken import Begun, Finding, Taken
from serve.flows.verifications.compare import Judged, judge_capture

DETAIL = "the capture cannot be judged; take it again"


async def look(deps: Deps, taken: Taken, begun: Begun) -> Finding:
    """Ask the models and the rules. Raises `overloaded` or `service_unavailable`."""
    tenant, challenge = begun.tenant, begun.session.challenge
    if tenant is None:
        raise ServeError(Code.NOT_FOUND, "no such session token")
    found = await look_at(deps, taken.subject.tenant_id, taken.capture, challenge)
    if isinstance(found, Failure):
        return _unreadable(found)
    if not isinstance(found, Looked):
        return Finding(Judged(found), Code.CAPTURE_UNFIT, DETAIL)
    seen = tenant.seen_in(taken.subject.mode)
    judged = await judge_capture(deps, taken.subject, found.probe, begun.references, seen)
    return Finding(judged, Code.CAPTURE_UNFIT, DETAIL, found.image)


def _unreadable(failure: Failure) -> Finding:
    """Of a picture that nobody can read. Raises `service_unavailable` where it is not its fault."""
    if STATUSES.get(failure.code) != 422:
        raise ServeError(Code.SERVICE_UNAVAILABLE, "the models failed", retry_after_s=1)
    return Finding(Judged(Recapture((Feedback.OTHER,))), failure.code, failure.detail)
