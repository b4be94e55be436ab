"""Probes gather while all search threads are busy, gallery by gallery, and go as one batch."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from index.entry import Gallery, Hit, Vectors
from index.errors import Code, VectorError
from index.shard import Shard
from serve.errors import ServeError
from serve.inference.search.lines import Lines
from serve.inference.search.searches import BATCH_MAX, Place, Probe, Searches

PATIENCE_S = 30.0
FIRST, SECOND = (Gallery(world, "enrolled", "m") for world in ("ten_a:live", "ten_b:live"))
HERE = frozenset({0})
BAD = 13.0  # a floor that the slow shard refuses


class SlowShard(Shard):
    """A shard whose searches pass a gate; each batch is noted with its gallery."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[str, int]] = []
        self.gate = threading.Event()

    def search(  # noqa: PLR0913, PLR0917 (as in its parent)
        self,
        gallery: Gallery,
        probes: Vectors,
        floors: Sequence[float],
        limits: Sequence[int],
        excludes: Sequence[str],
        partitions: frozenset[int] | None = None,
    ) -> list[list[Hit]]:
        self.batches.append((gallery.world, len(probes)))
        assert self.gate.wait(PATIENCE_S)
        if BAD in floors:
            raise VectorError(Code.NOT_UNIT, "a bad one")
        owner = f"{gallery.world}:{len(limits)}"
        return [[Hit(str(limit), owner, 0, 1.0)] for limit in limits]


def a_probe(number: int, floor: float = 0.5) -> Probe:
    return Probe(np.array([1, 0], np.float32), floor, number, "")


async def begun(shard: SlowShard, batches: int) -> None:
    """Wait until so many batches were taken."""
    async with asyncio.timeout(PATIENCE_S):
        while len(shard.batches) < batches:  # noqa: ASYNC110 (threads)
            await asyncio.sleep(0.001)


def asking(searches: Searches, number: int, gallery: Gallery = FIRST) -> "asyncio.Task[Any]":
    return asyncio.create_task(searches.search(Place(gallery, HERE), a_probe(number)))


async def test_what_gathers_while_a_thread_is_busy_goes_as_one_batch() -> None:
    """One probe is searched for at once; the 64 that come meanwhile are one more scan, and each
    gets its own answer.
    """
    shard = SlowShard()
    async with Searches(lambda: shard, 1) as searches:
        first = asking(searches, 0)
        await begun(shard, 1)
        others = [asking(searches, number) for number in range(1, BATCH_MAX + 1)]
        await asyncio.sleep(0)
        shard.gate.set()
        found = await asyncio.gather(first, *others)
    assert [seen.hits[0].face for seen in found] == [str(n) for n in range(BATCH_MAX + 1)]
    assert shard.batches == [("ten_a:live", 1), ("ten_a:live", BATCH_MAX)]


async def test_galleries_take_turns_and_are_never_mixed() -> None:
    """A gallery with many probes keeps another waiting for one batch; no batch holds two."""
    shard = SlowShard()
    async with Searches(lambda: shard, 1) as searches:
        tasks = [asking(searches, 0)]
        await begun(shard, 1)
        tasks += [asking(searches, number) for number in range(2 * BATCH_MAX)]
        tasks += [asking(searches, number, SECOND) for number in range(3)]
        await asyncio.sleep(0)
        shard.gate.set()
        found = await asyncio.gather(*tasks)
    assert shard.batches[1:] == [
        ("ten_a:live", BATCH_MAX), ("ten_b:live", 3), ("ten_a:live", BATCH_MAX),
    ]  # fmt: skip
    assert {seen.hits[0].owner for seen in found[-3:]} == {"ten_b:live:3"}


async def test_who_is_cancelled_takes_their_probe_along() -> None:
    """Nobody is searched for in vain: of ten that wait nine are left when one goes."""
    shard = SlowShard()
    async with Searches(lambda: shard, 1) as searches:
        first = asking(searches, 0)
        await begun(shard, 1)
        others = [asking(searches, number) for number in range(10)]
        await asyncio.sleep(0)
        others[4].cancel()
        await asyncio.sleep(0)
        shard.gate.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
    assert shard.batches[1:] == [("ten_a:live", 9)]
    assert [isinstance(seen, BaseException) for seen in found].count(True) == 1


async def test_one_bad_probe_spoils_no_other() -> None:
    """Of a batch with one that is no template, the others are answered."""
    shard = SlowShard()
    shard.gate.set()
    async with Searches(lambda: shard, 1) as searches:
        probes = [a_probe(number, BAD if number == 5 else 0.5) for number in range(9)]
        asked = [searches.search(Place(FIRST, HERE), probe) for probe in probes]
        found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [number for number, seen in enumerate(found) if isinstance(seen, ServeError)]
    assert refused == [5]
    with pytest.raises(ServeError, match="embedding_invalid"):
        raise found[5]  # type: ignore[misc]


def test_lines_drop_what_nobody_wants() -> None:
    """What is not wanted any more is neither taken nor kept, and counts for no batch."""
    lines: Lines[str, int] = Lines()
    for number in range(6):
        lines.add("even" if number % 2 == 0 else "odd", number)
    assert lines.take(2, lambda number: number > 1) == ("even", [2, 4])
    assert lines.take(2, lambda number: number > 1) == ("odd", [3, 5])
    assert lines.take(2, lambda number: True) is None
    assert len(lines) == 0
