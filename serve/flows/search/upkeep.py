"""Looking after the index: who holds it, whether it says what the log says, and having it rebuilt.

The log of faces is the record. What is compared: where each log ends with where it says that it
ends, the faces in it with those of every customer's document, and what it amounts to with what
each holder of the index says at the same place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from index.entry import START, Enrolled, Entry, LogId
from index.shard import Shard
from serve.deps import Deps
from serve.domain.change import Snapshot
from serve.domain.ids import PARTITIONS, Subject
from serve.ports.search import ShardStatus, Tails

READ_AT_ONCE = 2_048
CUSTOMERS_AT_ONCE = 64
LOOKS_MAX = 8
LOOK_S = 0.25  # between two looks at the board

Progress = Callable[[int], None]
"""Told how many partitions are done."""


class Fault(StrEnum):
    """What can be wrong with a partition."""

    TAIL = "tail"  # the log ends elsewhere than it says
    MISSING = "missing"  # a customer's face is not in the log
    UNKNOWN = "unknown"  # a face in the log is no customer's
    DIGEST = "digest"  # a holder has other faces than the log
    BEHIND = "behind"  # a holder did not come to where the log ends


@dataclass(frozen=True, slots=True)
class Difference:
    """One fault of one partition: how many faces it concerns, or which holder."""

    partition: int
    fault: Fault
    faces: int = 0
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a comparison found. `holders` maps each to how many partitions of it were compared."""

    faces: int
    customers: int
    holders: Mapping[str, int]
    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class Held:
    """A holder as it told of itself last, and how far behind the log that was.

    `behind_ms` spans from its place to the end of the log of the partition that it is behind in
    most; None where it has not begun to follow one that holds something.
    """

    status: ShardStatus
    behind: int
    behind_ms: int | None


async def holders(deps: Deps) -> list[Held]:
    """Who holds the index, by name."""
    statuses = await deps.shard_board.statuses()
    tails = await deps.face_log.tails()
    return [_held(status, tails) for status in sorted(statuses, key=lambda each: each.name)]


def _held(status: ShardStatus, tails: Tails) -> Held:
    late = {p: at for p, at in status.applied.items() if at < tails.get(p, START)}
    spans = [tails[p].ms - at.ms for p, at in late.items() if at != START]
    is_unknown = len(spans) < len(late)
    return Held(status, len(late), None if is_unknown else max(spans, default=0))


async def ask_rebuild(deps: Deps) -> tuple[int, frozenset[str]]:
    """Ask every holder to replay the log into a new shard: the number of this wish, and who is
    there to hear it.
    """
    wish = await deps.shard_board.ask_rebuild()
    return wish, frozenset(each.name for each in await deps.shard_board.statuses())


async def rebuilt(deps: Deps, wish: int, names: frozenset[str]) -> AsyncIterator[frozenset[str]]:
    """Those of `names` that still have to rebuild, look by look until there are none; one that is
    not there any more has nothing to rebuild.
    """
    while True:
        statuses = await deps.shard_board.statuses()
        waiting = frozenset(each.name for each in statuses if each.wish < wish) & names
        yield waiting
        if not waiting:
            return
        await asyncio.sleep(LOOK_S)


async def verify(deps: Deps, wait_s: float, progress: Progress) -> Verified:
    """Replay the log into a shard of this process, and compare; holders are waited for at most
    `wait_s` seconds. What changes meanwhile is followed, and is no difference.
    """
    replay = _Replay(deps)
    found: list[Difference] = []
    faces = customers = 0
    for partition in range(PARTITIONS):
        said, end = await deps.face_census.end(partition)
        log = await replay.begin(partition, end)
        if said != end:
            found.append(Difference(partition, Fault.TAIL))
        people = _Customers(deps, replay, log)
        found += await people.compare()
        faces += sum(map(len, log.faces.values()))
        customers += len(people.seen)
        progress(partition + 1)
    told = await _compare_holders(deps, replay, wait_s)
    return Verified(faces, customers, told.compared(), [*found, *told.differences()])


@dataclass(slots=True)
class _Log:
    """What the log of a partition amounts to: every owner's faces."""

    partition: int
    faces: dict[str, set[str]] = field(default_factory=dict)

    def take(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Enrolled):
                self.faces.setdefault(entry.owner, set()).add(entry.face)
            else:
                self.faces.pop(entry.owner, None)

    def of(self, subject: Subject) -> set[str]:
        return self.faces.get(subject.locator, set())


