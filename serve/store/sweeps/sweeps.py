"""Sweeps: their records, the ledger of their tiles, and what they came to."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from index.rings.edges import Ring
from index.sweep.grid import Tile
from serve.domain.ids import Mode
from serve.domain.operation import Operation
from serve.domain.sweeps.calibration import Calibration
from serve.domain.sweeps.sweep import FacePair, Sweep, SweepPlan, TileResult
from serve.ports import Hold, Page, SweepReport, TileLease
from serve.store.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class RedisSweeps:
    """The `Sweeps` port."""

    link: Redis
    keyring: Keyring = field(repr=False)
    replicas: tuple[int, int] = (0, 0)

    async def create(self, sweep: Sweep, op: Operation) -> Sweep:
        """Write a sweep down, queued; a repeat of `op` gets what the first wrote. Raises
        `sweeps_too_many` when the tenant has as many as may be under way.
        """
        raise NotImplementedError

    async def one(self, tenant_id: str, mode: Mode, sweep_id: str) -> Sweep | None:
        """One of this tenant and mode. Raises `not_found` for what is no such id."""
        raise NotImplementedError

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Sweep]:
        """The tenant's, newest first. Raises `cursor_invalid`."""
        raise NotImplementedError

    async def active(self) -> list[Sweep]:
        """Those of all tenants that are queued or running, oldest first; for workers."""
        raise NotImplementedError

    async def hold(self, sweep_id: str) -> Hold | None:
        """Take the right to plan or end a sweep for 45 s; None while somebody else has it."""
        raise NotImplementedError

    async def renew(self, hold: Hold) -> Hold | None:
        """For another 45 s; None when it was lost."""
        raise NotImplementedError

    async def plan(self, hold: Hold, sweep: Sweep, plan: SweepPlan, tiles: Sequence[Tile]) -> bool:
        """Write the plan, the tiles and the sweep, now running. False when the hold was lost, or
        the sweep is not queued any more.
        """
        raise NotImplementedError

    async def planned(self, sweep_id: str) -> SweepPlan | None:
        """Its plan."""
        raise NotImplementedError

    async def claim_tiles(self, sweep_id: str, limit: int) -> list[TileLease]:
        """Tiles that nobody works on, each leased for 45 s; none when it is over."""
        raise NotImplementedError

    async def renew_tiles(self, leases: Sequence[TileLease]) -> None:
        """For another 45 s; those that somebody else has by now stay theirs."""
        raise NotImplementedError

    async def release_tiles(self, leases: Sequence[TileLease]) -> None:
        """Give tiles back untried: others may have them at once, and the try does not count."""
        raise NotImplementedError

    async def finish_tile(self, lease: TileLease, result: TileResult) -> Sweep | None:
        """Write what a tile came to, once however often it is said; the sweep as it is then. None
        when the sweep is over.
        """
        raise NotImplementedError

    def results(self, sweep_id: str) -> AsyncIterator[TileResult]:
        """What the tiles came to, in no order."""
        raise NotImplementedError

    async def end(self, hold: Hold, sweep: Sweep, report: SweepReport | None) -> bool:
        """Write what it came to, and the sweep with the status that it ends in; the tiles' own
        results go. False when the hold was lost or it was over already.
        """
        raise NotImplementedError

    async def cancel(self, tenant_id: str, mode: Mode, sweep_id: str) -> Sweep | None:
        """Cancel it, if it is not over; as it is then. None where there is none."""
        raise NotImplementedError

    async def pairs(self, sweep_id: str, cursor: str, limit: int) -> Page[FacePair]:
        """At or above the threshold, best first. Raises `cursor_invalid`."""
        raise NotImplementedError

    async def edges(self, sweep_id: str) -> tuple[list[FacePair], list[FacePair]]:
        """All at or above the threshold, and all known below it."""
        raise NotImplementedError

    async def rings(self, sweep_id: str) -> list[Ring]:
        """Its rings, largest first."""
        raise NotImplementedError

    async def latest(self, tenant_id: str, mode: Mode) -> Sweep | None:
        """The last done sweep of all enrolled, whose rings are the tenant's."""
        raise NotImplementedError

    async def calibration(self, tenant_id: str, mode: Mode) -> Calibration | None:
        """The last that a sweep wrote for this world."""
        raise NotImplementedError

    async def forget(self, sweep_id: str, gone: frozenset[str]) -> int:
        """Take these subject keys out of what a sweep came to; how many pairs went."""
        raise NotImplementedError
