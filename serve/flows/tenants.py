"""Tenants, their API keys and their signing secrets: what an operator sets up.

Each change and its entry in the audit trail are one transaction. A tenant is made in several: what
is cut short leaves entries of keys that open nothing.
"""

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from serve.deps import Deps
from serve.domain.audit import OPERATOR, Action, AuditEntry, Concern
from serve.domain.ids import ID_RANDOM_BYTES, Mode
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import (
    DEFAULT_SCOPES,
    KEY_ID_BYTES,
    SECRET_BYTES,
    ApiKey,
    Principal,
    Scope,
    hash_key,
    make_key,
)
from serve.domain.tenancy.preferences import Preferences
from serve.domain.tenancy.tenant import SigningSecret, Tenant, TenantPatch, patched
from serve.errors import Code, ServeError
from serve.flows.access import tenant_of
from serve.flows.audit import counted
from serve.flows.transact import PAUSE_S_MAX, TRIES_MAX, new_operation
from serve.ports import Audited

SIGNING_SECRET_BYTES = 32
OVERLAP_MS = 24 * 3_600_000
SECRETS_MAX = 4  # each is a signature on every callback


@dataclass(frozen=True, slots=True)
class CreatedTenant:
    """A new tenant and its secrets, which are shown this once."""

    tenant: Tenant
    api_key: str = field(repr=False)
    test_api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


async def create_tenant(deps: Deps, name: str, patch: TenantPatch) -> CreatedTenant:
    """A tenant with a key of every scope for each mode. Nothing calls for a face yet.

    Raises `url_refused`.
    """
    now_ms = await deps.directory.now_ms()
    tenant_id = f"ten_{_text(deps.random(ID_RANDOM_BYTES))}"
    bare = Tenant(
        id=tenant_id,
        name=name,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        preferences={mode: _no_preferences(tenant_id, mode, now_ms) for mode in Mode},
    )
    tenant = patched(bare, patch, now_ms)
    # The tenant comes last: whatever is cut short before leaves keys that open nothing.
    secret = _new_secret(deps, now_ms)
    await deps.directory.put_secrets(tenant_id, [secret])
    keys = {mode: await _put_key(deps, tenant_id, mode, DEFAULT_SCOPES, now_ms) for mode in Mode}
    made = (Concern(tenant_id), AuditEntry(Action.TENANT_CREATED, OPERATOR))
    await deps.directory.put_tenant(tenant, None, counted(made))
    return CreatedTenant(tenant, keys[Mode.LIVE][1], keys[Mode.TEST][1], secret.secret)


async def list_tenants(deps: Deps) -> list[Tenant]:
    """All tenants, oldest first."""
    return await deps.directory.tenants()


async def settings(deps: Deps, principal: Principal) -> Tenant:
    """The tenant that the key belongs to, with the settings of the key's world."""
    return await tenant_of(deps, principal)


async def change_settings(deps: Deps, tenant_id: str, patch: TenantPatch) -> Tenant:
    """The tenant after an operator's `patch`, which holds in both its worlds.

    Raises `not_found`, `url_refused`.
    """
    return await change_tenant(
        deps,
        tenant_id,
        lambda tenant, now: patched(tenant, patch, now),
        (Concern(tenant_id), AuditEntry(Action.TENANT_CHANGED, OPERATOR)),
    )


async def change_own_settings(
    deps: Deps, principal: Principal, patch: TenantPatch, op: Operation
) -> Tenant:
    """The tenant after its own `patch`, which holds in the key's world alone; a repeat of `op`
    gets the same. Raises `url_refused`.
    """
    tenant_id, mode = principal.tenant_id, principal.mode
    after = await change_tenant(
        deps,
        tenant_id,
        lambda tenant, now: patched(tenant, patch, now, mode),
        (Concern(tenant_id, mode), AuditEntry(Action.TENANT_CHANGED, principal.actor)),
        op,
    )
    return after.seen_in(mode)


