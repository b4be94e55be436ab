"""Reading sealed records of many customers at once, as a tenant's lists do.

Two round trips whatever the number: the records, then the data keys of whom they name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from serve.domain.ids import Mode, Subject
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import unseal


@dataclass(frozen=True, slots=True)
class Opened:
    """One record, decrypted, whose it is, and the key that it is sealed under."""

    subject: Subject
    document: bytes = field(repr=False)
    data_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedRecords:
    """Reads records that name their customer and are sealed under that customer's key."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def read(
        self, keys: Sequence[tuple[str, str]], world: tuple[str, Mode] | None = None
    ) -> list[Opened | None]:
        """Each record of `keys`, pairs of key and label, in order; None where it has gone.

        With a `world`, a tenant in one mode, one of another world costs what none would: nothing
        more is asked for it, and it is not opened.
        """
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for key, _ in keys:
                    pipe.hmget(key, ["u", "d"])
                rows = await pipe.execute()
        owners = [None if row[0] is None else names.located(row[0].decode()) for row in rows]
        if world is not None:
            owners = [owner if owner and _world(owner) == world else None for owner in owners]
        data_keys = await self._data_keys({owner for owner in owners if owner is not None})
        opened: list[Opened | None] = []
        for (_, label), owner, (_, sealed) in zip(keys, owners, rows, strict=True):
            data_key = None if owner is None else data_keys.get(owner)
            if owner is None or data_key is None or sealed is None:
                opened.append(None)
            else:
                opened.append(Opened(owner, unseal(data_key, sealed, label), data_key))
        return opened

    async def read_one(self, key: str, label: str, tenant_id: str, mode: Mode) -> bytes | None:
        """One record's document if it is this tenant's in this mode, else None."""
        (found,) = await self.read([(key, label)], (tenant_id, mode))
        return None if found is None else found.document

    async def _data_keys(self, subjects: set[Subject]) -> dict[Subject, bytes]:
        ordered = sorted(subjects, key=lambda subject: subject.key)
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for subject in ordered:
                    pipe.hget(names.customer(subject), "k")
                wrapped = await pipe.execute()
        return {
            subject: self.keyring.unwrap(found, subject.key)
            for subject, found in zip(ordered, wrapped, strict=True)
            if found is not None
        }


def _world(subject: Subject) -> tuple[str, Mode]:
    return subject.tenant_id, subject.mode
