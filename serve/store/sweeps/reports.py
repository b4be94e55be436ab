"""What a sweep came to, in pages: pairs, those below the threshold, rings and its calibration.

Pages are put down by whoever holds the sweep, and count once it is done. A page is rewritten when
somebody in it has gone, and the places of all others stay what they were.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from secrets import token_hex
from typing import Any, TypeVar

from redis.asyncio import Redis

from index.rings.edges import Ring
from serve.domain.ids import Prefix, partition_of
from serve.domain.sweeps.calibration import Calibration
from serve.domain.sweeps.gone import ring_without
from serve.domain.sweeps.pages import Numbered
from serve.domain.sweeps.sweep import PAIRS_MAX, FacePair, SweepStatus
from serve.errors import Code, ServeError
from serve.ports import Hold, Page, SweepReport
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.listings import read_cursor, write_cursor
from serve.store.scripts import Argument, run
from serve.store.sweeps.packing import (
    pack_pairs,
    pack_rings,
    unpack_pairs,
    unpack_rings,
)
from serve.store.sweeps.records import TRIES_MAX, Kept, busy, key_of, read_with
from serve.store.sweeps.scripts import PUT, REKEY
from serve.store.sweeps.tiles import Tiles
from serve.store.vault.keyring import Keyring

PAGE_PAIRS = 1_000  # some 75 KB
PAGE_RINGS = 100
LISTED_MAX = 2 * PAIRS_MAX  # of either list: one that is cut at a score may be a little longer
PAGES_TOGETHER = 8
PAIRED = ("pairs", "tail")
BESIDE_BYTES = 8
BESIDE_KEPT_MS = 3_600_000  # of a report that nobody came to put in place

Item = TypeVar("Item")
Sealed = tuple[str, bytes]  # a page's field, and what it holds


@dataclass(frozen=True, slots=True)
class Reports:
    """What `RedisSweeps` has of reports."""

    link: Redis
    keyring: Keyring = field(repr=False)
    tiles: Tiles

    async def write(self, kept: Kept, hold: Hold, report: SweepReport) -> bool:
        """Put a report down; False when the hold was lost. Raises ValueError for one that is too
        long.
        """
        if max(len(report.pairs), len(report.tail)) > LISTED_MAX:
            raise ValueError(f"{len(report.pairs)} pairs, and {len(report.tail)} below")
        pages = _pages(kept, report)
        is_first = True
        while found := await asyncio.to_thread(lambda: list(islice(pages, PAGES_TOGETHER))):
            fields: list[Argument] = [word for page in found for word in page]
            keys = [key_of(hold.sweep_id), key_of(hold.sweep_id, "report")]
            arguments: list[Argument] = ["hold", hold.fence, "1" if is_first else "", *fields]
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

        async def read(kept: Kept) -> list[Numbered]:
            found: list[Numbered] = []
            for number in range(start // PAGE_PAIRS, (await self._pages_of(kept)).get("pairs", 0)):
                page = await self._read(kept, [f"pairs:{number}"], unpack_pairs)
                found += [each for each in page if each[0] >= start]
                if len(found) > limit:
                    break
            return found

        found = await read_with(self.link, self.keyring, sweep_id, read) or []
        following = write_cursor(found[limit][0], sweep_id) if len(found) > limit else ""
        return Page(tuple(pair for _, pair in found[:limit]), following)

    async def edges(self, sweep_id: str) -> tuple[list[FacePair], list[FacePair]]:
        """All at or above the threshold, and all known below it; of one moment."""

        async def read(kept: Kept) -> tuple[list[FacePair], list[FacePair]]:
            pairs = await self._all(kept, "pairs", unpack_pairs)
            tail = await self._all(kept, "tail", unpack_pairs)
            return [pair for _, pair in pairs], [pair for _, pair in tail]

        return await read_with(self.link, self.keyring, sweep_id, read) or ([], [])

    async def ring_page(self, sweep_id: str, cursor: str, limit: int) -> Page[Ring]:
        """Its rings, largest first. Raises `cursor_invalid`, also where the ring that the cursor
        names has gone.
        """
        first, last = read_cursor(cursor) or (0, "")

        async def read(kept: Kept) -> list[tuple[int, Ring]]:
            pages = (await self._pages_of(kept)).get("rings", 0)
            found: list[tuple[int, Ring]] = []
            for number in range(first, max(pages, first + 1)):
                page = await self._read(kept, [f"rings:{number}"], unpack_rings)
                left = _behind(page, last) if last and number == first else page
                found += [(number, ring) for ring in left]
                if len(found) > limit:
                    break
            return found

        found = await read_with(self.link, self.keyring, sweep_id, read) or []
        following = ""
        if len(found) > limit:
            number, ring = found[limit - 1]
            following = write_cursor(number, ring.id)
        return Page(tuple(ring for _, ring in found[:limit]), following)

    async def rings(self, sweep_id: str) -> list[Ring]:
        """All its rings, largest first."""
        read = partial(self._all, kind="rings", unpack=unpack_rings)
        return await read_with(self.link, self.keyring, sweep_id, read) or []

    async def calibration(self, sweep_id: str) -> Calibration | None:
        """What it showed of chance, if it did."""
        read = partial(self._all, kind="calibration", unpack=_calibration)
        found = await read_with(self.link, self.keyring, sweep_id, read)
        return found[0] if found else None

    async def forget(self, sweep_id: str, gone: frozenset[str]) -> int:
        """Take these subject keys out of every page; how many pairs went. What is left is sealed
        under another key. Raises `state_unavailable` when others do the same all the time.
        """
        for _ in range(TRIES_MAX):
            rewrite = partial(self._rewritten, gone=gone)
            went = await read_with(self.link, self.keyring, sweep_id, rewrite)
            if went is None:
                return 0
            if went >= 0:
                return went
        raise busy()

    async def _rewritten(self, kept: Kept, gone: frozenset[str]) -> int:
        """How many pairs went; less than none when somebody else was faster. A whole report is
        written beside the first, which it then replaces in one step.
        """
        fields = _fields(await self._pages_of(kept))
        if not await self._names_any(kept, fields, gone):
            return 0
        partition = partition_of(Prefix.SWEEP, kept.sweep.id)
        beside = names.sweep_part(partition, kept.sweep.id, f"report.{token_hex(BESIDE_BYTES)}")
        heir = Kept.anew(kept.sweep, self.keyring)
        try:
            went = sum(
                [
                    await self._write_beside(beside, kept, heir, some, gone)
                    for some in _groups(fields)
                ]
            )
            return went if await self._replace(beside, kept, heir) else -1
        finally:
            with reaching_redis():
                await self.link.unlink(beside)

    async def _write_beside(
        self, beside: str, kept: Kept, heir: Kept, fields: Sequence[str], gone: frozenset[str]
    ) -> int:
        """Some pages, as the heir is to have them; how many pairs are not in them any more."""
        sealed = await self._sealed(kept, fields)
        left = await asyncio.to_thread(_without, kept, sealed, gone)
        words: dict[Any, Any] = {page: heir.seal(plain, page) for page, plain, _ in left}
        with reaching_redis():
            async with self.link.pipeline(transaction=True) as pipe:
                pipe.hset(beside, mapping=words)
                pipe.pexpire(beside, BESIDE_KEPT_MS)
                await pipe.execute()
        return sum(number for _, _, number in left)

    async def _replace(self, beside: str, kept: Kept, heir: Kept) -> bool:
        """Put the heir in the place of a sweep; False when it has changed meanwhile."""
        plan = await self.tiles.plan_of(kept)
        sealed_plan = b"" if plan is None else heir.seal(plan.dump(), "plan")
        keys = [*(key_of(kept.sweep.id, part) for part in ("", "plan", "report")), beside]
        arguments = [kept.wrapped, heir.wrapped, heir.document, sealed_plan]
        with reaching_redis():
            done, _ = await run(self.link, REKEY, keys, arguments)
        return bool(done)

    async def _names_any(self, kept: Kept, fields: Sequence[str], gone: frozenset[str]) -> bool:
        """Whether any of them is in what a sweep came to."""
        for some in _groups(fields):
            sealed = await self._sealed(kept, some)
            if await asyncio.to_thread(_holds, kept, sealed, gone):
                return True
        return False

    async def _pages_of(self, kept: Kept) -> dict[str, int]:
        """How many pages there are of each kind; none before it is done."""
        if kept.sweep.status is not SweepStatus.DONE:
            return {}
        return dict(await self._read(kept, ["meta"], _meta))

    async def _all(
        self, kept: Kept, kind: str, unpack: Callable[[bytes], Sequence[Item]]
    ) -> list[Item]:
        wanted = [f"{kind}:{number}" for number in range((await self._pages_of(kept)).get(kind, 0))]
        found: list[Item] = []
        for some in _groups(wanted):
            found += await self._read(kept, some, unpack)
        return found

    async def _read(
        self, kept: Kept, wanted: Sequence[str], unpack: Callable[[bytes], Sequence[Item]]
    ) -> list[Item]:
        """What is in these pages, one after the other."""
        sealed = await self._sealed(kept, wanted)
        return await asyncio.to_thread(_unpacked, kept, sealed, unpack)

    async def _sealed(self, kept: Kept, wanted: Sequence[str]) -> list[Sealed]:
        """These pages, those that are there."""
        with reaching_redis():
            found: Any = await self.link.hmget(key_of(kept.sweep.id, "report"), list(wanted))
        return [
            (page, sealed) for page, sealed in zip(wanted, found, strict=True) if sealed is not None
        ]


def _unpacked(
    kept: Kept, sealed: Sequence[Sealed], unpack: Callable[[bytes], Sequence[Item]]
) -> list[Item]:
    return [item for page, each in sealed for item in unpack(kept.unseal(each, page))]


def _groups(fields: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(fields), PAGES_TOGETHER):
        yield fields[start : start + PAGES_TOGETHER]


def _fields(pages: Mapping[str, int]) -> list[str]:
    """The names of all pages."""
    listed = [f"{kind}:{number}" for kind, count in pages.items() for number in range(count)]
    return ["meta", *listed] if pages else []


def _holds(kept: Kept, sealed: Sequence[Sealed], gone: frozenset[str]) -> bool:
    return any(_page_without(page, kept.unseal(each, page), gone) is not None
               for page, each in sealed)  # fmt: skip


def _without(
    kept: Kept, sealed: Sequence[Sealed], gone: frozenset[str]
) -> list[tuple[str, bytes, int]]:
    """Each page, what is left of it, and how many pairs are not."""
    left = []
    for page, each in sealed:
        plain = kept.unseal(each, page)
        left.append((page, *(_page_without(page, plain, gone) or (plain, 0))))
    return left


def _page_without(page: str, plain: bytes, gone: frozenset[str]) -> tuple[bytes, int] | None:
    """What is left of a page, and how many pairs are not; None where nobody of `gone` is on it."""
    kind = page.partition(":")[0]
    if kind in PAIRED:
        pairs = unpack_pairs(plain)
        left = [each for each in pairs if not {each[1].subject_a, each[1].subject_b} & gone]
        return (pack_pairs(left), len(pairs) - len(left)) if len(left) < len(pairs) else None
    if kind == "rings":
        rings = unpack_rings(plain)
        kept = [each for ring in rings if (each := ring_without(ring, gone)) is not None]
        return None if kept == rings else (pack_rings(kept), 0)
    return None


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


def _behind(rings: Sequence[Ring], ring_id: str) -> Sequence[Ring]:
    """Those after the ring that a cursor names. Raises `cursor_invalid`."""
    for place, ring in enumerate(rings, start=1):
        if ring.id == ring_id:
            return rings[place:]
    raise ServeError(Code.CURSOR_INVALID, "no such ring in this list")


def _start(sweep_id: str, cursor: str) -> int:
    """The running number that a cursor names. Raises `cursor_invalid`, also for another sweep's."""
    place = read_cursor(cursor)
    if place is None:
        return 0
    number, named = place
    if named != sweep_id or number > LISTED_MAX:
        raise ServeError(Code.CURSOR_INVALID, "not a cursor of this list")
    return number
