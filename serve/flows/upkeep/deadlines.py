"""What has to be done when nobody asks: sessions that time has moved are written down."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from serve.deps import Deps
from serve.domain.audit import SERVICE, Action, AuditEntry
from serve.domain.change import Change, Snapshot, closing, settle
from serve.domain.ids import Prefix, Subject
from serve.domain.progress import run_out
from serve.domain.session import State
from serve.errors import ServeError
from serve.flows.transact import new_id, new_operation, transact
from serve.observe import logs

SWEEP_MAX = 64
SWEEP_PERIOD_S = 1.0


async def run_upkeep(deps: Deps, stop: asyncio.Event) -> None:
    """Sweep until `stop` is set: at once while there is more to do, else every second."""
    while not stop.is_set():
        try:
            is_behind = await sweep_deadlines(deps) == SWEEP_MAX
        except ServeError as error:
            logs.write("sweep put off", code=error.code)
            is_behind = False
        if not is_behind:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), SWEEP_PERIOD_S)


async def sweep_deadlines(deps: Deps) -> int:
    """Write down what time has done to up to 64 sessions, and tell of those that expired.

    Returns how many had come to their time. One that could not be written comes back.
    """
    due = await deps.deadlines.claim(SWEEP_MAX)
    for subject, session_id in due:
        try:
            await _run_out(deps, subject, session_id)
        except ServeError as error:
            logs.write("session not swept", code=error.code, session_id=session_id)
    return len(due)


async def _run_out(deps: Deps, subject: Subject, session_id: str) -> None:
    event_id = new_id(deps, Prefix.EVENT, subject)

    async def decide(snapshot: Snapshot) -> Change | None:
        before = await deps.ledger.session(snapshot, session_id)
        if before is None or snapshot.customer is None:
            return None
        progress = run_out(before, snapshot.customer, snapshot.now_ms)
        if progress.session is before:
            return None
        tells = progress.session.state is State.EXPIRED
        change = settle(before, progress, event_id, snapshot.now_ms, tells=tells)
        if tells:
            entry = AuditEntry(Action.SESSION_EXPIRED, SERVICE, session_id)
            change = replace(change, audit=(entry,))
        return closing(change, event_id, snapshot.now_ms)

    await transact(deps, subject, new_operation(deps), decide)
