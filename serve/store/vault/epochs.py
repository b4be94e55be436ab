"""Epochs: every data key is wrapped anew each day, so that yesterday's key can be destroyed.

What a backup holds of an erased customer opens only with the epoch key of its day. Once that key
is destroyed, nothing does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from serve.store import names
from serve.store.link import now_ms, reaching_redis
from serve.store.scripts import REWRAP, run_each
from serve.store.vault.keyring import Keyring
from serve.store.vault.wrapped import Wrapped, wrapped_keys

SCAN_COUNT = 128  # so many wrappings keep nobody else waiting for long


@dataclass(frozen=True, slots=True)
class RedisEpochs:
    """The `Epochs` port."""

    link: Redis
    keyring: Keyring = field(repr=False)
    backup_retention_days: int

    async def renew(self, *, at_once: bool = False) -> None:
        """Begin a new epoch if it is time, or `at_once`, wrap every live data key under it, and
        destroy the keys that backups may no longer need.

        Keys are destroyed only after a pass that found no live data key under an older epoch.
        """
        clock_ms = await now_ms(self.link)
        current = await asyncio.to_thread(self.keyring.rotate, clock_ms, at_once=at_once)
        behind = 0
        for partition in names.EVERY_PARTITION:
            behind += await self._rewrap_partition(partition, current)
        if behind == 0:
            await asyncio.to_thread(
                self.keyring.destroy_replaced, clock_ms, self.backup_retention_days
            )

    def is_destroyed(self, epoch: int) -> bool:
        """Whether the key of `epoch` is gone."""
        return self.keyring.is_destroyed(epoch)

    async def _rewrap_partition(self, partition: int, current: int) -> int:
        """Wrap this partition's data keys anew; how many a concurrent change left behind."""
        behind = 0
        async for found in wrapped_keys(self.link, partition, SCAN_COUNT):
            behind += await self._rewrap(found, current)
        return behind

    async def _rewrap(self, found: Sequence[Wrapped], current: int) -> int:
        calls: list[tuple[list[str], list[bytes]]] = []
        for each in found:
            if self.keyring.epoch_of(each.data_key) != current:
                new = self.keyring.wrap(self.keyring.unwrap(each.data_key, each.label), each.label)
                calls.append(([each.record], [each.data_key, new]))
        with reaching_redis():
            done = await run_each(self.link, REWRAP, calls) if calls else []
        return len(calls) - sum(map(int, done))
