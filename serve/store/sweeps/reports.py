"""What a sweep came to, in pages: pairs, those below the threshold, rings and its calibration.

Pages are put down by whoever holds the sweep, and count once it is done. A page is rewritten when
somebody in it has gone, and the places of all others stay what they were.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from redis.asyncio import Redis

from index.rings.edges import Ring
from serve.domain.sweeps.calibration import Calibration
from serve.domain.sweeps.gone import ring_without
from serve.domain.sweeps.sweep import PAIRS_MAX, FacePair, SweepStatus
from serve.errors import Code, ServeError
from serve.ports import Hold, Page, SweepReport
from serve.store.link import reaching_redis
from serve.store.listings import read_cursor, write_cursor
from serve.store.scripts import Argument, run
from serve.store.sweeps.packing import (
    Numbered,
    pack_pairs,
    pack_rings,
    unpack_pairs,
    unpack_rings,
)
from serve.store.sweeps.records import Kept, key_of, read_one
from serve.store.sweeps.scripts import PUT, SWAP_FIELD
from serve.store.vault.keyring import Keyring

PAGE_PAIRS = 1_000  # some 75 KB
PAGE_RINGS = 100
TAIL_MAX = 2 * PAIRS_MAX
PAGES_TOGETHER = 8
TRIES_MAX = 8  # of a page that somebody else rewrites at the same time

Item = TypeVar("Item")
Sealed = tuple[str, bytes]  # a page's field, and what it holds


@dataclass(frozen=True, slots=True)
class Reports:
    """What `RedisSweeps` has of reports."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def write(self, kept: Kept, hold: Hold, report: SweepReport) -> bool:
        """Put a report down; False when the hold was lost. Raises ValueError for one that is too
        long.
        """
        if len(report.pairs) > PAIRS_MAX or len(report.tail) > TAIL_MAX:
            raise ValueError(f"{len(report.pairs)} pairs, and {len(report.tail)} below")
        pages = _pages(kept, report)
        is_first = True
        while found := await asyncio.to_thread(lambda: list(islice(pages, PAGES_TOGETHER))):
            fields: list[Argument] = [word for page in found for word in page]
            keys = [key_of(hold.sweep_id), key_of(hold.sweep_id, "report")]
            arguments = ["hold", hold.fence, "1" if is_first else "", *fields]
            with reaching_redis():
                done, _ = await run(self.link, PUT, keys, arguments)
            if not done:
                return False
            is_first = False
        return True

    async def pairs(self, sweep_id: str, cursor: str, limit: int) -> Page[FacePair]:
        """At or above the threshold, best first. Raises `cursor_invalid`."""
        start = _start(sweep_id, cursor)
        limit = max(1, min(limit, PAGE_PAIRS))
        kept, pages = await self._found(sweep_id)
        if kept is None:
            return Page((), "")
        found: list[Numbered] = []
        for number in range(start // PAGE_PAIRS, pages.get("pairs", 0)):
            page = await self._read(kept, [f"pairs:{number}"], unpack_pairs)
            found += [each for each in page if each[0] >= start]
            if len(found) > limit:
                break
        following = write_cursor(found[limit][0], sweep_id) if len(found) > limit else ""
        return Page(tuple(pair for _, pair in found[:limit]), following)

    async def edges(self, sweep_id: str) -> tuple[list[FacePair], list[FacePair]]:
        """All at or above the threshold, and all known below it."""
        pairs = await self._all(sweep_id, "pairs", unpack_pairs)
        tail = await self._all(sweep_id, "tail", unpack_pairs)
        return [pair for _, pair in pairs], [pair for _, pair in tail]

    async def rings(self, sweep_id: str) -> list[Ring]:
        """Its rings, largest first."""
        return await self._all(sweep_id, "rings", unpack_rings)

    async def calibration(self, sweep_id: str) -> Calibration | None:
        """What it showed of chance, if it did."""
        found = await self._all(sweep_id, "calibration", _calibration)
        return found[0] if found else None

    async def forget(self, sweep_id: str, gone: frozenset[str]) -> int:
        """Take these subject keys out of every page; how many pairs went."""
        kept, pages = await self._found(sweep_id)
        if kept is None or not gone:
            return 0
        went = 0
        for kind, without in (("pairs", _pairs_without), ("tail", _pairs_without),
                              ("rings", _rings_without)):  # fmt: skip
            for number in range(pages.get(kind, 0)):
                went += await self._rewrite(kept, f"{kind}:{number}", partial(without, gone=gone))
        return went

    async def _rewrite(
        self, kept: Kept, page: str, without: Callable[[bytes], tuple[bytes | None, int]]
    ) -> int:
        """One page; how many pairs went out of it. Raises `state_unavailable` when others rewrite
        it all the time.
        """
        key = key_of(kept.sweep.id, "report")
        for _ in range(TRIES_MAX):
            with reaching_redis():
                old: Any = await self.link.hget(key, page)
            if old is None:
                return 0
            plain = await asyncio.to_thread(kept.unseal, old, page)
            changed, went = await asyncio.to_thread(without, plain)
            if changed is None:
                return 0
            with reaching_redis():
                arguments = [page, old, kept.seal(changed, page)]
                done, _ = await run(self.link, SWAP_FIELD, [key], arguments)
            if done:
                return went
        raise ServeError(Code.STATE_UNAVAILABLE, "a page is rewritten by others", retry_after_s=1)

    async def _found(self, sweep_id: str) -> tuple[Kept | None, dict[str, int]]:
        """A sweep that is done, and how many pages there are of each kind."""
        kept = await read_one(self.link, self.keyring, sweep_id)
        if kept is None or kept.sweep.status is not SweepStatus.DONE:
            return None, {}
        found = await self._read(kept, ["meta"], _meta)
        return kept, dict(found)

    async def _all(
        self, sweep_id: str, kind: str, unpack: Callable[[bytes], Sequence[Item]]
    ) -> list[Item]:
        kept, pages = await self._found(sweep_id)
        if kept is None:
            return []
        wanted = [f"{kind}:{number}" for number in range(pages.get(kind, 0))]
        found: list[Item] = []
        for start in range(0, len(wanted), PAGES_TOGETHER):
            found += await self._read(kept, wanted[start : start + PAGES_TOGETHER], unpack)
        return found

    async def _read(
        self, kept: Kept, wanted: list[str], unpack: Callable[[bytes], Sequence[Item]]
    ) -> list[Item]:
        """What is in these pages, one after the other."""
        with reaching_redis():
            sealed: Any = await self.link.hmget(key_of(kept.sweep.id, "report"), wanted)

        def opened() -> list[Item]:
            return [
                item
                for page, each in zip(wanted, sealed, strict=True)
                if each is not None
                for item in unpack(kept.unseal(each, page))
            ]

        return await asyncio.to_thread(opened)


def _pages(kept: Kept, report: SweepReport) -> Iterator[Sealed]:
    """The pages of a report, sealed; the first says how many of each kind there are."""
    listed = {"pairs": report.pairs, "tail": report.tail}
    meta = {kind: -(-len(pairs) // PAGE_PAIRS) for kind, pairs in listed.items()}
    meta["rings"] = -(-len(report.rings) // PAGE_RINGS)
    meta["calibration"] = int(report.calibration is not None)
    yield "meta", kept.seal(json.dumps(meta).encode(), "meta")
    for kind, pairs in listed.items():
        for number, start in enumerate(range(0, len(pairs), PAGE_PAIRS)):
            page = f"{kind}:{number}"
            rows = list(enumerate(pairs[start : start + PAGE_PAIRS], start))
            yield page, kept.seal(pack_pairs(rows), page)
    for number, start in enumerate(range(0, len(report.rings), PAGE_RINGS)):
        page = f"rings:{number}"
        yield page, kept.seal(pack_rings(report.rings[start : start + PAGE_RINGS]), page)
    if report.calibration is not None:
        yield "calibration:0", kept.seal(report.calibration.dump(), "calibration:0")


def _meta(plain: bytes) -> list[tuple[str, int]]:
    return list(json.loads(plain).items())


def _calibration(plain: bytes) -> list[Calibration]:
    return [Calibration.model_validate_json(plain)]


def _pairs_without(packed: bytes, gone: frozenset[str]) -> tuple[bytes | None, int]:
    """None where nobody of them is on the page."""
    pairs = unpack_pairs(packed)
    left = [(number, pair) for number, pair in pairs if not {pair.subject_a, pair.subject_b} & gone]
    went = len(pairs) - len(left)
    return (pack_pairs(left), went) if went else (None, 0)


def _rings_without(packed: bytes, gone: frozenset[str]) -> tuple[bytes | None, int]:
    rings = unpack_rings(packed)
    left = [kept for ring in rings if (kept := ring_without(ring, gone)) is not None]
    return (None if left == rings else pack_rings(left)), 0


def _start(sweep_id: str, cursor: str) -> int:
    """The running number that a cursor names. Raises `cursor_invalid`, also for another sweep's."""
    place = read_cursor(cursor)
    if place is None:
        return 0
    number, named = place
    if named != sweep_id or number > PAIRS_MAX:
        raise ServeError(Code.CURSOR_INVALID, "not a cursor of this list")
    return number
