"""A shard that is kept where the log is: replayed from its beginning, then followed.

One thread writes the shard, whatever asks for it. What is new wakes a read that waits in Redis,
so a face is searchable some milliseconds after its commit, and nothing polls. Partitions that are
behind (at the start, or taken over) are replayed in large reads beside the following of the
others; each entry is applied once and in the order of its log, whatever breaks meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from index.entry import START, Entry, LogId
from index.shard import Shard
from serve.errors import Code, ServeError
from serve.inference.search.places import Places
from serve.observe import logs
from serve.observe import search as metrics
from serve.ports.search import FaceLog, Tails

REPLAYED_AT_ONCE = 2_048  # entries of one read of a replay, over all its partitions
FOLLOWED_AT_ONCE = 16  # of each partition, of one read of what is new
WAIT_MS = 1_000
ROUNDS = 3
PAUSE_S = 0.1  # after Redis could not be read
PAUSE_S_MAX = 1.0

Read = Mapping[int, tuple[LogId, list[Entry]]]
Progress = Mapping[int, tuple[LogId, int]]
"""How far each partition was applied, and its digest there."""
T = TypeVar("T")


class Follower:
    """`shard` is searched in any thread; all else belongs to the event loop."""

    def __init__(self, log: FaceLog, partitions: Collection[int]) -> None:
        self._log = log
        self.shard = Shard()
        self.replayed = 0
        self._places = Places()
        self._digests: dict[int, int] = {}
        self._held = dict.fromkeys(partitions, 0)  # and the number of the holding
        self._holdings = 0
        self._followed: set[int] = set()
        self._writer = ThreadPoolExecutor(1, "limen-index")
        self._replaying = asyncio.Lock()
        self._reading: asyncio.Task[Read] | None = None
        self._moved = asyncio.Event()  # what is followed
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._ready = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._begin()), asyncio.create_task(self._follow())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await end(self._tasks)
        self._writer.shutdown()

    @property
    def partitions(self) -> frozenset[int]:
        """Those that are held, however far they have come."""
        return frozenset(self._held)

    @property
    def progress(self) -> Progress:
        """Of each partition that is held."""
        return {each: (at, self._digests[each]) for each, at in self._places.reached.items()}

    @property
    def is_ready(self) -> bool:
        """Whether the first replay is done."""
        ready = self._ready
        return ready is not None and ready.done() and ready.exception() is None

    async def until_ready(self) -> None:
        """Wait for the end of the first replay. Raises what ended it: `keys_mismatch`."""
        assert self._ready is not None, "not entered"
        await asyncio.shield(self._ready)

    async def until(self, after: Tails, partitions: Collection[int], wait_s: float) -> set[int]:
        """Wait until `partitions` have come as far as `after`; those that have not in `wait_s`
        seconds, and at once those that are not held.
        """
        held = self.partitions.intersection(partitions)
        return await self._places.until(after, held, wait_s) | (set(partitions) - held)

    def stays(self, partitions: Collection[int]) -> Callable[[], frozenset[int]]:
        """Which of `partitions` have been held without a break, when asked later."""
        before = {each: self._held.get(each) for each in partitions}
        return lambda: frozenset(
            each for each, holding in before.items()
            if holding is not None and self._held.get(each) == holding
        )  # fmt: skip

    async def hold(self, partition: int) -> None:
        """Hold a partition as well; returns once it has come to where its log ends now."""
        if partition not in self._held:
            self._holdings += 1
            self._held[partition] = self._holdings
        await self._catch_up({partition})

    def release(self, partition: int) -> None:
        """Hold it no longer."""
        self._held.pop(partition, None)
        self._followed.discard(partition)
        self._places.forget(partition)
        self._digests.pop(partition, None)
        self._writer.submit(self.shard.release, partition)

    async def rebuild(self) -> None:
        """Replay all partitions into a new shard, and put it in the place of the old one."""
        async with self._replaying:
            fresh = Shard()
            await self._write(_hold, fresh, list(self._held))
            for _ in range(ROUNDS):  # what came during a long replay is a short one
                await self._replay(fresh, self.partitions)
            followed, self._followed = self._followed, set()
            self._look_anew()  # the old one stands still from here
            try:
                reached = await self._write(_progress, self.shard)  # behind what was under way
                await self._replay(
                    fresh, self.partitions, {p: at for p, (at, _) in reached.items()}
                )
                progress = await self._write(_progress, fresh)
                for partition in fresh.applied.keys() - self._held.keys():
                    self._writer.submit(fresh.release, partition)
                self.shard = fresh
                self._publish(progress)
            finally:
                self._followed = followed & self._held.keys()
                self._look_anew()

    async def _begin(self) -> None:
        assert self._ready is not None
        try:
            await self._catch_up(self.partitions)
        except Exception as error:  # noqa: BLE001 (whoever waits for us is told)
            self._ready.set_exception(error)
        else:
            self._ready.set_result(None)

    async def _catch_up(self, partitions: AbstractSet[int]) -> None:
        """Replay those of `partitions` that are held and not followed yet, then follow them."""
        async with self._replaying:
            new = self._held.keys() & partitions - self._followed
            self._publish(await self._write(_hold, self.shard, list(new)))
            await self._replay(self.shard, new)
            self._followed |= new & self._held.keys()
            self._look_anew()

    async def _replay(
        self, shard: Shard, partitions: AbstractSet[int], goal: Tails | None = None
    ) -> None:
        """Until `shard` is where the log of `partitions` ends now, or at `goal`; those that are
        released meanwhile are left out.
        """
        ends = await self._patiently(self._log.tails) if goal is None else goal
        applied = shard.applied
        places = {each: applied[each] for each in partitions & applied.keys()}
        ahead = self._read_ahead(places, ends)
        try:
            while ahead is not None:
                behind, found = await ahead
                places |= {each: place for each, (place, _) in found.items()}
                ahead = self._read_ahead(places, ends)  # while this is applied
                await self._apply(shard, behind, found)
        finally:
            if ahead is not None:
                ahead.cancel()

    def _read_ahead(self, places: Tails, ends: Tails) -> "asyncio.Task[tuple[Tails, Read]] | None":
        """The next of a replay, on its way; None at its end."""
        behind = {
            each: place
            for each, place in places.items()
            if each in self._held and place < ends.get(each, START)
        }
        return asyncio.create_task(self._read_behind(behind, ends)) if behind else None

    async def _read_behind(self, behind: Tails, ends: Tails) -> tuple[Tails, Read]:
        limit = max(1, REPLAYED_AT_ONCE // len(behind))
        found = await self._patiently(partial(self._log.read, behind, limit=limit))
        # Where nothing is left of what the log held, there is nothing more to come to.
        rest = {each: (ends[each], list[Entry]()) for each in behind if each not in found}
        return behind, {**found, **rest}

    async def _follow(self) -> None:
        """Apply what is new, until cancelled."""
        task = asyncio.current_task()
        assert task is not None
        while not task.cancelling():  # a read may end well although it was told to stop
            self._moved.clear()
            places = self._places.reached
            behind = {each: places[each] for each in self._followed}
            if not behind:
                await self._moved.wait()
                continue
            read = partial(self._log.read, behind, limit=FOLLOWED_AT_ONCE, wait_ms=WAIT_MS)
            self._reading = asyncio.ensure_future(self._patiently(read))
            try:
                found = await self._reading
                await self._apply(self.shard, behind, found)
            except asyncio.CancelledError:
                if task.cancelling():
                    raise
                # Not we: other partitions are followed from now on.
            except Exception as error:  # noqa: BLE001 (searches miss what cannot be followed)
                logs.write_error("the log of faces cannot be followed", error)
                await asyncio.sleep(PAUSE_S_MAX)

    def _look_anew(self) -> None:
        """Read what is followed now, and no longer what was."""
        self._moved.set()
        if self._reading is not None:
            self._reading.cancel()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the log answers, however long Redis is away. Raises what waiting cannot mend."""
        pause_s = PAUSE_S
        while True:
            try:
                return await ask()
            except ServeError as error:
                if error.code is not Code.STATE_UNAVAILABLE:
                    raise
                if pause_s == PAUSE_S:
                    logs.write("the log of faces is out of reach")
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_S_MAX, 2 * pause_s)

    async def _apply(self, shard: Shard, behind: Tails, found: Read) -> None:
        """Write what was read behind `behind`, and wake who waited for it."""
        refused = shard.refused
        standing = self.stays(behind)
        progress = await self._write(_apply, shard, behind, found)
        metrics.count_refused(shard.refused - refused)
        self.replayed += sum(len(entries) for _, entries in found.values())
        if shard is self.shard:
            stayed = standing()
            self._publish({p: progress[p] for p in progress if p in stayed})

    def _publish(self, progress: Progress) -> None:
        """So far searches may count on the shard, in partitions that are held."""
        for partition in progress.keys() & self._held.keys():
            place, self._digests[partition] = progress[partition]
            self._places.advance(partition, place)

    async def _write(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, work, *arguments)


async def end(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until they have ended. Once may not be enough: redis-py, under way to a
    connection, can swallow a cancellation.
    """
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=PAUSE_S)


def _hold(shard: Shard, partitions: Collection[int]) -> Progress:
    """Begin to hold, on the writer's thread."""
    for partition in partitions:
        shard.hold(partition)
    return _of(shard, partitions)


def _apply(shard: Shard, behind: Tails, found: Read) -> Progress:
    """Take in what was read, on the writer's thread. A partition that is no longer where it was
    when the read began was released since: it begins anew.
    """
    applied = shard.applied
    taken = [each for each in found if applied.get(each) == behind[each]]
    for partition in taken:
        shard.apply(partition, *found[partition])
    return _of(shard, taken)


def _progress(shard: Shard) -> Progress:
    return _of(shard, shard.applied)


def _of(shard: Shard, partitions: Collection[int]) -> Progress:
    applied = shard.applied
    return {each: (applied[each], shard.digest(each)) for each in partitions if each in applied}
