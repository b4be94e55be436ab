"""One search over many shards: each is asked for exactly its partitions, and what they find is
put together. Whoever does not answer is named, and with them every partition not looked at.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from serve.domain.ids import PARTITIONS
from serve.inference.search.placement import NOBODY, Table
from serve.observe import logs
from serve.ports.search import Asked, Found, ShardStatus

MARGIN_S = 1.0
"""What a search may take beyond its wait for the log."""


class ShardLostError(Exception):
    """The shard cannot be asked now: it is dead, being started again, or cut off."""


class Standing(NamedTuple):
    """What a shard tells of itself, and the partitions it holds, however far it has come."""

    status: ShardStatus
    held: frozenset[int]


class Shard(Protocol):
    """Some partitions of the index, somewhere. Every question may raise ShardLostError."""

    @property
    def name(self) -> str:
        """Unique among the shards of this engine."""
        ...

    async def search(self, asked: Asked, partitions: Collection[int]) -> Found:
        """Look in these partitions; those that it does not hold, or that are late, are missing.

        Raises what a `FaceIndex` raises.
        """
        ...

    async def hold(self, partition: int) -> None:
        """Hold a partition; returns when it has come to where its log ended at the call."""
        ...

    async def release(self, partition: int) -> None:
        """Hold it no longer."""
        ...

    async def standing(self) -> Standing:
        """How it is. Raises what keeps it from reading the log of faces, as `keys_mismatch`."""
        ...


class _Part(NamedTuple):
    """What was found in the places that were looked at."""

    places: frozenset[int]
    found: Found


@dataclass(slots=True)
class _Period:
    """The time of one table, which lasts until the last search that began in it has ended."""

    table: Table
    places: Mapping[str, frozenset[int]]
    searches: int = 0
    is_over: bool = False
    unused: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self) -> None:
        """Whether this was the last search, after the last day."""
        if self.is_over and not self.searches:
            self.unused.set()


class FanOut:
    """`serve.ports.search.FaceIndex`'s `search` over shards. All belongs to one event loop."""

    def __init__(self, wait_s: float) -> None:
        """`wait_s` is how long a shard waits for the log."""
        self._deadline_s = wait_s + MARGIN_S
        self._shards: dict[str, Shard] = {}
        self._period = _Period(Table(), {})
        self._down: set[str] = set()

    @property
    def table(self) -> Table:
        """Which shard is asked for what, from now on."""
        return self._period.table

    @property
    def shards(self) -> Mapping[str, Shard]:
        """Those that can be asked, by name."""
        return self._shards

    def add(self, shard: Shard) -> None:
        """A shard that the next table may name."""
        self._shards[shard.name] = shard

    def remove(self, name: str) -> Shard:
        """It is asked no more."""
        self._down.discard(name)
        return self._shards.pop(name)

    def set_down(self, name: str, *, is_down: bool) -> None:
        """Whether a shard is known not to answer: then nobody waits for it to be lost again."""
        if is_down == (name in self._down):
            return
        if is_down:
            self._down.add(name)
        else:
            self._down.discard(name)
        logs.write("shard lost" if is_down else "shard back", process=name)

    async def replace(self, table: Table) -> None:
        """Ask by another table from now on; returns when no search goes by the one before."""
        before, self._period = self._period, _Period(table, table.by_shard())
        before.is_over = True
        before.look()
        await before.unused.wait()

    async def search(self, asked: Asked) -> Found:
        """See `serve.ports.search.FaceIndex`. A partition that moved while it was looked for is
        looked for once more, where it is now.
        """
        deadline_s = asyncio.get_running_loop().time() + self._deadline_s
        with self._now() as (table, places):
            parts = await self._everywhere(asked, places, deadline_s)
        with self._now() as (later, places):
            moved = {
                place for place in _missing(parts) if later.owners[place] != table.owners[place]
            }
            if moved:
                again = {name: held & moved for name, held in places.items()}
                parts += await self._everywhere(asked, again, deadline_s)
            return _whole(asked, later, parts)

    @contextmanager
    def _now(self) -> Iterator[tuple[Table, Mapping[str, frozenset[int]]]]:
        """The table of this instant, and by shard; others wait for it until the block ends."""
        period = self._period
        period.searches += 1
        try:
            yield period.table, period.places
        finally:
            period.searches -= 1
            period.look()

    async def _everywhere(
        self, asked: Asked, places: Mapping[str, frozenset[int]], deadline_s: float
    ) -> list[_Part]:
        """Ask each shard for its places, all at once."""
        try:
            async with asyncio.TaskGroup() as asking:
                tasks = [
                    asking.create_task(self._ask(asked, name, held, deadline_s))
                    for name, held in places.items()
                    if held
                ]
        except ExceptionGroup as refusals:
            raise refusals.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask(
        self, asked: Asked, name: str, places: frozenset[int], deadline_s: float
    ) -> _Part:
        """What one shard finds in its places; nothing where it does not answer in time."""
        nothing = _Part(frozenset(), Found((), 0))
        shard = self._shards.get(name)
        if shard is None or name in self._down:
            return nothing
        try:
            async with asyncio.timeout_at(deadline_s):
                found = await shard.search(asked, places)
        except TimeoutError:
            return nothing
        except ShardLostError:
            self.set_down(name, is_down=True)
            return nothing
        return _Part(places.difference(found.missing), found)


def _missing(parts: Iterable[_Part]) -> frozenset[int]:
    """Where nobody looked."""
    return frozenset(range(PARTITIONS)).difference(*(part.places for part in parts))


def _whole(asked: Asked, table: Table, parts: Sequence[_Part]) -> Found:
    """One answer. An owner lives in one partition, so nobody is in two parts."""
    hits = sorted(
        (hit for part in parts for hit in part.found.hits),
        key=lambda hit: (-hit.native, hit.subject.key),
    )
    missing = sorted(_missing(parts))
    lost = {table.owners[place] for place in missing} - {NOBODY}
    size = sum(part.found.gallery_size for part in parts)
    return Found(tuple(hits[: asked.limit]), size, tuple(missing), tuple(sorted(lost)))
