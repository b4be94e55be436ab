"""Threads that search the shard, each with a batch: while all are busy, probes gather.

One scan over a gallery for 64 probes costs little more than for one. No timer holds a probe back:
it is searched for at once where a thread is free, and with all that have gathered where none was.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from index import scan
from index.entry import Gallery, Hit, Vector
from index.errors import VectorError
from index.shard import Shard
from serve.errors import Code, ServeError
from serve.inference.batching import Pace, retry_after_s
from serve.inference.search.lines import Lines
from serve.observe import logs
from serve.observe import search as metrics

BATCH_MAX = 64


class Place(NamedTuple):
    """What is searched: some partitions of a gallery."""

    gallery: Gallery
    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Probe:
    """What is looked for. `vector` is `(D,)` float32 of unit norm."""

    vector: Vector = field(repr=False)
    floor: float
    limit: int
    exclude: str


class Seen(NamedTuple):
    """What a probe met: the hits, best first, and how many faces were looked at."""

    hits: list[Hit]
    size: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    probe: Probe
    answer: "asyncio.Future[Seen]"

    def settle(self, found: Seen | Exception) -> None:
        if self.answer.done():
            return
        if isinstance(found, Exception):
            self.answer.set_exception(found)
        else:
            self.answer.set_result(found)

    def is_wanted(self) -> bool:
        return not self.answer.done()


class Searches:
    """`threads` threads that search whatever `shard` gives when they begin."""

    def __init__(self, shard: Callable[[], Shard], threads: int) -> None:
        self._shard = shard
        self._slots = threads
        self._threads: ThreadPoolExecutor | None = None
        self._lines: Lines[Place, _Waiting] = Lines()
        self._busy: set[asyncio.Future[list[Seen | Exception]]] = set()
        self._is_dispatching = False
        self._pace = Pace()

    async def __aenter__(self) -> Self:
        # faiss's threads are counted for each thread that calls it, and every caller brings its
        # own pool. A scan takes one core; `threads` says how many cores searches may take.
        self._threads = ThreadPoolExecutor(self._slots, "limen-search", scan.use_threads, (1,))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take nothing more and finish what was taken."""
        while self._busy:  # what ends starts the next
            await asyncio.wait(self._busy)
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()

    def retry_after_s(self, waiting: int) -> int:
        """Whole seconds until so many searches are done."""
        return retry_after_s(waiting, self._slots, self._pace.image_s)

    async def search(self, place: Place, probe: Probe) -> Seen:
        """Look for `probe`. Raises `embedding_invalid` for what is no template, and
        `service_unavailable`; a caller that is cancelled takes its probe along.
        """
        if self._threads is None:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "the index is closing", retry_after_s=1)
        waiting = _Waiting(probe, asyncio.get_running_loop().create_future())
        self._lines.add(place, waiting)
        if not self._is_dispatching:  # once everybody who is about to ask has asked
            self._is_dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)
        try:
            return await waiting.answer
        finally:
            waiting.answer.cancel()  # if nobody waits any more

    def _dispatch(self) -> None:
        """Give every free thread the batch whose turn it is."""
        self._is_dispatching = False
        while len(self._busy) < self._slots and self._threads is not None:
            taken = self._lines.take(BATCH_MAX, _Waiting.is_wanted)
            if taken is None:
                return
            place, batch = taken
            probes = [waiting.probe for waiting in batch]
            work = partial(_search_each, self._shard(), place, probes)
            done = asyncio.wrap_future(self._threads.submit(work))
            self._busy.add(done)
            begun_s = asyncio.get_running_loop().time()
            done.add_done_callback(partial(self._settle, batch, begun_s))

    def _settle(
        self,
        batch: Sequence[_Waiting],
        begun_s: float,
        done: "asyncio.Future[list[Seen | Exception]]",
    ) -> None:
        self._busy.discard(done)
        self._dispatch()
        metrics.observe_batch(len(batch))
        self._pace.observe(len(batch), asyncio.get_running_loop().time() - begun_s)
        for waiting, found in zip(batch, done.result(), strict=True):
            waiting.settle(found)


def _search_each(shard: Shard, place: Place, probes: Sequence[Probe]) -> list[Seen | Exception]:
    """What each probe met, on a search thread. Where a batch breaks, it is halved until the probe
    that broke it stands alone.
    """
    try:
        return _search_together(shard, place, probes)
    except Exception as defect:  # noqa: BLE001 (one probe's defect is that probe's)
        if len(probes) == 1:
            return [_refusal(defect)]
    half = len(probes) // 2
    return [
        *_search_each(shard, place, probes[:half]),
        *_search_each(shard, place, probes[half:]),
    ]


def _search_together(shard: Shard, place: Place, probes: Sequence[Probe]) -> list[Seen | Exception]:
    found = shard.search(
        place.gallery,
        np.stack([probe.vector for probe in probes]),
        [probe.floor for probe in probes],
        [probe.limit for probe in probes],
        [probe.exclude for probe in probes],
        place.partitions,
    )
    size = shard.size_of(place.gallery, place.partitions)
    return [Seen(hits, size) for hits in found]


def _refusal(defect: Exception) -> ServeError:
    if isinstance(defect, VectorError):
        return ServeError(Code.EMBEDDING_INVALID, str(defect))
    logs.write_error("a probe broke the index", defect)
    return ServeError(Code.SERVICE_UNAVAILABLE, "the index failed", retry_after_s=1)
