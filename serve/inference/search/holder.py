"""One process's part of the index: a shard that follows the log, and the searches in it."""

import asyncio
import os
import socket
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from serve.domain.search.gallery import GalleryKind
from serve.errors import Code, ServeError
from serve.inference.search.follower import Follower
from serve.inference.search.galleries import excluded, face_hit, gallery_of
from serve.inference.search.searches import Place, Probe, Searches
from serve.observe import search as metrics
from serve.ports.search import Asked, FaceLog, Found, ShardStatus


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a search waits for the log, how many searches wait in all, and how many run."""

    wait_s: float
    queue_max: int
    threads: int


class Holder:
    """Some partitions of the index; lives as long as its `async with`."""

    def __init__(
        self, log: FaceLog, name: str, partitions: Collection[int], limits: Limits
    ) -> None:
        self.name = name
        self._limits = limits
        self._follower = Follower(log, partitions)
        self._searches = Searches(lambda: self._follower.shard, limits.threads)
        self._asked = 0
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begins to follow the log, from its beginning."""
        await self._held.enter_async_context(self._follower)
        await self._held.enter_async_context(self._searches)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._held.aclose()

    @property
    def partitions(self) -> frozenset[int]:
        """Those it holds, or is about to."""
        return self._follower.partitions

    async def until_ready(self) -> None:
        """Wait until it has come to where the log ended when it began. Raises what makes the log
        unreadable for good: `keys_mismatch`.
        """
        await self._follower.until_ready()

    async def hold(self, partition: int) -> None:
        """Hold another partition; returns once it has come to where its log ended at the call.

        Searches wait for it from the call on.
        """
        await self._follower.hold(partition)

    def release(self, partition: int) -> None:
        """Hold a partition no longer: it is missing from now on."""
        self._follower.release(partition)

    async def rebuild(self) -> None:
        """Follow the log from its beginning into a new shard, and then search that one. Until
        then searches are answered by the old one, and memory holds both.
        """
        await self._follower.rebuild()

    def status(self) -> ShardStatus:
        """What it tells of itself; each partition's place and digest belong together."""
        follower = self._follower
        shard, progress = follower.shard, follower.progress
        return ShardStatus(
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            applied={each: place for each, (place, _) in progress.items()},
            digests={each: digest for each, (_, digest) in progress.items()},
            live=shard.live,
            dead=shard.dead,
            size_bytes=shard.size_bytes,
            galleries=shard.galleries,
            replayed=follower.replayed,
            is_ready=follower.is_ready,
        )

    def measure(self) -> None:
        """Put what it holds into the metrics of this process."""
        shard = self._follower.shard
        live = dict.fromkeys(GalleryKind, 0) | shard.by_kind
        metrics.set_rows(live, shard.dead, shard.size_bytes)

    async def search(self, asked: Asked, partitions: Collection[int] | None = None) -> Found:
        """Look for a face in `partitions`, None for all it holds, once they have come as far as
        `asked.after`. Those that are late, or not held, are missing.

        Raises `overloaded` when too many searches wait, `embedding_invalid` for what is no
        template, and `service_unavailable`.
        """
        if self._asked >= self._limits.queue_max:
            raise ServeError(
                Code.OVERLOADED,
                f"{self._asked} searches are waiting",
                retry_after_s=self._searches.retry_after_s(self._asked),
            )
        clock_s = asyncio.get_running_loop().time
        begun_s = clock_s()
        self._asked += 1
        try:
            wanted = self.partitions if partitions is None else frozenset(partitions)
            late = await self._follower.until(asked.after, wanted, self._limits.wait_s)
            metrics.observe_lag(clock_s() - begun_s)
            found = await self._search(asked, wanted, wanted - late)
        finally:
            self._asked -= 1
        metrics.observe_search(clock_s() - begun_s, is_complete=found.is_complete)
        return found

    async def _search(
        self, asked: Asked, wanted: frozenset[int], answering: frozenset[int]
    ) -> Found:
        """The search proper, in the partitions that have come so far."""
        if not answering:
            return Found((), 0, tuple(sorted(wanted)), (self.name,) if wanted else ())
        stays = self._follower.stays(answering)
        gallery = gallery_of(asked)
        probe = Probe(asked.template.vector, asked.floor, asked.limit, excluded(asked))
        seen = await self._searches.search(Place(gallery, answering), probe)
        hits, size = seen.hits, seen.size
        if gone := answering - stays():  # released while it was searched
            hits = [hit for hit in hits if hit.partition not in gone]
            size = self._follower.shard.size_of(gallery, answering - gone)
        missing = tuple(sorted(wanted - answering | gone))
        found = tuple(face_hit(asked, hit) for hit in hits)
        return Found(found, size, missing, (self.name,) if missing else ())
