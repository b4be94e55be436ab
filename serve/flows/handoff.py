"""The hand-off from desktop to phone: both look at the record that their token finds."""

from dataclasses import replace

from serve.deps import Deps
from serve.domain.change import Change, Snapshot, settle
from serve.domain.handoff import Handoff, check_readable
from serve.domain.progress import Progress, attach
from serve.domain.session import State
from serve.errors import Code, ServeError
from serve.flows.transact import new_operation, transact


async def find_handoff(deps: Deps, token: str) -> tuple[Handoff, int]:
    """The record of a session token of any age, and the clock in ms. Raises `not_found`."""
    found = await deps.ledger.handoff(token)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such session token")
    return found


async def read_handoff(deps: Deps, token: str) -> Handoff:
    """The record of a session token. Raises `not_found`; `token_expired` after 15 minutes."""
    handoff, now_ms = await find_handoff(deps, token)
    check_readable(handoff, now_ms)
    return handoff


async def connect(
    deps: Deps, token: str, *, connected: bool, known: Handoff | None = None
) -> Handoff:
    """Attach the phone, or release it; doing so again changes nothing.

    The first phone opens the capture. `known` is what the token finds, where that has been read
    before. Raises `not_found`; `token_expired` after 15 minutes.
    """
    handoff = known or await read_handoff(deps, token)

    async def decide(snapshot: Snapshot) -> Change | None:
        nonlocal handoff
        current, _ = await find_handoff(deps, token)
        check_readable(current, snapshot.now_ms)
        session = await deps.ledger.session(snapshot, current.session_id)
        if snapshot.customer is None or session is None:
            raise ServeError(Code.NOT_FOUND, "no such session token")
        handoff = current.model_copy(update={"mobile_connected": connected})
        if current.mobile_connected == connected:
            return None
        change = Change(customer=snapshot.customer)
        if connected and session.state is State.CREATED:  # what time has done is the sweeper's
            attached = attach(session, snapshot.now_ms)
            if attached.state is State.CAPTURING:
                step = Progress(attached, snapshot.customer)
                change = settle(session, step, "", snapshot.now_ms, tells=False)
        return replace(change, handoffs=(handoff,))

    await transact(deps, handoff.subject, new_operation(deps), decide)
    return handoff
