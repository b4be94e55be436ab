"""The log of faces as the index reads it: every partition's stream, decrypted on the way."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from index.entry import START, Entry, LogId
from serve.observe import logs
from serve.observe import search as metrics
from serve.ports.search import Tails
from serve.store import names
from serve.store.link import patience_ms, reaching_redis
from serve.store.scripts import DATA_KEYS, run_each
from serve.store.search.opening import Row, Unopened, opened
from serve.store.vault.keyring import Keyring

OPENED_AT_ONCE = 16  # in the event loop; more are opened in a thread, by so many:
OPENED_TOGETHER = 1_024

Rows = Sequence[tuple[bytes, Mapping[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class RedisFaceLog:
    """The `FaceLog` port. A read that waits holds a connection of its own for as long."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def tails(self) -> dict[int, LogId]:
        """How far the log of every partition reaches now."""
        with reaching_redis():
            found: Any = await self.link.mget([names.faces_tail(p) for p in names.EVERY_PARTITION])
        return {
            partition: START if tail is None else LogId.parse(tail.decode())
            for partition, tail in zip(names.EVERY_PARTITION, found, strict=True)
        }

    async def read(
        self, after: Tails, *, limit: int, wait_ms: int = 0
    ) -> dict[int, tuple[LogId, list[Entry]]]:
        """Entries behind `after`, and how far they reach; see `serve.ports.FaceLog`.

        An entry that does not open, though its customer is there, is counted as refused and left
        out. Raises `keys_mismatch` when the key of an epoch is missing, and `state_unavailable`.
        """
        streams = await self._streams(after, limit, wait_ms)
        rows = [Row(partition, *row) for partition, found in streams.items() for row in found]
        entries = await self._opened(rows)
        read: dict[int, tuple[LogId, list[Entry]]] = {
            partition: (LogId.parse(found[-1][0].decode()), [])
            for partition, found in streams.items()
        }
        for row, entry in zip(rows, entries, strict=True):
            if not isinstance(entry, Unopened):
                read[row.partition][1].append(entry)
        shut = [row for row, entry in zip(rows, entries, strict=True) if entry is Unopened.SHUT]
        if shut:
            await self._refuse(shut)
        return read

    async def _streams(self, after: Tails, limit: int, wait_ms: int) -> dict[int, Rows]:
        """What is new in each partition's stream, on a connection of its own: others' commands
        would wait as well.
        """
        partitions = {names.faces(partition).encode(): partition for partition in after}
        wait = ["BLOCK", min(wait_ms, patience_ms(self.link))] if wait_ms else []
        words: list[Any] = [*wait, "COUNT", limit, "STREAMS", *partitions]
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                pipe.execute_command("XREAD", *words, *map(str, after.values()))
                (found,) = await pipe.execute()
        there = {
            partitions[stream]: [row for row in rows if row[1] is not None]
            for stream, rows in found
        }
        return {partition: rows for partition, rows in there.items() if rows}

    async def _opened(self, rows: Sequence[Row]) -> list[Entry | Unopened]:
        wrapped = await self._data_keys(rows)
        if len(rows) <= OPENED_AT_ONCE:
            return opened(self.keyring, rows, wrapped)
        entries: list[Entry | Unopened] = []
        for start in range(0, len(rows), OPENED_TOGETHER):
            part = rows[start : start + OPENED_TOGETHER]
            entries += await asyncio.to_thread(opened, self.keyring, part, wrapped)
        return entries

    async def _data_keys(self, rows: Sequence[Row]) -> dict[str, bytes | None]:
        """The wrapped data key of everybody who enrolled a face, None where they are gone."""
        subjects: dict[int, dict[str, None]] = {}
        for row in rows:
            if row.enrols:
                subjects.setdefault(row.partition, {})[row.subject_key] = None
        calls: list[tuple[list[str], list[str]]] = [
            ([names.customer_key(partition, key) for key in keys], [])
            for partition, keys in subjects.items()
        ]
        if not calls:
            return {}
        with reaching_redis():
            found = await run_each(self.link, DATA_KEYS, calls)
        return {
            key: wrapped
            for keys, answer in zip(subjects.values(), found, strict=True)
            for key, wrapped in zip(keys, answer, strict=True)
        }

    async def _refuse(self, rows: Sequence[Row]) -> None:
        """Count those of `rows` that are still in the log. The others went with their customer,
        who may have come back since, under another key.
        """
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for row in rows:
                    pipe.xrange(names.faces(row.partition), row.log_id, row.log_id, 1)
                found = await pipe.execute()
        if refused := sum(map(bool, found)):
            metrics.count_refused(refused)
            logs.write("entries of the log of faces do not open", count=refused)
