"""Shards in a test's hands: they hold partitions of one small world, die, and are slow."""

import asyncio
from collections.abc import Callable, Collection, Iterable

import numpy as np

from index.entry import START
from pipeline.evidence import Template
from serve.domain.ids import PARTITIONS, Mode, Subject
from serve.domain.search.gallery import GalleryKind
from serve.inference.search.fanout import ShardLostError, Standing
from serve.ports.search import Asked, FaceHit, Found, ShardStatus

PATIENCE_S = 30.0
TENANT = "ten_a"
EVERYWHERE = frozenset(range(PARTITIONS))


def asked(limit: int = PARTITIONS) -> Asked:
    """A search; what it asks for is up to the shards."""
    template = Template("a model", np.array([1, 0], np.float32))
    return Asked(TENANT, Mode.LIVE, GalleryKind.ENROLLED, template, 0.5, limit, {})


def person(partition: int, native: float | None = None) -> FaceHit:
    """Somebody who lives in a partition: by default in the order of partitions, best first."""
    score = 1 - partition / 100 if native is None else native
    subject = Subject(TENANT, Mode.LIVE, f"{partition:032x}")
    return FaceHit(subject, f"fac_{partition}", score)


EVERYBODY = tuple(person(partition) for partition in range(PARTITIONS))


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 (whatever it hangs on)
            await asyncio.sleep(0)


class ScriptedShard:
    """A shard of a world with one person in each partition, or those given."""

    def __init__(
        self, name: str, held: Collection[int] = (), people: Iterable[FaceHit] = EVERYBODY
    ) -> None:
        self.name = name
        self.held = set(held)
        self.searched: list[frozenset[int]] = []
        self.said: list[str] = []
        self.is_lost = self.is_stuck = False
        self.is_ready = True
        self.refusal: Exception | None = None
        self.searches = 0  # under way
        self.gate = asyncio.Event()  # searches, and holds, pass while it is set
        self.gate.set()
        self._made_with = frozenset(held)
        self._people = tuple(people)

    async def search(self, asked: Asked, partitions: Collection[int]) -> Found:
        self.searched.append(frozenset(partitions))
        self.searches += 1
        try:
            await self._reached()
            if self.refusal is not None:
                raise self.refusal
            there = self.held.intersection(partitions)
            hits = [hit for hit in self._people if hit.subject.partition in there]
            hits.sort(key=lambda hit: (-hit.native, hit.subject.key))
            missing = tuple(sorted(set(partitions) - there))
            return Found(tuple(hits[: asked.limit]), len(hits), missing)
        finally:
            self.searches -= 1

    async def hold(self, partition: int) -> None:
        self.said.append(f"hold {partition}")
        self.held.add(partition)
        await self._reached()

    async def release(self, partition: int) -> None:
        await self._reached()
        self.said.append(f"release {partition}")
        self.held.discard(partition)

    async def standing(self) -> Standing:
        await self._reached()
        if self.refusal is not None:
            raise self.refusal
        applied = dict.fromkeys(self.held, START)
        live = len(applied)
        status = ShardStatus(
            self.name, "host", 1, applied, dict.fromkeys(self.held, 0), live, 0, 0, 1, live,
            is_ready=self.is_ready,
        )  # fmt: skip
        return Standing(status, frozenset(self.held))

    def die(self) -> None:
        """What is under way fails, and what is asked then."""
        self.is_lost = True
        self.gate.set()

    def come_back(self) -> None:
        """As it was made: a restarted actor runs its constructor and nothing else."""
        self.held = set(self._made_with)
        self.is_lost = False

    async def _reached(self) -> None:
        if self.is_stuck:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.is_lost:
            raise ShardLostError(self.name)
