"""The challenge of a session: told to whoever holds its token, drawn where there is none."""

from serve.deps import Deps
from serve.domain.change import Change, Snapshot, settle
from serve.domain.handoff import Handoff
from serve.domain.liveness.challenge import RANDOM_BYTES, Challenge, draw
from serve.domain.progress import Progress, capturing
from serve.domain.session import Session
from serve.errors import Code, ServeError
from serve.flows.handoff import find_handoff
from serve.flows.transact import new_operation, transact


async def ensure_challenge(
    deps: Deps, token: str, known: Handoff | None = None
) -> tuple[Session, Challenge, int]:
    """The session of a token, the challenge of its next attempt, and the clock in ms.

    A challenge is drawn once for an attempt, durably: however many ask for it at once, and however
    often, all get the same. Drawing opens the capture. `known` is what the token finds, where that
    has been read before. Raises `not_found`; `token_expired`, `attempts_exhausted`,
    `submission_in_progress` or `session_closed` where nothing may be captured.
    """
    handoff = known or (await find_handoff(deps, token))[0]
    found: tuple[Session, Challenge, int] | None = None

    async def decide(snapshot: Snapshot) -> Change | None:
        nonlocal found
        before = await deps.ledger.session(snapshot, handoff.session_id)
        if before is None or snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such session token")
        now_ms = snapshot.now_ms
        session = capturing(before, now_ms)
        if session.challenge is not None:
            found = session, session.challenge, now_ms
            return None
        drawn = draw(deps.random(RANDOM_BYTES), now_ms)
        session = session.model_copy(update={"challenge": drawn})
        found = session, drawn, now_ms
        step = Progress(session, snapshot.customer)
        return settle(before, step, "", now_ms, tells=False)

    await transact(deps, handoff.subject, new_operation(deps), decide)
    assert found is not None
    return found
