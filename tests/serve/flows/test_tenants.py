"""Tenants, keys and secrets, on a real store."""

import asyncio
import base64

import pytest

from pipeline.decision.policy import LivenessPolicy
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import DEFAULT_SCOPES, Scope
from serve.domain.tenancy.preferences import Reactions, Triggers
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code
from serve.flows.access import authenticate
from serve.flows.tenants import (
    OVERLAP_MS,
    SECRETS_MAX,
    change_settings,
    create_key,
    create_tenant,
    list_tenants,
    revoke_key,
    rotate_secret,
    settings,
)
from tests.helpers.service import Service, refusal


async def test_a_new_tenant_is_strict_and_asks_for_nothing(service: Service) -> None:
    """Liveness is required and no event calls for a face, in either mode."""
    created = await create_tenant(service.deps, "New", TenantPatch())
    assert created.tenant.liveness_policy is LivenessPolicy.REQUIRED
    for mode in Mode:
        preferences = created.tenant.preferences[mode]
        assert not preferences.is_reuse_kyc_enabled
        assert preferences.reuse_kyc_triggers == Triggers()
        assert preferences.reuse_kyc_reactions == Reactions()
        assert preferences.tenant_id == created.tenant.id
    assert await list_tenants(service.deps) == [
        await settings(service.deps, service.live), created.tenant,
    ]  # fmt: skip


async def test_its_keys_work_in_their_own_modes(service: Service) -> None:
    """Both keys have the usual scopes; neither they nor the secret appear in a repr."""
    created = await create_tenant(service.deps, "New", TenantPatch())
    for key, mode in ((created.api_key, Mode.LIVE), (created.test_api_key, Mode.TEST)):
        principal = await authenticate(service.deps, key)
        assert (principal.tenant_id, principal.mode) == (created.tenant.id, mode)
        assert principal.scopes == set(DEFAULT_SCOPES)
        assert key not in repr(created)
    assert created.webhook_secret not in repr(created)


async def test_no_secret_is_stored_in_the_clear(service: Service) -> None:
    """Neither keys nor signing secrets can be read off the store."""
    created = await create_tenant(service.deps, "New", TenantPatch())
    names = [name for name in await service.keys("{limen}:*") if ":keys:" not in name]
    kinds = {name: await service.link.type(name) for name in names}
    texts = [await service.stored(name) for name in names if kinds[name] == b"string"]
    stored = b"".join(texts)
    assert created.tenant.id.encode() in stored
    for secret in (created.api_key, created.test_api_key, created.webhook_secret):
        assert secret[-32:].encode() not in stored


@pytest.mark.parametrize("rotations", [0, 1])
async def test_a_signing_secret_has_256_bits(service: Service, rotations: int) -> None:
    """Its shape is the one that Standard Webhooks libraries read."""
    for _ in range(rotations):
        await rotate_secret(service.deps, service.tenant.id)
    newest = (await service.deps.directory.secrets(service.tenant.id))[0].secret
    assert newest.startswith("whsec_")
    assert len(base64.b64decode(newest.removeprefix("whsec_"), validate=True)) == 32


async def test_a_replaced_secret_signs_for_another_day(service: Service) -> None:
    """The old one says when it ends, the new one does not, and its end is not put off."""
    (old,) = await service.deps.directory.secrets(service.tenant.id)
    new = await rotate_secret(service.deps, service.tenant.id)
    found = await service.deps.directory.secrets(service.tenant.id)
    assert [item.secret for item in found] == [new.secret, old.secret]
    assert new.expires_at_ms is None
    assert found[1].expires_at_ms == new.created_at_ms + OVERLAP_MS
    await rotate_secret(service.deps, service.tenant.id)
    again = await service.deps.directory.secrets(service.tenant.id)
    assert again[2] == found[1]


async def test_secrets_do_not_pile_up(service: Service) -> None:
    """However often it is rotated, a callback has a bounded number of signatures."""
    for _ in range(SECRETS_MAX + 2):
        newest = await rotate_secret(service.deps, service.tenant.id)
    found = await service.deps.directory.secrets(service.tenant.id)
    assert len(found) == SECRETS_MAX
    assert found[0] == newest


async def test_a_secret_whose_day_is_over_goes(service: Service) -> None:
    """The next rotation leaves it out."""
    (old,) = await service.deps.directory.secrets(service.tenant.id)
    past = old.model_copy(update={"expires_at_ms": 1})
    await service.deps.directory.put_secrets(service.tenant.id, [past])
    new = await rotate_secret(service.deps, service.tenant.id)
    assert await service.deps.directory.secrets(service.tenant.id) == [new]


async def test_settings_change_together_or_apart(service: Service) -> None:
    """Concurrent changes of different settings both count."""
    patches = [TenantPatch(session_retention_days=7), TenantPatch(keep_reference_images=False)]
    calls = [change_settings(service.deps, service.tenant.id, patch) for patch in patches]
    await asyncio.gather(*calls)
    after = await settings(service.deps, service.live)
    assert (after.session_retention_days, after.keep_reference_images) == (7, False)
    assert after.allowed_origins == service.tenant.allowed_origins


async def test_a_bad_front_end_is_refused(service: Service) -> None:
    """At creation as well as later, and no tenant comes of it."""
    patch = TenantPatch(frontend_base_url="javascript:alert(1)")
    assert await refusal(create_tenant(service.deps, "New", patch)) == Code.URL_REFUSED
    change = change_settings(service.deps, service.tenant.id, patch)
    assert await refusal(change) == Code.URL_REFUSED
    assert len(await list_tenants(service.deps)) == 1


async def test_a_key_is_revoked_once(service: Service) -> None:
    """The time of the first revocation stays, and the key stays on record."""
    made, _ = await create_key(service.deps, service.tenant.id, Mode.LIVE, [Scope.ALERTS])
    revoked = await revoke_key(service.deps, made.id)
    assert revoked.revoked_at_ms is not None
    assert await revoke_key(service.deps, made.id) == revoked
    assert revoked in await service.deps.directory.keys(service.tenant.id)


async def test_unknown_tenants_and_keys_are_not_found(service: Service) -> None:
    """Nothing is made for a tenant that is not there."""
    calls = (
        create_key(service.deps, "ten_x", Mode.LIVE, [*Scope]),
        change_settings(service.deps, "ten_x", TenantPatch()),
        rotate_secret(service.deps, "ten_x"),
        revoke_key(service.deps, "a" * 16),
    )
    for call in calls:
        assert await refusal(call) == Code.NOT_FOUND
