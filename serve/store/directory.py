"""Tenants, their API keys and their signing secrets."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.domain.ids import keyed_digest
from serve.domain.tenancy.api_key import ApiKey
from serve.domain.tenancy.tenant import SigningSecret, Tenant
from serve.store import names
from serve.store.link import now_ms, reaching_redis
from serve.store.scripts import REPLACE, run
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import seal, unseal

TENANTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RedisDirectory:
    """The `Directory` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def now_ms(self) -> int:
        """The clock of the system of record."""
        return await now_ms(self.link)

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """One tenant."""
        with reaching_redis():
            found = await self.link.get(names.tenant(tenant_id))
        return None if found is None else Tenant.model_validate_json(found)

    async def tenants(self) -> list[Tenant]:
        """All of them, oldest first."""
        with reaching_redis():
            ids: Any = await self.link.zrange(names.TENANTS, 0, TENANTS_MAX - 1)
            if not ids:
                return []
            found = await self.link.mget([names.tenant(tid.decode()) for tid in ids])
        return [Tenant.model_validate_json(item) for item in found if item is not None]

    async def put_tenant(self, tenant: Tenant, expected_updated_at_ms: int | None) -> bool:
        """Create (None) or replace; False when somebody else changed it in between."""
        expected = "" if expected_updated_at_ms is None else str(expected_updated_at_ms)
        keys = [names.tenant(tenant.id), names.TENANTS]
        with reaching_redis():
            done, _ = await run(
                self.link, REPLACE, keys,
                [expected, tenant.dump(), tenant.created_at_ms, tenant.id],
            )  # fmt: skip
        return bool(done)

    async def key(self, key_id: str) -> ApiKey | None:
        """The record of an API key."""
        with reaching_redis():
            found = await self.link.get(names.api_key(key_id))
        return None if found is None else ApiKey.model_validate_json(found)

    async def put_key(self, key: ApiKey) -> None:
        """Create or replace the record of a key."""
        with reaching_redis():
            async with self.link.pipeline(transaction=True) as pipe:
                pipe.set(names.api_key(key.id), key.dump())
                pipe.sadd(names.api_keys(key.tenant_id), key.id)
                await pipe.execute()

    async def keys(self, tenant_id: str) -> list[ApiKey]:
        """A tenant's keys, revoked ones among them, oldest first."""
        with reaching_redis():
            ids: Any = await self.link.smembers(names.api_keys(tenant_id))
            if not ids:
                return []
            found = await self.link.mget([names.api_key(kid.decode()) for kid in ids])
        keys = [ApiKey.model_validate_json(item) for item in found if item is not None]
        return sorted(keys, key=lambda key: (key.created_at_ms, key.id))

    async def secrets(self, tenant_id: str) -> list[SigningSecret]:
        """Signing secrets, the newest first; replaced ones say when they expire."""
        with reaching_redis():
            sealed: Any = await self.link.get(names.secrets(tenant_id))
        if sealed is None:
            return []
        rows = json.loads(unseal(self.keyring.master, sealed, f"secrets|{tenant_id}"))
        return [SigningSecret.model_validate(row) for row in rows]

    async def gone(self, tenant_id: str, urls: Collection[str]) -> frozenset[str]:
        """Those of `urls` that answered 410 Gone and were not tried by hand since."""
        ordered = sorted(urls)
        if not ordered:
            return frozenset()
        members = [self._named(tenant_id, url) for url in ordered]
        with reaching_redis():
            found: Any = await self.link.smismember(names.gone(tenant_id), members)
        return frozenset(url for url, is_gone in zip(ordered, found, strict=True) if is_gone)

    async def put_gone(self, tenant_id: str, url: str, *, is_gone: bool) -> None:
        """Remember, or forget, that a URL takes no callbacks any more."""
        change = self.link.sadd if is_gone else self.link.srem
        with reaching_redis():
            await change(names.gone(tenant_id), self._named(tenant_id, url))

    def _named(self, tenant_id: str, url: str) -> str:
        """A URL may hold a secret, so only its digest is kept; its query does not count."""
        return keyed_digest(self.keyring.salt, "gone", tenant_id, url.partition("?")[0])

    async def put_secrets(self, tenant_id: str, secrets: Sequence[SigningSecret]) -> None:
        """Replace the signing secrets."""
        plain = json.dumps([secret.model_dump() for secret in secrets]).encode()
        with reaching_redis():
            await self.link.set(
                names.secrets(tenant_id),
                seal(self.keyring.master, plain, f"secrets|{tenant_id}"),
            )