async def change_tenant(
    deps: Deps,
    tenant_id: str,
    revise: Callable[[Tenant, int], Tenant],
    audit: Audited,
    op: Operation | None = None,
) -> Tenant:
    """The tenant as `revise` makes it of the one there is, at a time later than its last change,
    or as `op` left it when it was carried out before.

    Raises `not_found`, and `version_conflict` when others kept changing it.
    """
    op_id = (op or new_operation(deps)).id
    for tries in range(TRIES_MAX):
        await asyncio.sleep(PAUSE_S_MAX * tries * deps.random(1)[0] / 255)
        before = await _tenant(deps, tenant_id)
        now_ms = max(await deps.directory.now_ms(), before.updated_at_ms + 1)
        after = revise(before, now_ms)
        done = await deps.directory.put_tenant(after, before.updated_at_ms, audit, op_id)
        if done is not None:
            if not done.is_repeat:
                counted(audit)
            return Tenant.model_validate_json(done.answer)
    raise ServeError(Code.VERSION_CONFLICT, "the tenant kept changing")


async def create_key(
    deps: Deps, tenant_id: str, mode: Mode, scopes: Sequence[Scope]
) -> tuple[ApiKey, str]:
    """A new API key: its record, and the text to show this once. Raises `not_found`."""
    await _tenant(deps, tenant_id)
    unique = tuple(scope for scope in Scope if scope in scopes)
    return await _put_key(deps, tenant_id, mode, unique, await deps.directory.now_ms())


async def revoke_key(deps: Deps, key_id: str) -> ApiKey:
    """Make a key useless at once; it stays on record. Raises `not_found`."""
    key = await deps.directory.key(key_id)
    if key is None:
        raise ServeError(Code.NOT_FOUND, "no such API key")
    if key.revoked_at_ms is not None:
        return key
    revoked = key.model_copy(update={"revoked_at_ms": await deps.directory.now_ms()})
    entry = AuditEntry(Action.KEY_REVOKED, OPERATOR, key_id)
    await deps.directory.put_key(revoked, counted((Concern(key.tenant_id, key.mode), entry)))
    return revoked


async def rotate_secret(deps: Deps, tenant_id: str) -> SigningSecret:
    """A new signing secret; callbacks are signed with the old one as well for 24 hours.

    Raises `not_found`.
    """
    await _tenant(deps, tenant_id)
    now_ms = await deps.directory.now_ms()
    old = [
        secret.model_copy(update={"expires_at_ms": secret.expires_at_ms or now_ms + OVERLAP_MS})
        for secret in await deps.directory.secrets(tenant_id)
    ]
    new = _new_secret(deps, now_ms)
    in_force = [secret for secret in old if (secret.expires_at_ms or 0) > now_ms]
    rotated = (Concern(tenant_id), AuditEntry(Action.SECRET_ROTATED, OPERATOR))
    await deps.directory.put_secrets(tenant_id, [new, *in_force][:SECRETS_MAX], counted(rotated))
    return new


async def _tenant(deps: Deps, tenant_id: str) -> Tenant:
    tenant = await deps.directory.tenant(tenant_id)
    if tenant is None:
        raise ServeError(Code.NOT_FOUND, "no such tenant")
    return tenant


async def _put_key(
    deps: Deps, tenant_id: str, mode: Mode, scopes: tuple[Scope, ...], now_ms: int
) -> tuple[ApiKey, str]:
    text, key_id = make_key(mode, deps.random(KEY_ID_BYTES), deps.random(SECRET_BYTES))
    key = ApiKey(
        id=key_id,
        tenant_id=tenant_id,
        mode=mode,
        scopes=scopes,
        hmac_sha256=hash_key(deps.pepper, text),
        created_at_ms=now_ms,
    )
    entry = AuditEntry(Action.KEY_CREATED, OPERATOR, key_id)
    await deps.directory.put_key(key, counted((Concern(tenant_id, mode), entry)))
    return key, text


def _no_preferences(tenant_id: str, mode: Mode, now_ms: int) -> Preferences:
    return Preferences(
        id=f"prf_{mode}_{tenant_id.removeprefix('ten_')}",
        tenant_id=tenant_id,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )


def _new_secret(deps: Deps, now_ms: int) -> SigningSecret:
    text = base64.b64encode(deps.random(SIGNING_SECRET_BYTES)).decode()
    return SigningSecret(secret=f"whsec_{text}", created_at_ms=now_ms)


def _text(random: bytes) -> str:
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode()
