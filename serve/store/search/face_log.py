"""The log of faces as the index reads it: every partition's stream, decrypted on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from index.entry import START, Entry, LogId
from serve.ports.search import Tails
from serve.store import names
from serve.store.link import patience_ms, reaching_redis
from serve.store.search.opening import Row, Unopened
from serve.store.search.rows import entries_of
from serve.store.vault.keyring import Keyring

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
        entries = await entries_of(self.link, self.keyring, rows)
        read: dict[int, tuple[LogId, list[Entry]]] = {
            partition: (LogId.parse(found[-1][0].decode()), [])
            for partition, found in streams.items()
        }
        for row, entry in zip(rows, entries, strict=True):
            if not isinstance(entry, Unopened):
                read[row.partition][1].append(entry)
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
