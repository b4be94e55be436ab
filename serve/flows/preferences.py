"""A tenant's preferences, one set for each of its two worlds."""

from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.preferences import Preferences, PreferencesPatch, patched
from serve.domain.tenancy.tenant import Tenant
from serve.flows.access import tenant_of
from serve.flows.tenants import change_tenant


async def read(deps: Deps, principal: Principal) -> Preferences:
    """The preferences in force in the key's mode."""
    return (await tenant_of(deps, principal)).preferences[principal.mode]


async def change(
    deps: Deps, principal: Principal, patch: PreferencesPatch, op: Operation | None = None
) -> Preferences:
    """The preferences after `patch`, which concerns the key's mode alone; a repeat of `op` gets
    the same.
    """

    def revise(tenant: Tenant, now_ms: int) -> Tenant:
        after = patched(tenant.preferences[principal.mode], patch, now_ms)
        preferences = {**tenant.preferences, principal.mode: after}
        return tenant.model_copy(update={"preferences": preferences, "updated_at_ms": now_ms})

    entry = AuditEntry(Action.PREFERENCES_CHANGED, principal.actor)
    concern = Concern(principal.tenant_id, principal.mode)
    tenant = await change_tenant(deps, principal.tenant_id, revise, (concern, entry), op)
    return tenant.preferences[principal.mode]
