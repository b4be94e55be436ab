"""Who asks, for whom, and from where."""

import math
from dataclasses import dataclass

from serve.deps import Deps
from serve.domain.audit import Actor, ActorKind
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import ApiKey, Principal, Scope, is_proved, key_id_of
from serve.domain.tenancy.tenant import Tenant
from serve.errors import Code, ServeError

ORIGINS_KEPT_S = 1.0

# Stands in for a record that is not there, so that an unknown id costs what a known one does.
_NOBODY = ApiKey(
    id="", tenant_id="", mode=Mode.TEST, scopes=(), hmac_sha256="0" * 64, created_at_ms=0
)


async def authenticate(deps: Deps, key: str) -> Principal:
    """Whose API key this is, as of now. Raises `key_invalid`."""
    key_id = key_id_of(key)
    if key_id is None:
        raise ServeError(Code.KEY_INVALID, "not an API key")
    record = await deps.directory.key(key_id)
    is_known = is_proved(deps.pepper, key, record or _NOBODY)
    if record is None or not is_known:
        raise ServeError(Code.KEY_INVALID, "no such API key")
    actor = Actor(ActorKind.KEY, record.id)
    return Principal(record.tenant_id, record.mode, frozenset(record.scopes), actor)


def require(principal: Principal, scope: Scope) -> None:
    """Raises `scope_missing` unless the key may be used for `scope`."""
    if scope not in principal.scopes:
        raise ServeError(Code.SCOPE_MISSING, f"the key lacks the scope {scope}")


async def tenant_of(deps: Deps, principal: Principal) -> Tenant:
    """The tenant whose key this is, as the key's world has it.

    Raises `key_invalid` when there is none any more.
    """
    tenant = await deps.directory.tenant(principal.tenant_id)
    if tenant is None:
        raise ServeError(Code.KEY_INVALID, "the key's tenant does not exist")
    return tenant.seen_in(principal.mode)


@dataclass(slots=True)
class KnownOrigins:
    """The origins of all tenants, read at most once a second: anybody may ask for them."""

    read_at_s: float = -math.inf
    origins: frozenset[str] = frozenset()

    async def has(self, deps: Deps, origin: str, now_s: float) -> bool:
        """Whether any tenant lets pages of `origin` call the public routes."""
        if now_s - self.read_at_s >= ORIGINS_KEPT_S:
            self.read_at_s = now_s
            tenants = await deps.directory.tenants()
            self.origins = frozenset(
                name
                for each in tenants
                for mode in Mode
                for name in each.seen_in(mode).allowed_origins
            )
        return origin in self.origins


async def token_origins(deps: Deps, token: str) -> tuple[str, ...]:
    """The origins whose pages may use this session token; none for what finds nothing."""
    try:
        found = await deps.ledger.handoff(token)
    except ServeError as error:
        if error.code is Code.NOT_FOUND:
            return ()
        raise
    if found is None:
        return ()
    tenant = await deps.directory.tenant(found[0].tenant_id)
    return () if tenant is None else tenant.seen_in(found[0].mode).allowed_origins