class _Replay:
    """A shard of our own. `digests` are those at every place it came through after its first
    replay: a holder is compared where it stood when it told of itself.
    """

    def __init__(self, deps: Deps) -> None:
        self.shard = Shard()
        self.digests: dict[int, dict[LogId, int]] = {}
        self._log = deps.face_log

    async def begin(self, partition: int, end: LogId) -> _Log:
        """The whole log of a partition, which reached to `end` before."""
        self.shard.hold(partition)
        log = _Log(partition)
        await self.follow(log)
        self.shard.apply(partition, end, [])  # of its last entries there may be nothing left
        return log

    async def follow(self, log: _Log) -> None:
        """Take in what has come since."""
        place = self.shard.applied[log.partition]
        while read := await self._log.read({log.partition: place}, limit=READ_AT_ONCE):
            place, entries = read[log.partition]
            await asyncio.to_thread(self.shard.apply, log.partition, place, entries)
            log.take(entries)

    async def catch_up(self) -> None:
        """Take in what has come since, in every partition."""
        places = self.shard.applied
        for partition, place in places.items():
            self._note(partition, place)
        while read := await self._log.read(places, limit=READ_AT_ONCE):
            for partition, (place, entries) in read.items():
                for entry in entries:
                    self.shard.apply(partition, entry.log_id, [entry])
                    self._note(partition, entry.log_id)
                self.shard.apply(partition, place, [])
                self._note(partition, place)
                places[partition] = place

    def _note(self, partition: int, place: LogId) -> None:
        self.digests.setdefault(partition, {})[place] = self.shard.digest(partition)


@dataclass(slots=True)
class _Customers:
    """The faces of a partition's log beside those of its customers' documents."""

    deps: Deps
    replay: _Replay
    log: _Log
    seen: set[Subject] = field(default_factory=set)
    missing: int = 0
    unknown: int = 0

    async def compare(self) -> list[Difference]:
        """Both ways."""
        batch: list[Subject] = []
        async for subject in self.deps.face_census.customers(self.log.partition):
            if subject not in self.seen:
                self.seen.add(subject)
                batch.append(subject)
            if len(batch) == CUSTOMERS_AT_ONCE:
                await self._compare(batch)
                batch.clear()
        await self._compare(batch)
        listed = {subject.locator for subject in self.seen}
        await self._compare([Subject.located(owner) for owner in self.log.faces.keys() - listed])
        counts = {Fault.MISSING: self.missing, Fault.UNKNOWN: self.unknown}
        return [
            Difference(self.log.partition, fault, count) for fault, count in counts.items() if count
        ]

    async def _compare(self, subjects: Sequence[Subject]) -> None:
        found = await asyncio.gather(*map(self.deps.ledger.snapshot, subjects))
        for snapshot in found:
            if _faces(snapshot) != self.log.of(snapshot.subject):
                await self._settle(snapshot)

    async def _settle(self, snapshot: Snapshot) -> None:
        """Count the difference if there is one while the customer's records stand still."""
        for _ in range(LOOKS_MAX):
            await self.replay.follow(self.log)
            again = await self.deps.ledger.snapshot(snapshot.subject)
            if again.version == snapshot.version:
                break
            snapshot = again
        logged, kept = self.log.of(snapshot.subject), _faces(snapshot)
        self.missing += len(kept - logged)
        self.unknown += len(logged - kept)


def _faces(snapshot: Snapshot) -> set[str]:
    customer = snapshot.customer
    return set() if customer is None else {item.face_id for item in customer.references}


class _Holders:
    """What each holder says of each partition beside what the log comes to at the same place."""

    def __init__(self, replay: _Replay) -> None:
        self._replay = replay
        self._agreed: dict[str, set[int]] = {}
        self._differing: dict[str, set[int]] = {}
        self._open: dict[str, set[int]] = {}

    def look(self, statuses: Sequence[ShardStatus]) -> bool:
        """Compare what can be compared. Whether nothing is left to wait for."""
        self._open = {}
        ends = self._replay.shard.applied
        for status in statuses:
            agreed = self._agreed.setdefault(status.name, set())
            differing = self._differing.setdefault(status.name, set())
            waiting = self._open.setdefault(status.name, set())
            for partition, place in status.applied.items():
                known = self._replay.digests[partition].get(place)
                if known is None:
                    waiting.add(partition)
                elif known == status.digests.get(partition, 0):
                    agreed.add(partition)
                else:
                    differing.add(partition)
                    # Further back a face may have gone that the holder still had: look again.
                    if place != ends[partition]:
                        waiting.add(partition)
            waiting -= agreed
        return not any(self._open.values())

    def differences(self) -> list[Difference]:
        """What the looks have come to."""
        found = []
        for name, waiting in sorted(self._open.items()):
            differing = self._differing[name] - self._agreed[name]
            found += [Difference(each, Fault.DIGEST, holder=name) for each in sorted(differing)]
            behind = sorted(waiting - differing)
            found += [Difference(each, Fault.BEHIND, holder=name) for each in behind]
        return found

    def compared(self) -> dict[str, int]:
        """How many partitions of each holder."""
        return {name: len(self._agreed[name] | self._differing[name]) for name in self._open}


async def _compare_holders(deps: Deps, replay: _Replay, wait_s: float) -> _Holders:
    told = _Holders(replay)
    clock_s = asyncio.get_running_loop().time
    until_s = clock_s() + wait_s
    while True:
        await replay.catch_up()
        if told.look(await deps.shard_board.statuses()) or clock_s() >= until_s:
            return told
        await asyncio.sleep(LOOK_S)
