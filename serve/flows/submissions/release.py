"""A submission that decides nothing: its session is given back, its job goes."""

import asyncio
from contextlib import suppress

from serve.deps import Deps
from serve.domain.change import Change, Snapshot, closing, settle
from serve.domain.ids import Prefix
from serve.domain.operation import Operation
from serve.domain.progress import Progress, is_current, release
from serve.errors import ServeError
from serve.flows.submissions.taken import Taken
from serve.flows.transact import new_id, new_operation, transact

LET_GO_S_MAX = 1.0


async def let_go(deps: Deps, taken: Taken) -> None:
    """Release it if that can be done at once; else its lease gives it back."""
    with suppress(ServeError, TimeoutError):
        async with asyncio.timeout(LET_GO_S_MAX):
            await _release(deps, taken)


async def _release(deps: Deps, taken: Taken) -> None:
    """Give the session back as if nothing had been submitted, if it is still ours."""
    event_id = new_id(deps, Prefix.EVENT, taken.subject)

    async def attempt(snapshot: Snapshot) -> Change | None:
        before = await deps.ledger.session(snapshot, taken.session_id)
        if before is None or snapshot.customer is None:
            return None
        now_ms = snapshot.now_ms
        if not is_current(before, taken.op_id):
            return None
        progress = Progress(release(before, now_ms), snapshot.customer)
        change = settle(before, progress, "", now_ms, tells=False)
        return closing(change, event_id, now_ms)

    await transact(deps, taken.subject, new_operation(deps), attempt)


async def drop(deps: Deps, taken: Taken) -> None:
    """Delete a job that decides nothing any more."""

    async def attempt(snapshot: Snapshot) -> Change | None:
        if snapshot.customer is None:
            return None
        return Change(customer=snapshot.customer, ended_jobs=taken.ended_job)

    await transact(deps, taken.subject, Operation(f"drop-{taken.job_id}"), attempt)
