"""The one loop through which a customer's records change: read, decide, commit, or try again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from serve.deps import Deps
from serve.domain.change import Change, Snapshot
from serve.domain.ids import ID_RANDOM_BYTES, Prefix, Subject, make_id
from serve.domain.operation import Operation
from serve.domain.search.gallery import GalleryKind
from serve.errors import Code, ServeError
from serve.observe import metrics
from serve.ports import Records

TRIES_MAX = 8
PAUSE_S_MAX = 0.02  # before the second try; it grows with each

Result = TypeVar("Result")
Decide = Callable[[Snapshot], Awaitable[Change | None]]


@dataclass(frozen=True, slots=True)
class Transaction:
    """What became of an operation.

    `change` is None when nothing had to be written. Where `is_repeat`, the operation had been
    carried out before: `answer` is what it answered then, and `change` was not written. `after`
    are the records as the change left them, where that is known.
    """

    change: Change | None
    answer: bytes = field(repr=False)
    is_repeat: bool
    after: Snapshot | None = field(default=None, repr=False)


async def transact(deps: Deps, subject: Subject, op: Operation, decide: Decide) -> Transaction:
    """Carry out `op`: commit what `decide` makes of the records as they are.

    `decide` reads and judges but writes nothing, and is called again when the records moved on;
    None from it means that nothing is to be written. One that may be a repeat, and is, is not
    decided again. Raises what `decide` raises, `version_conflict` when the records kept moving,
    and `answer_erased` rather than do again what may have gone with an erased customer.
    """
    op.subject = subject

    async def attempt(snapshot: Snapshot) -> Transaction:
        op.concerns(snapshot)
        if op.may_repeat and (found := await deps.ledger.answer(snapshot, op.id)) is not None:
            await deps.ledger.confirm(snapshot)
            return Transaction(None, found, is_repeat=True)
        if await deps.idempotency.is_outlived(op):
            raise ServeError(Code.ANSWER_ERASED, "it was asked for before the customer was erased")
        done = await _carry_out(deps, snapshot, op.id, await decide(snapshot))
        if done.change is not None and snapshot.customer is None:  # there is one now
            is_ours = not done.is_repeat
            op.data_key = (snapshot if is_ours else await deps.ledger.snapshot(subject)).data_key
        return done

    return await retried(deps, subject, attempt)


async def carried_out(deps: Deps, subject: Subject, op: Operation) -> bytes | None:
    """What `op` answered, if it may be a repeat and is: for who judges before there is a change."""
    if not op.may_repeat:
        return None
    snapshot = await deps.ledger.snapshot(subject)
    op.concerns(snapshot)
    found = await deps.ledger.answer(snapshot, op.id)
    if found is not None:
        await deps.ledger.confirm(snapshot)
    return found


async def transact_read(
    deps: Deps,
    op_id: str,
    read: Callable[[], Awaitable[Records]],
    decide: Callable[[Records], Change | None],
) -> Transaction:
    """The same, where `read` brings in one round trip all that is to be judged."""

    async def attempt() -> Transaction:
        records = await read()
        return await _carry_out(deps, records.snapshot, op_id, decide(records))

    return await _repeated(deps, attempt)


async def _carry_out(
    deps: Deps, snapshot: Snapshot, op_id: str, change: Change | None
) -> Transaction:
    if change is None:
        await deps.ledger.confirm(snapshot)  # what was found instead is acknowledged now
        return Transaction(None, b"", is_repeat=False)
    committed = await deps.ledger.commit(snapshot, change, op_id)
    if not committed.is_repeat:
        _count(change)
    return Transaction(change, committed.answer, committed.is_repeat, committed.after)


def _count(change: Change) -> None:
    for entry in change.audit:
        metrics.count_audit(entry.action)
    for face in change.faces:
        if face.gallery is GalleryKind.ENROLLED:
            metrics.count_enrolment()
    for alert in change.alerts:
        if alert.is_new:
            metrics.count_alert(alert.alert_type)


async def retried(
    deps: Deps, subject: Subject, attempt: Callable[[Snapshot], Awaitable[Result]]
) -> Result:
    """What `attempt` returns for a snapshot that nobody changed before it was done.

    Raises `version_conflict` after 8 tries.
    """

    async def once() -> Result:
        return await attempt(await deps.ledger.snapshot(subject))

    return await _repeated(deps, once)


async def _repeated(deps: Deps, attempt: Callable[[], Awaitable[Result]]) -> Result:
    for tries in range(1, TRIES_MAX):
        try:
            return await attempt()
        except ServeError as error:
            if error.code is not Code.VERSION_CONFLICT:
                raise
        await asyncio.sleep(PAUSE_S_MAX * tries * deps.random(1)[0] / 255)
    return await attempt()


def new_id(deps: Deps, prefix: Prefix, subject: Subject) -> str:
    """A fresh id in the subject's partition."""
    return make_id(prefix, subject.partition, deps.random(ID_RANDOM_BYTES))


def new_operation(deps: Deps) -> Operation:
    """An operation that nobody outside can repeat."""
    return Operation(deps.random(ID_RANDOM_BYTES).hex())
