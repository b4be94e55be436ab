"""Master keys: what the old one sealed is sealed anew under the one that took its place.

Until the backups that need it are gone the old key stays, and what it sealed opens.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.store import names
from serve.store.install import recorded_install
from serve.store.link import now_ms, reaching_redis
from serve.store.scripts import SWAP, run
from serve.store.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class RedisMasters:
    """The `Masters` port."""

    link: Redis
    keyring: Keyring = field(repr=False)
    backup_retention_days: int

    async def renew(self, *, at_once: bool = False) -> None:
        """Seal under the current master key what older ones sealed, and destroy the keys that
        backups may no longer need. With `at_once` a new key takes over first.

        Keys are destroyed only after a pass that found nothing under an older one. A pass that
        was interrupted is finished by the next.
        """
        clock_ms = await now_ms(self.link)
        if at_once:
            await asyncio.to_thread(self.keyring.rotate_master, clock_ms)
        with reaching_redis():
            tenants: Any = await self.link.zrange(names.TENANTS, 0, -1)
        behind = 0
        for tenant_id in tenants:
            behind += await self._reseal(tenant_id.decode())
        behind += await self._record()
        if behind == 0:
            await asyncio.to_thread(
                self.keyring.destroy_replaced_masters, clock_ms, self.backup_retention_days
            )

    async def _reseal(self, tenant_id: str) -> int:
        """1 when this tenant's secrets were replaced meanwhile, under whichever key."""
        key = names.secrets(tenant_id)
        with reaching_redis():
            old: Any = await self.link.get(key)
            new = (
                None if old is None else self.keyring.resealed(old, names.secrets_label(tenant_id))
            )
            if new is None:
                return 0
            done, _ = await run(self.link, SWAP, [key], [old, new])
        return 1 - int(done)

    async def _record(self) -> int:
        """Have the record of the install name the current key; 1 when it moved meanwhile."""
        with reaching_redis():
            old: Any = await self.link.get(names.INSTALL)
            if old is None:  # the first start is yet to write it
                return 0
            record = recorded_install(old)
            fingerprint = self.keyring.fingerprint()
            if record.keys_fingerprint == fingerprint:
                return 0
            new = record.model_copy(update={"keys_fingerprint": fingerprint}).dump()
            done, _ = await run(self.link, SWAP, [names.INSTALL], [old, new])
        return 1 - int(done)
