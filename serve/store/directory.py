"""Tenants, their API keys and their signing secrets."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.domain.delivery.outage import OUTAGE_KEPT_MS, Outage, Standing
from serve.domain.ids import Mode, keyed_digest
from serve.domain.tenancy.api_key import ApiKey
from serve.domain.tenancy.tenant import SigningSecret, Tenant
from serve.ports import Audited, Committed
from serve.store import names
from serve.store.audit import added_at, fields_of
from serve.store.link import now_ms, reaching_redis
from serve.store.scripts import REPLACE, SWAP, Argument, check_reached, run, write_together
from serve.store.vault.keyring import Keyring

TENANTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RedisDirectory:
    """The `Directory` port. `replicas` is how many must hold a change, and for how many ms to wait;
    what is noted of callback URLs waits for none.
    """

    link: Redis
    keyring: Keyring = field(repr=False)
    replicas: tuple[int, int] = (0, 0)

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

    async def put_tenant(
        self,
        tenant: Tenant,
        expected_updated_at_ms: int | None,
        audit: Audited | None = None,
        op_id: str = "",
    ) -> Committed | None:
        """Create (None) or replace; None when somebody else changed it in between.

        An operation that was carried out before writes nothing, and answers what it wrote.
        """
        expected = "" if expected_updated_at_ms is None else str(expected_updated_at_ms)
        keys = [names.tenant(tenant.id), names.TENANTS, names.tenant_operation(op_id)]
        document, kept_ms = tenant.dump(), names.OPERATION_KEPT_MS if op_id else ""
        arguments: list[Argument] = [expected, document, tenant.created_at_ms, tenant.id, kept_ms]
        if audit is not None:
            key, words = _appended(tenant.updated_at_ms, audit)
            keys.append(key)
            arguments += [names.AUDIT_KEPT_MS, *words]
        with reaching_redis():
            (result, *known), reached = await run(
                self.link, REPLACE, keys, arguments, self.replicas
            )
        check_reached(reached, self.replicas)
        if result == b"repeat":
            return Committed(known[0], is_repeat=True)
        return Committed(document, is_repeat=False) if result == b"done" else None

    async def key(self, key_id: str) -> ApiKey | None:
        """The record of an API key."""
        with reaching_redis():
            found = await self.link.get(names.api_key(key_id))
        return None if found is None else ApiKey.model_validate_json(found)

    async def put_key(self, key: ApiKey, audit: Audited | None = None) -> None:
        """Create or replace the record of a key."""
        with reaching_redis():
            await write_together(
                self.link,
                self.replicas,
                ("SET", names.api_key(key.id), key.dump()),
                ("SADD", names.api_keys(key.tenant_id), key.id),
                *_append(key.revoked_at_ms or key.created_at_ms, audit),
            )

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
        rows = json.loads(self.keyring.open_secret(sealed, names.secrets_label(tenant_id)))
        return [SigningSecret.model_validate(row) for row in rows]

    async def standings(
        self, tenant_id: str, mode: Mode, urls: Collection[str]
    ) -> dict[str, Standing]:
        """What is known of each of `urls`, in one round trip."""
        ordered = sorted(urls)
        if not ordered:
            return {}
        digests = [self._named(tenant_id, mode, url) for url in ordered]
        outages = [names.outage(tenant_id, each) for each in digests]
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                pipe.smismember(names.gone(tenant_id), digests)
                pipe.mget(outages)
                gone, noted = await pipe.execute()
        return {
            url: Standing(
                bool(is_gone), None if found is None else Outage.model_validate_json(found)
            )
            for url, is_gone, found in zip(ordered, gone, noted, strict=True)
        }

    async def put_gone(self, tenant_id: str, mode: Mode, url: str, *, is_gone: bool) -> None:
        """Remember, or forget, that a URL takes no callbacks any more; either ends its outage."""
        digest = self._named(tenant_id, mode, url)
        with reaching_redis():
            async with self.link.pipeline(transaction=True) as pipe:
                change = pipe.sadd if is_gone else pipe.srem
                change(names.gone(tenant_id), digest)
                pipe.delete(names.outage(tenant_id, digest))
                await pipe.execute()

    async def put_outage(
        self, tenant_id: str, mode: Mode, url: str, before: Outage | None, after: Outage | None
    ) -> None:
        """Replace `before` by `after`, unless somebody else did meanwhile; None ends it anyway."""
        key = names.outage(tenant_id, self._named(tenant_id, mode, url))
        with reaching_redis():
            if after is None:
                await self.link.delete(key)
                return
            expected = b"" if before is None else before.dump()
            await run(self.link, SWAP, [key], [expected, after.dump(), OUTAGE_KEPT_MS])

    def _named(self, tenant_id: str, mode: Mode, url: str) -> str:
        """A URL may hold a secret, so only its digest is kept; its query does not count."""
        return keyed_digest(self.keyring.salt, "gone", tenant_id, mode, url.partition("?")[0])

    async def put_secrets(
        self, tenant_id: str, secrets: Sequence[SigningSecret], audit: Audited | None = None
    ) -> None:
        """Replace the signing secrets."""
        plain = json.dumps([secret.model_dump() for secret in secrets]).encode()
        sealed = self.keyring.seal_secret(plain, names.secrets_label(tenant_id))
        now_ms = secrets[0].created_at_ms if secrets else 0
        with reaching_redis():
            await write_together(
                self.link,
                self.replicas,
                ("SET", names.secrets(tenant_id), sealed),
                *_append(now_ms, audit if secrets else None),
            )


def _appended(now_ms: int, audit: Audited) -> tuple[str, list[Argument]]:
    """The stream that an entry belongs to, in the slot of the directory, and XADD's words."""
    concern, entry = audit
    key = names.audit_beside(concern.tenant_id, concern.mode)
    return key, added_at(now_ms, fields_of(concern, entry))


def _append(now_ms: int, audit: Audited | None) -> list[Sequence[Argument]]:
    if audit is None:
        return []
    key, words = _appended(now_ms, audit)
    return [("XADD", key, *words), ("PEXPIRE", key, names.AUDIT_KEPT_MS)]
