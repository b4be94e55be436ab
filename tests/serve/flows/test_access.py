"""Who may ask: keys, scopes, tenants and origins, on a real store."""

from dataclasses import replace

import pytest

from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Scope
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows.access import KnownOrigins, authenticate, require, tenant_of, token_origins
from serve.flows.tenants import change_settings, create_key, revoke_key
from tests.helpers.service import Service, refusal, stranger


async def test_a_key_names_its_tenant_mode_and_scopes(service: Service) -> None:
    """What a key may do is what it was made for."""
    _, key = await create_key(service.deps, service.tenant.id, Mode.TEST, [Scope.EVENTS])
    principal = await authenticate(service.deps, key)
    assert (principal.tenant_id, principal.mode) == (service.tenant.id, Mode.TEST)
    assert principal.scopes == {Scope.EVENTS}


async def test_a_revoked_key_is_useless_at_once(service: Service) -> None:
    """The very next request with it is refused, and other keys go on."""
    made, key = await create_key(service.deps, service.tenant.id, Mode.LIVE, [*Scope])
    await authenticate(service.deps, key)
    await revoke_key(service.deps, made.id)
    assert await refusal(authenticate(service.deps, key)) == Code.KEY_INVALID


async def test_what_is_no_key_of_ours(service: Service) -> None:
    """Unknown ids, wrong secrets and other shapes are refused alike."""
    _, key = await create_key(service.deps, service.tenant.id, Mode.LIVE, [*Scope])
    wrong_secret = key[:-4] + ("AAAA" if key[-4:] != "AAAA" else "BBBB")
    unknown = f"sk_live_{'a' * 16}_{'b' * 43}"
    for text in ("", "sk_live_x", unknown, wrong_secret, "sk_live_\udce4", "a" * 10_000):
        assert await refusal(authenticate(service.deps, text)) == Code.KEY_INVALID


async def test_a_missing_scope_is_named(service: Service) -> None:
    """A key without the scope is refused; with it, it passes."""
    narrow = replace(service.live, scopes=frozenset({Scope.ALERTS}))
    require(narrow, Scope.ALERTS)
    with pytest.raises(ServeError) as refused:
        require(narrow, Scope.CUSTOMERS)
    assert refused.value.code is Code.SCOPE_MISSING


async def test_a_key_without_a_tenant_opens_nothing(service: Service) -> None:
    """A tenant that is not there refuses its keys."""
    assert (await tenant_of(service.deps, service.live)).name == "Shop"
    assert await refusal(tenant_of(service.deps, stranger())) == Code.KEY_INVALID


async def test_origins_of_tenants_are_known(service: Service) -> None:
    """Only what a tenant registered is, letter for letter."""
    known = KnownOrigins()
    assert await known.has(service.deps, "https://shop.example", 0.0)
    for origin in ("https://other.example", "null", "", "https://shop.example/"):
        assert not await known.has(service.deps, origin, 0.0)


async def test_origins_are_read_again_after_a_second(service: Service) -> None:
    """A page that asks again and again costs the store nothing; a new origin is soon known."""
    known = KnownOrigins()
    assert not await known.has(service.deps, "https://new.example", 0.0)
    patch = TenantPatch(allowed_origins=("https://new.example",))
    await change_settings(service.deps, service.tenant.id, patch)
    assert not await known.has(service.deps, "https://new.example", 0.9)
    assert await known.has(service.deps, "https://new.example", 1.0)


async def test_a_token_allows_its_tenants_origins(service: Service) -> None:
    """A token that finds nothing allows none."""
    token = await service.ready()
    assert await token_origins(service.deps, token) == ("https://shop.example",)
    for other in ("", "st_", f"st_07{'a' * 43}"):
        assert await token_origins(service.deps, other) == ()
