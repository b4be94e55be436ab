"""The log of faces as the index reads it: every partition's stream, decrypted on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from redis.asyncio import Redis

from index.entry import START, Enrolled, Entry, Erased, Gallery, LogId
from serve.domain.ids import Subject
from serve.domain.search.gallery import GalleryKind
from serve.ports.search import Tails
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import unseal

Fields = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class RedisFaceLog:
    """The `FaceLog` port. A read that waits holds a connection of its own for as long."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def tails(self) -> dict[int, LogId]:
        """How far the log of every partition reaches now."""
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for partition in names.EVERY_PARTITION:
                    pipe.get(names.faces_tail(partition))
                found = await pipe.execute()
        return {
            partition: START if tail is None else LogId.parse(tail.decode())
            for partition, tail in zip(names.EVERY_PARTITION, found, strict=True)
        }

    async def read(
        self, after: Tails, *, limit: int, wait_ms: int = 0
    ) -> dict[int, tuple[LogId, list[Entry]]]:
        """Entries behind `after`, and how far they reach; see `serve.ports.FaceLog`."""
        partitions = {names.faces(partition).encode(): partition for partition in after}
        places: Any = {names.faces(partition): str(log_id) for partition, log_id in after.items()}
        with reaching_redis():
            found: Any = await self.link.xread(places, count=limit, block=wait_ms or None)
            rows = [
                (partitions[stream], LogId.parse(log_id.decode()), fields)
                for stream, entries in found
                for log_id, fields in entries
                if fields is not None
            ]
            owners = {
                names.located(fields[b"u"].decode()) for *_, fields in rows if _enrols(fields)
            }
            keys = await self._data_keys(sorted(owners, key=lambda owner: owner.key))
        read: dict[int, tuple[LogId, list[Entry]]] = {}
        for partition, log_id, fields in rows:
            entry = _entry(log_id, fields, keys)
            _, entries = read.get(partition, (START, []))
            if entry is not None:
                entries.append(entry)
            read[partition] = log_id, entries
        return read

    async def _data_keys(self, owners: Sequence[Subject]) -> dict[Subject, bytes]:
        """Of those who are still there."""
        async with self.link.pipeline(transaction=False) as pipe:
            for owner in owners:
                pipe.hget(names.customer(owner), "k")
            wrapped = await pipe.execute()
        return {
            owner: self.keyring.unwrap(found, owner.key)
            for owner, found in zip(owners, wrapped, strict=True)
            if found is not None
        }


def _enrols(fields: Fields) -> bool:
    return fields[b"k"] == b"enrol"


def _entry(log_id: LogId, fields: Fields, keys: Mapping[Subject, bytes]) -> Entry | None:
    """None for a face whose customer is gone."""
    locator = fields[b"u"].decode()
    if not _enrols(fields):
        return Erased(log_id, locator)
    owner = names.located(locator)
    data_key = keys.get(owner)
    if data_key is None:
        return None
    face = fields[b"f"].decode()
    kind = fields.get(b"l", GalleryKind.ENROLLED.encode()).decode()
    gallery = Gallery(f"{owner.tenant_id}:{owner.mode}", kind, fields[b"m"].decode())
    vector = np.frombuffer(unseal(data_key, fields[b"d"], f"template|{face}"), dtype="<f4")
    return Enrolled(log_id, gallery, locator, face, vector.astype(np.float32))
