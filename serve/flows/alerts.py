"""Alerts, as a fraud team works through them."""

from serve.deps import Deps
from serve.domain import alert as rules
from serve.domain.alert import Alert, AlertPatch, AlertStatus
from serve.domain.change import Change, Snapshot
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows.transact import transact
from serve.ports import Page


async def page(
    deps: Deps, principal: Principal, status: AlertStatus | None, cursor: str, limit: int
) -> Page[Alert]:
    """Alerts, newest first; all, or those of one status. Raises `cursor_invalid`."""
    return await deps.listings.alerts(principal.tenant_id, principal.mode, status, cursor, limit)


async def alert(deps: Deps, principal: Principal, alert_id: str) -> Alert:
    """One alert. Raises `not_found`."""
    found = await deps.listings.alert(principal.tenant_id, principal.mode, alert_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such alert")
    return found


async def change(
    deps: Deps, principal: Principal, alert_id: str, patch: AlertPatch, op: Operation
) -> Alert:
    """The alert after `patch`. Raises `not_found`."""
    found = await alert(deps, principal, alert_id)
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, found.customer_id)

    async def decide(snapshot: Snapshot) -> Change:
        before = await alert(deps, principal, alert_id)
        if snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such alert")
        after = rules.patched(before, patch, snapshot.now_ms)
        return Change(customer=snapshot.customer, alerts=(after,))

    done = await transact(deps, subject, op, decide)
    if done.is_repeat:
        return await alert(deps, principal, alert_id)
    assert done.change is not None
    return done.change.alerts[0]
