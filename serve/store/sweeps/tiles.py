"""The ledger of tiles: who works on which, and what they came to.

A result is put down in parts under the fence of its lease, and counts once the tile is said to be
done; parts of a worker that died are never read, and go with the sweep.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

from redis.asyncio import Redis

from index.sweep.grid import Tile
from serve.domain.sweeps.sweep import PAIRS_MAX, FacePair, Sweep, SweepPlan, TileResult
from serve.ports import Hold, TileLease
from serve.store.link import reaching_redis
from serve.store.scripts import Argument, run
from serve.store.sweeps.packing import head_of, pack_pairs, result_of
from serve.store.sweeps.records import Kept, key_of, read_one, read_with
from serve.store.sweeps.scripts import CLAIM_TILES, FINISH_TILE, MOVE_TILES, PLAN, PUT
from serve.store.vault.keyring import Keyring

LEASE_MS = 45_000
TILES_MAX = 4_096
CLAIMED_TOGETHER = 64
PLAN_BYTES_MAX = 2**23
PART_PAIRS = 8_192  # some 600 KB
PARTS_TOGETHER = 8
KEPT_PAIRS_MAX = 2 * PAIRS_MAX
"""Of one tile: with more a sweep is given up, so the best will do."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """What `RedisSweeps` has of tiles."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def plan(self, hold: Hold, sweep: Sweep, plan: SweepPlan, tiles: Sequence[Tile]) -> bool:
        """Write the plan, the tiles and the sweep; see `serve.ports.Sweeps`. Raises ValueError for
        too many tiles, or too long a plan.
        """
        kept = await read_one(self.link, self.keyring, hold.sweep_id)
        if kept is None:
            return False
        document = plan.dump()
        if len(tiles) > TILES_MAX or len(document) > PLAN_BYTES_MAX:
            raise ValueError(f"{len(tiles)} tiles, and {len(document)} bytes of plan")
        sealed = kept.seal(sweep.dump(), ""), kept.seal(document, "plan")
        keys = [key_of(hold.sweep_id, part) for part in ("", "plan", "tiles")]
        with reaching_redis():
            done, _ = await run(self.link, PLAN, keys, [hold.fence, *sealed, *map(_named, tiles)])
        return bool(done)

    async def planned(self, sweep_id: str) -> SweepPlan | None:
        """Its plan."""
        return await read_with(self.link, self.keyring, sweep_id, self.plan_of)

    async def plan_of(self, kept: Kept) -> SweepPlan | None:
        """The same of a sweep that was read."""
        with reaching_redis():
            sealed: Any = await self.link.get(key_of(kept.sweep.id, "plan"))
        if sealed is None:
            return None
        return SweepPlan.model_validate_json(kept.unseal(sealed, "plan"))

    async def claim(self, sweep_id: str, limit: int) -> list[TileLease]:
        """Tiles that nobody works on, each leased for 45 s; none when it is over."""
        arguments = [min(limit, CLAIMED_TOGETHER), LEASE_MS]
        with reaching_redis():
            claimed, _ = await run(self.link, CLAIM_TILES, _ledger(sweep_id), arguments)
        return [TileLease(sweep_id, _tile(name), fence, tries) for name, fence, tries in claimed]

    async def move(self, leases: Sequence[TileLease], what: str) -> None:
        """Renew or release leases, as `what` says; those of each sweep in one step."""
        by_sweep: dict[str, list[Argument]] = {}
        for lease in leases:
            by_sweep.setdefault(lease.sweep_id, []).extend((_named(lease.tile), lease.fence))
        for sweep_id, moved in by_sweep.items():
            with reaching_redis():
                await run(self.link, MOVE_TILES, _ledger(sweep_id), [what, LEASE_MS, *moved])

    async def finish(self, lease: TileLease, result: TileResult) -> Sweep | None:
        """Write what a tile came to; the sweep as it is then, None when it is over."""
        sweep_id, tile = lease.sweep_id, _named(lease.tile)
        kept = await read_one(self.link, self.keyring, sweep_id)
        if kept is None:
            return None
        pairs = result.pairs
        if len(pairs) > KEPT_PAIRS_MAX:
            pairs = await asyncio.to_thread(_best, pairs)
        parts = -(-len(pairs) // PART_PAIRS)
        for number in range(parts + 1):
            part = _part(tile, lease.fence, number)
            if not await self._put(kept, lease.fence, part, await _packed(result, pairs, number)):
                return None
        counted = (result.compared, result.mates, result.found, result.busy_ms)
        keys = [key_of(sweep_id, part) for part in ("", "tiles", "done")]
        arguments: list[Argument] = [tile, lease.fence, parts, *counted, repr(result.complete_from)]
        with reaching_redis():
            done, _ = await run(self.link, FINISH_TILE, keys, arguments)
        found = await read_one(self.link, self.keyring, sweep_id) if done else None
        return None if found is None or found.sweep.status.is_over else found.sweep

    async def results(self, sweep_id: str) -> AsyncIterator[TileResult]:
        """What the tiles came to, one after the other."""
        kept = await read_one(self.link, self.keyring, sweep_id)
        if kept is None:
            return
        with reaching_redis():
            done: Any = await self.link.hgetall(key_of(sweep_id, "done"))
        for tile, said in done.items():
            fence, parts = map(int, said.split())
            wanted = [_part(tile.decode(), fence, number) for number in range(parts + 1)]
            sealed: list[Any] = []
            for start in range(0, len(wanted), PARTS_TOGETHER):
                some = wanted[start : start + PARTS_TOGETHER]
                with reaching_redis():
                    sealed += await self.link.hmget(key_of(sweep_id, "results"), some)
            if None in sealed:  # it ended, or was canceled, meanwhile
                return
            yield await asyncio.to_thread(_result, kept, wanted, sealed)

    async def _put(self, kept: Kept, fence: int, part: str, plain: bytes) -> bool:
        sealed = await asyncio.to_thread(kept.seal, plain, part)
        keys = [key_of(kept.sweep.id), key_of(kept.sweep.id, "results")]
        with reaching_redis():
            done, _ = await run(self.link, PUT, keys, ["tile", fence, "", part, sealed])
        return bool(done)


def _best(pairs: Sequence[FacePair]) -> tuple[FacePair, ...]:
    return tuple(nlargest(KEPT_PAIRS_MAX, pairs, key=lambda pair: pair.score))


async def _packed(result: TileResult, pairs: Sequence[FacePair], number: int) -> bytes:
    """The head of a result, which is its part 0, or those of its pairs that are in a later one."""
    if number == 0:
        return head_of(result)
    start = (number - 1) * PART_PAIRS
    rows = [(0, pair) for pair in pairs[start : start + PART_PAIRS]]
    return await asyncio.to_thread(pack_pairs, rows)


def _result(kept: Kept, parts: Sequence[str], sealed: Sequence[bytes]) -> TileResult:
    head, *pairs = (kept.unseal(each, part) for part, each in zip(parts, sealed, strict=True))
    return result_of(head, pairs)


def _ledger(sweep_id: str) -> list[str]:
    return [key_of(sweep_id, part) for part in ("", "tiles", "claims")]


def _part(tile: str, fence: int, number: int) -> str:
    return f"{tile}:{fence}:{number}"


def _named(tile: Tile) -> str:
    return f"{tile.row}-{tile.column}"


def _tile(name: bytes) -> Tile:
    row, column = map(int, name.split(b"-"))
    return Tile(row, column)
