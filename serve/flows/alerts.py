"""Alerts, as a fraud team works through them."""

from serve.deps import Deps
from serve.domain import alert as rules
from serve.domain.alert import Alert, AlertPatch, AlertStatus
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.change import Change, Snapshot
from serve.domain.ids import Subject
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows.audit import noted
from serve.flows.transact import transact
from serve.ports import Page


async def page(
    deps: Deps, principal: Principal, status: AlertStatus | None, cursor: str, limit: int
) -> Page[Alert]:
    """Alerts, newest first; all, or those of one status. Raises `cursor_invalid`."""
    found = await deps.listings.alerts(principal.tenant_id, principal.mode, status, cursor, limit)
    world = Concern(principal.tenant_id, principal.mode)
    await noted(deps, world, AuditEntry(Action.ALERT_READ, principal.actor, count=len(found.items)))
    return found


async def alert(deps: Deps, principal: Principal, alert_id: str) -> Alert:
    """One alert. Raises `not_found`."""
    found = await _found(deps, principal, alert_id)
    concern = Concern.of(_subject(deps, principal, found))
    await noted(deps, concern, AuditEntry(Action.ALERT_READ, principal.actor, alert_id))
    return found


async def change(
    deps: Deps, principal: Principal, alert_id: str, patch: AlertPatch, op: Operation
) -> Alert:
    """The alert after `patch`; a repeat of `op` gets the same. Raises `not_found`."""
    subject = _subject(deps, principal, await _found(deps, principal, alert_id))

    async def decide(snapshot: Snapshot) -> Change:
        before = await _found(deps, principal, alert_id)
        if snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such alert")
        after = rules.patched(before, patch, snapshot.now_ms)
        entry = AuditEntry(Action.ALERT_CHANGED, principal.actor, alert_id, after.status)
        return Change(snapshot.customer, alerts=(after,), audit=(entry,), answer=after.dump())

    done = await transact(deps, subject, op, decide)
    return Alert.model_validate_json(done.answer)


async def _found(deps: Deps, principal: Principal, alert_id: str) -> Alert:
    found = await deps.listings.alert(principal.tenant_id, principal.mode, alert_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such alert")
    return found


def _subject(deps: Deps, principal: Principal, found: Alert) -> Subject:
    return deps.ledger.subject(principal.tenant_id, principal.mode, found.customer_id)
