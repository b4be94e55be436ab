"""Sweeps: their records, the ledger of their tiles, and what they came to.

Everything of a sweep lies in the slot of its world's home, sealed under a data key of its own, and
goes 90 days after it was asked for. The data key is wrapped by the epoch's, as a customer's is.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from index.rings.edges import Ring
from index.sweep.grid import Tile
from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.operation import Operation
from serve.domain.sweeps.calibration import Calibration
from serve.domain.sweeps.sweep import (
    ACTIVE_MAX,
    KEPT_MS,
    FacePair,
    Sweep,
    SweepPlan,
    SweepScope,
    SweepStatus,
    TileResult,
    home,
)
from serve.errors import Code, ServeError
from serve.ports import Hold, Page, SweepReport, TileLease
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.listings import newest
from serve.store.scripts import Argument, check_reached, run
from serve.store.sweeps.records import (
    PARTS,
    PARTS_OF_WORK,
    TRIES_MAX,
    Kept,
    busy,
    key_of,
    read,
    read_one,
    world_of,
)
from serve.store.sweeps.reports import Reports
from serve.store.sweeps.scripts import CANCEL, CREATE, END, HOLD, KEEP_HOLD
from serve.store.sweeps.tiles import LEASE_MS, Tiles
from serve.store.vault.keyring import Keyring

HOLDER_BYTES = 16
ACTIVE_LISTED_MAX = 1_024  # of one partition


@dataclass(frozen=True, slots=True)
class RedisSweeps:
    """The `Sweeps` port. `replicas` is how many must hold what was asked for, canceled or ended,
    and for how many ms to wait; work that is lost with a primary is done again.
    """

    link: Redis
    keyring: Keyring = field(repr=False)
    replicas: tuple[int, int] = (0, 0)

    @property
    def _tiles(self) -> Tiles:
        return Tiles(self.link, self.keyring)

    @property
    def _reports(self) -> Reports:
        return Reports(self.link, self.keyring, self._tiles)

    async def create(self, sweep: Sweep, op: Operation) -> Sweep:
        """Write a sweep down, queued; a repeat of `op` gets the one that the first wrote, as it is
        by now. Its id carries the partition `home(tenant_id, mode)`. Raises `sweeps_too_many` when
        the tenant has as many as may be under way, and `durability_unavailable`.
        """
        partition, world = home(sweep.tenant_id, sweep.mode), world_of(sweep.tenant_id, sweep.mode)
        assert partition_of(Prefix.SWEEP, sweep.id) == partition, "all of a world lie in its home"
        made = Kept.anew(sweep, self.keyring)
        listed = [
            names.listing(partition, kind, sweep.tenant_id, sweep.mode)
            for kind in ("sweeps", "sweeps.active")
        ]
        keys = [
            names.sweep_operation(partition, world, op.id), key_of(sweep.id), *listed,
            names.sweeps(partition), names.sweeps_kept(partition),
        ]  # fmt: skip
        arguments: list[Argument] = [
            sweep.id, world, made.wrapped, made.document, KEPT_MS, names.OPERATION_KEPT_MS,
            ACTIVE_MAX,
        ]  # fmt: skip
        with reaching_redis():
            (said, *known), reached = await run(self.link, CREATE, keys, arguments, self.replicas)
        if said == b"full":
            raise ServeError(Code.SWEEPS_TOO_MANY, f"{ACTIVE_MAX} are under way")
        check_reached(reached, self.replicas)
        if said == b"done":
            return sweep
        found = await read_one(self.link, self.keyring, known[0].decode())
        return sweep if found is None else found.sweep

    async def one(self, tenant_id: str, mode: Mode, sweep_id: str) -> Sweep | None:
        """One of this tenant and mode. Raises `not_found` for what is no such id."""
        (found,) = await self._of_world(tenant_id, mode, [sweep_id])
        return found

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Sweep]:
        """The tenant's, newest first. Raises `cursor_invalid`."""
        ids, following = await newest(self.link, {"sweeps": str}, (tenant_id, mode), cursor, limit)
        found = await self._of_world(tenant_id, mode, ids)
        return Page(tuple(sweep for sweep in found if sweep is not None), following)

    async def active(self) -> list[Sweep]:
        """Those of all tenants that are queued or running, oldest first; for workers."""
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for partition in names.EVERY_PARTITION:
                    pipe.zrange(names.sweeps(partition), 0, ACTIVE_LISTED_MAX - 1)
                rows = await pipe.execute()
        ids = [sweep_id.decode() for row in rows for sweep_id in row]
        found = await read(self.link, self.keyring, ids)
        sweeps = [kept.sweep for kept in found if kept and not kept.sweep.status.is_over]
        return sorted(sweeps, key=lambda sweep: (sweep.created_at_ms, sweep.id))

    async def hold(self, sweep_id: str) -> Hold | None:
        """Take the right to plan or end a sweep for 45 s; None while somebody else has it."""
        holder = secrets.token_hex(HOLDER_BYTES)
        with reaching_redis():
            found, _ = await run(self.link, HOLD, [key_of(sweep_id)], [LEASE_MS, holder])
        return Hold(sweep_id, *map(int, found)) if found else None

    async def renew(self, hold: Hold) -> Hold | None:
        """For another 45 s; None when it was lost."""
        return await self._keep(hold, LEASE_MS)

    async def release(self, hold: Hold) -> None:
        """Give a hold back that came to nothing: others may have it at once."""
        await self._keep(hold, 0)

    async def _keep(self, hold: Hold, lease_ms: int) -> Hold | None:
        arguments: list[Argument] = [hold.fence, lease_ms]
        with reaching_redis():
            until, _ = await run(self.link, KEEP_HOLD, [key_of(hold.sweep_id)], arguments)
        return None if until is None else Hold(hold.sweep_id, hold.fence, int(until))

    async def plan(self, hold: Hold, sweep: Sweep, plan: SweepPlan, tiles: Sequence[Tile]) -> bool:
        """Write the plan, the tiles and the sweep, now running. False when the hold was lost, or
        the sweep is not queued any more.
        """
        return await self._tiles.plan(hold, sweep, plan, tiles)

    async def planned(self, sweep_id: str) -> SweepPlan | None:
        """Its plan."""
        return await self._tiles.planned(sweep_id)

    async def claim_tiles(self, sweep_id: str, limit: int) -> list[TileLease]:
        """Tiles that nobody works on, each leased for 45 s; none when it is over."""
        return await self._tiles.claim(sweep_id, limit)

    async def renew_tiles(self, leases: Sequence[TileLease]) -> None:
        """For another 45 s; those that somebody else has by now stay theirs."""
        await self._tiles.move(leases, "renew")

    async def release_tiles(self, leases: Sequence[TileLease]) -> None:
        """Give tiles back untried: others may have them at once, and the try does not count."""
        await self._tiles.move(leases, "release")

    async def finish_tile(self, lease: TileLease, result: TileResult) -> Sweep | None:
        """Write what a tile came to, once however often it is said; the sweep as it is then. None
        when the sweep is over.
        """
        return await self._tiles.finish(lease, result)

    def results(self, sweep_id: str) -> AsyncIterator[TileResult]:
        """What the tiles came to, in no order."""
        return self._tiles.results(sweep_id)

    async def end(self, hold: Hold, sweep: Sweep, report: SweepReport | None) -> bool:
        """Write what it came to, and the sweep with the status that it ends in; the tiles' own
        results go. False when the hold was lost or it was over already.
        """
        kept = await read_one(self.link, self.keyring, hold.sweep_id)
        if kept is None or not sweep.status.is_over:
            return False
        is_done = sweep.status is SweepStatus.DONE
        heir = Kept.anew(sweep, self.keyring)
        told = report if is_done and not kept.sweep.status.is_over else None
        if told is not None and not await self._reports.write(heir, hold, told):
            return False
        plan = await self.planned(hold.sweep_id) if is_done else None
        is_whole = is_done and sweep.is_whole and sweep.request.scope is SweepScope.ENROLLED
        is_calibrated = is_done and report is not None and report.calibration is not None
        gone = PARTS_OF_WORK if is_done else (*PARTS_OF_WORK, "report")
        partition, world = home(sweep.tenant_id, sweep.mode), world_of(sweep.tenant_id, sweep.mode)
        keys = [
            key_of(sweep.id), *_active(sweep.tenant_id, sweep.mode),
            names.sweep_newest(partition, "whole", world),
            names.sweep_newest(partition, "calibrated", world),
            *(key_of(sweep.id, part) for part in ("plan", *gone)),
        ]  # fmt: skip
        arguments: list[Argument] = [
            hold.fence, sweep.id, sweep.status, heir.document,
            "1" if is_whole else "", "1" if is_calibrated else "", heir.wrapped,
            b"" if plan is None else heir.seal(plan.dump(), "plan"),
        ]  # fmt: skip
        with reaching_redis():
            done, reached = await run(self.link, END, keys, arguments, self.replicas)
        check_reached(reached, self.replicas)
        return bool(done)

    async def cancel(self, tenant_id: str, mode: Mode, sweep_id: str) -> Sweep | None:
        """Cancel it, if it is not over; as it is then. None where there is none."""
        if partition_of(Prefix.SWEEP, sweep_id) != home(tenant_id, mode):
            return None
        keys = [
            key_of(sweep_id), *_active(tenant_id, mode),
            *(key_of(sweep_id, part) for part in PARTS),
        ]  # fmt: skip
        world = world_of(tenant_id, mode)
        for _ in range(TRIES_MAX):
            (kept,) = await read(self.link, self.keyring, [sweep_id], world)
            if kept is None:
                return None
            heir = Kept.anew(kept.sweep, self.keyring)
            arguments: list[Argument] = [
                world, sweep_id, kept.document, heir.wrapped, heir.document,
            ]  # fmt: skip
            with reaching_redis():
                done, reached = await run(self.link, CANCEL, keys, arguments, self.replicas)
            if done is None:
                return None
            if done:
                check_reached(reached, self.replicas)
                return await self.one(tenant_id, mode, sweep_id)
        raise busy()

    async def pairs(self, sweep_id: str, cursor: str, limit: int) -> Page[FacePair]:
        """At or above the threshold, best first. Raises `cursor_invalid`."""
        return await self._reports.pairs(sweep_id, cursor, limit)

    async def edges(self, sweep_id: str) -> tuple[list[FacePair], list[FacePair]]:
        """All at or above the threshold, and all known below it."""
        return await self._reports.edges(sweep_id)

    async def ring_page(self, sweep_id: str, cursor: str, limit: int) -> Page[Ring]:
        """Its rings, largest first. Raises `cursor_invalid`."""
        return await self._reports.ring_page(sweep_id, cursor, limit)

    async def rings(self, sweep_id: str) -> list[Ring]:
        """All its rings, largest first."""
        return await self._reports.rings(sweep_id)

    async def latest(self, tenant_id: str, mode: Mode) -> Sweep | None:
        """The last done sweep of all enrolled, whose rings are the tenant's."""
        sweep_id = await self._newest(tenant_id, mode, "whole")
        return None if sweep_id is None else await self.one(tenant_id, mode, sweep_id)

    async def calibration(self, tenant_id: str, mode: Mode) -> Calibration | None:
        """The last that a sweep wrote for this world."""
        sweep_id = await self._newest(tenant_id, mode, "calibrated")
        return None if sweep_id is None else await self._reports.calibration(sweep_id)

    async def forget(self, sweep_id: str, gone: frozenset[str]) -> int:
        """Take these subject keys out of what a sweep came to; how many pairs went."""
        return await self._reports.forget(sweep_id, gone)

    async def _newest(self, tenant_id: str, mode: Mode, kind: str) -> str | None:
        key = names.sweep_newest(home(tenant_id, mode), kind, world_of(tenant_id, mode))
        with reaching_redis():
            found: Any = await self.link.hget(key, "id")
        return None if found is None else found.decode()

    async def _of_world(
        self, tenant_id: str, mode: Mode, sweep_ids: Sequence[str]
    ) -> list[Sweep | None]:
        """None for those of another world as for those that are not there; none is opened."""
        here = home(tenant_id, mode)
        mine = [each for each in sweep_ids if partition_of(Prefix.SWEEP, each) == here]
        rows = await read(self.link, self.keyring, mine, world_of(tenant_id, mode))
        found = {kept.sweep.id: kept.sweep for kept in rows if kept}
        return [found.get(each) for each in sweep_ids]


def _active(tenant_id: str, mode: Mode) -> tuple[str, str]:
    """The lists of sweeps that are not over: the world's and the partition's."""
    partition = home(tenant_id, mode)
    return names.listing(partition, "sweeps.active", tenant_id, mode), names.sweeps(partition)
