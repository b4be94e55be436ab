"""The audit trail: written by every flow that changes or shows a person's records.

What a change says of itself is written with it, by the same script. A look is written after the
record was read and before the answer leaves: an entry that cannot be written shows nothing.
"""

from dataclasses import dataclass, field

from serve.deps import Deps
from serve.domain.audit import OPERATOR, Action, AuditEntry, AuditRecord, Concern
from serve.domain.tenancy.api_key import Principal
from serve.observe import metrics
from serve.ports import Audited, Page


async def noted(deps: Deps, concern: Concern, entry: AuditEntry) -> None:
    """Append an entry, durably. Raises `state_unavailable`, `durability_unavailable`."""
    await deps.audit.add(concern, entry)
    metrics.count_audit(entry.action)


async def operated(deps: Deps, action: Action, target: str = "", outcome: str = "") -> None:
    """Append what an operator did to the whole install. Raises as `noted` does.

    To be called before it is done: what is cut short may then be in the trail and not have
    happened, but nothing has happened that is not there.
    """
    await noted(deps, Concern(), AuditEntry(action, OPERATOR, target, outcome))


def counted(audit: Audited) -> Audited:
    """`audit`, which is about to be written with a change, counted."""
    metrics.count_audit(audit[1].action)
    return audit


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries are meant: of all customers or one, of all actions or one; and which page."""

    customer_id: str | None = field(default=None, repr=False)
    action: Action | None = None
    cursor: str = ""
    limit: int = 20


async def page(deps: Deps, principal: Principal, query: Query) -> Page[AuditRecord]:
    """The trail of the tenant in one of its worlds, newest first; all, or of one customer.

    With a customer or an action a page holds those of the entries looked at that are meant,
    maybe none. Raises `cursor_invalid`.
    """
    tenant_id, mode = principal.tenant_id, principal.mode
    concern = Concern(tenant_id, mode)
    if query.customer_id is None:
        found = await deps.audit.page(tenant_id, mode, query.action, query.cursor, query.limit)
    else:
        subject = deps.ledger.subject(tenant_id, mode, query.customer_id)
        concern = Concern.of(subject)
        found = await deps.audit.page_of(subject, query.action, query.cursor, query.limit)
    await noted(
        deps, concern, AuditEntry(Action.AUDIT_READ, principal.actor, count=len(found.items))
    )
    return found


async def install_page(
    deps: Deps, tenant_id: str | None, cursor: str, limit: int
) -> Page[AuditRecord]:
    """What an operator sees: the install's own entries and the tenants', newest first; of one
    tenant its customers' as well. Raises `cursor_invalid`.
    """
    if tenant_id is None:
        tenant_ids = [tenant.id for tenant in await deps.directory.tenants()]
        found = await deps.audit.page_of_install(tenant_ids, cursor, limit)
    else:
        found = await deps.audit.page_of_tenant(tenant_id, cursor, limit)
    entry = AuditEntry(Action.AUDIT_READ, OPERATOR, count=len(found.items))
    await noted(deps, Concern(tenant_id or ""), entry)
    return found
