"""Callbacks, as a tenant looks back on them."""

from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.callback import CallbackEvent
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows.audit import noted
from serve.ports import Page


async def page(deps: Deps, principal: Principal, cursor: str, limit: int) -> Page[CallbackEvent]:
    """Callbacks of the last 30 days, newest first. Raises `cursor_invalid`."""
    found = await deps.listings.events(principal.tenant_id, principal.mode, cursor, limit)
    world = Concern(principal.tenant_id, principal.mode)
    await noted(deps, world, AuditEntry(Action.EVENT_READ, principal.actor, count=len(found.items)))
    return found


async def event(deps: Deps, principal: Principal, event_id: str) -> CallbackEvent:
    """One callback with its attempts. Raises `not_found`."""
    found = await _found(deps, principal, event_id)
    concern = await _concern(deps, found)
    await noted(deps, concern, AuditEntry(Action.EVENT_READ, principal.actor, event_id))
    return found


async def resend(
    deps: Deps, principal: Principal, event_id: str, op: Operation | None = None
) -> CallbackEvent:
    """Send a callback again now, under the same id, whatever became of it; `op` does so once.

    Its URL is tried anew even if it had answered 410. Raises `not_found`.
    """
    found = await _found(deps, principal, event_id)
    await deps.directory.put_gone(principal.tenant_id, principal.mode, found.url, is_gone=False)
    entry = AuditEntry(Action.EVENT_RESENT, principal.actor, event_id)
    return await deps.outbox.resend(found, op, entry)


async def _found(deps: Deps, principal: Principal, event_id: str) -> CallbackEvent:
    found = await deps.listings.event(principal.tenant_id, principal.mode, event_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such event")
    return found


async def _concern(deps: Deps, found: CallbackEvent) -> Concern:
    """The customer whose session it tells of, or the tenant's world once that session has gone."""
    subject = await deps.ledger.owner(found.session_id)
    return Concern(found.tenant_id, found.mode) if subject is None else Concern.of(subject)
