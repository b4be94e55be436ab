"""Duplicate flags as a fraud team works through them, from both sides of a pair."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.change import Change, Snapshot
from serve.domain.customer import Customer
from serve.domain.ids import Subject
from serve.domain.operation import Operation
from serve.domain.search.duplicate import (
    DuplicateFlag,
    FlagPatch,
    FlagStatus,
    changed,
    seen_by_matched,
)
from serve.domain.search.evidence import ERRORS, PAIRS
from serve.domain.search.pairs import flags_of_pairs, with_different, without_flags
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows.audit import noted
from serve.flows.transact import new_operation, transact
from serve.ports import KeptFlag, Page


async def duplicates_of(
    deps: Deps, principal: Principal, verification_id: str, cursor: str, limit: int
) -> Page[DuplicateFlag]:
    """The flags of the verification's customer, newest first: one for each other customer who has
    the same face, each as this customer has it. Raises `not_found`, `cursor_invalid`.

    A flag whose other face has gone is not shown, and is forgotten.
    """
    world = principal.tenant_id, principal.mode
    found = await deps.verifications.one(*world, verification_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such verification")
    subject, _ = found
    customer = (await deps.ledger.snapshot(subject)).customer
    ids = [] if customer is None else list(flags_of_pairs(customer).values())
    page = await deps.flags.page(ids, cursor, limit)
    if customer is not None and not cursor and not page.next_cursor:
        gone = frozenset(ids) - {kept.flag.id for kept in page.items}
        await forget_flags(deps, subject, gone)
    entry = AuditEntry(Action.FLAG_READ, principal.actor, verification_id, count=len(page.items))
    await noted(deps, Concern.of(subject), entry)
    items = tuple(
        kept.flag if kept.subject == subject else seen_by_matched(kept.flag, kept.subject)
        for kept in page.items
    )
    return Page(items, page.next_cursor)


async def change_flag(
    deps: Deps, principal: Principal, flag_id: str, patch: FlagPatch, op: Operation
) -> DuplicateFlag:
    """The flag as a reviewer leaves it; a repeat of `op` gets the same.

    A dismissal is for ever: the two are different people and are never flagged again, whoever of
    them is searched for. Raises `not_found`, `flag_closed`, `field_invalid`.
    """
    kept = await _found(deps, principal, flag_id)

    async def decide(snapshot: Snapshot) -> Change:
        before = (await _found(deps, principal, flag_id)).flag
        if snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such flag")
        after = changed(before, patch, snapshot.now_ms)
        entry = AuditEntry(Action.FLAG_CHANGED, principal.actor, flag_id, after.status)
        return replace(_patched(snapshot.customer, after), audit=(entry,), answer=after.dump())

    done = await transact(deps, kept.subject, op, decide)
    after = DuplicateFlag.model_validate_json(done.answer)
    await _tell_other(deps, principal, kept, patch)
    return after


async def forget_flags(deps: Deps, subject: Subject, flag_ids: Collection[str]) -> None:
    """Take flags off the customer's record, and those away that were made for them, if that can be
    done now: they are not shown in any case.
    """
    if not flag_ids:
        return

    async def decide(snapshot: Snapshot) -> Change | None:
        customer = snapshot.customer
        left = None if customer is None else without_flags(customer, flag_ids)
        if customer is None or left is None or left == customer:
            return None
        own = {item.flag_id for item in customer.flags}
        return Change(left, ended_flags=tuple(own.intersection(flag_ids)))

    with suppress(ServeError):
        await transact(deps, subject, new_operation(deps), decide)


async def forget_erased(deps: Deps, subject: Subject, erased: Customer) -> None:
    """Take every flag that named a customer who was erased, or was theirs, off the others'."""
    for item in (*erased.flagged_by, *erased.flags):
        other = Subject(subject.tenant_id, subject.mode, item.other)
        await forget_flags(deps, other, (item.flag_id,))


async def _found(deps: Deps, principal: Principal, flag_id: str) -> KeptFlag:
    kept = await deps.flags.one(principal.tenant_id, principal.mode, flag_id)
    if kept is None:
        raise ServeError(Code.NOT_FOUND, "no such flag")
    return kept


def _patched(customer: Customer, after: DuplicateFlag) -> Change:
    """A dismissed match was one of chance: a pair of different people, and an error."""
    if after.status is not FlagStatus.DISMISSED:
        return Change(customer, flags=(after,))
    told_apart = with_different(customer, after.matched.key)
    return Change(told_apart, flags=(after,), counts={PAIRS: 1, ERRORS: 1})


async def _tell_other(deps: Deps, principal: Principal, kept: KeptFlag, patch: FlagPatch) -> None:
    """Of two who were enrolled at once each may have been flagged: what holds for one flag of a
    pair holds for the other. Both records know of people told apart, if that can be done now; one
    of them knows in any case, and that is enough.
    """
    other = kept.subject.key

    async def decide(snapshot: Snapshot) -> Change | None:
        customer = snapshot.customer
        if customer is None:
            return None
        twins = [item.flag_id for item in customer.flags if item.other == other]
        after = tuple(
            changed(twin.flag, patch, snapshot.now_ms)
            for twin in await deps.flags.known(twins)
            if twin.flag.status not in {patch.status, FlagStatus.DISMISSED}
        )
        if patch.status is FlagStatus.DISMISSED:
            customer = with_different(customer, other)
        entries = tuple(
            AuditEntry(Action.FLAG_CHANGED, principal.actor, flag.id, flag.status) for flag in after
        )
        is_changed = after or customer is not snapshot.customer
        return Change(customer, flags=after, audit=entries) if is_changed else None

    with suppress(ServeError):
        await transact(deps, kept.flag.matched, new_operation(deps), decide)
