"""Ports of bulk sweeps: their records, the ledger of their tiles, and what they came to."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from index.entry import Gallery, LogId, Vectors
from index.rings.edges import Ring
from index.sweep.grid import Tile
from serve.domain.ids import Mode
from serve.domain.operation import Operation
from serve.domain.sweeps.calibration import Calibration
from serve.domain.sweeps.sweep import FacePair, Segment, Sweep, SweepPlan, TileResult
from serve.ports.records import Page


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to plan or to end a sweep, until `until_ms`; a later one has a higher fence."""

    sweep_id: str
    fence: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class TileLease:
    """The right to work on a tile. `tries` counts this one."""

    sweep_id: str
    tile: Tile
    fence: int
    tries: int


@dataclass(frozen=True, slots=True)
class LoggedFace:
    """A face as the log has it."""

    partition: int
    log_id: LogId
    face_id: str
    subject_key: str


@dataclass(frozen=True, slots=True)
class LoggedFaces:
    """Faces of one gallery in the order of the log; `vectors` (N, D) is theirs."""

    faces: tuple[LoggedFace, ...]
    vectors: Vectors = field(repr=False)


class GalleryLog(Protocol):
    """The log of faces, one gallery at a time. Whoever has gone is not told of."""

    async def faces(self, gallery: Gallery, segment: Segment) -> LoggedFaces:
        """The gallery's faces that came by these entries and are there still; decrypted, and
        nothing of other galleries is.
        """
        ...

    def places(self, gallery: Gallery, segment: Segment) -> AsyncIterator[Sequence[LoggedFace]]:
        """Where they stand, without their templates, batch by batch."""
        ...


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep came to. `pairs` are those at or above the threshold, best first; `tail` those
    below it that are known, best first. `rings` name customers by subject key.
    """

    pairs: tuple[FacePair, ...]
    tail: tuple[FacePair, ...]
    rings: tuple[Ring, ...]
    calibration: Calibration | None


class Sweeps(Protocol):
    """Sweeps, sealed, in one slot each; kept for 90 days after they were asked for."""

    async def create(self, sweep: Sweep, op: Operation) -> Sweep:
        """Write a sweep down, queued; a repeat of `op` gets the one that the first wrote, as it is
        by now. Its id carries the partition `home(tenant_id, mode)`. Raises `sweeps_too_many` when
        the tenant has as many as may be under way, and `durability_unavailable`.
        """
        ...

    async def one(self, tenant_id: str, mode: Mode, sweep_id: str) -> Sweep | None:
        """One of this tenant and mode. Raises `not_found` for what is no such id."""
        ...

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Sweep]:
        """The tenant's, newest first. Raises `cursor_invalid`."""
        ...

    async def active(self) -> list[Sweep]:
        """Those of all tenants that are queued or running, oldest first; for workers."""
        ...

    async def hold(self, sweep_id: str) -> Hold | None:
        """Take the right to plan or end a sweep for 45 s; None while somebody else has it."""
        ...

    async def renew(self, hold: Hold) -> Hold | None:
        """For another 45 s; None when it was lost."""
        ...

    async def release(self, hold: Hold) -> None:
        """Give a hold back that came to nothing: others may have it at once."""
        ...

    async def plan(self, hold: Hold, sweep: Sweep, plan: SweepPlan, tiles: Sequence[Tile]) -> bool:
        """Write the plan, the tiles and the sweep, now running. False when the hold was lost, or
        the sweep is not queued any more.
        """
        ...

    async def planned(self, sweep_id: str) -> SweepPlan | None:
        """Its plan."""
        ...

    async def claim_tiles(self, sweep_id: str, limit: int) -> list[TileLease]:
        """Tiles that nobody works on, each leased for 45 s; none when it is over."""
        ...

    async def renew_tiles(self, leases: Sequence[TileLease]) -> None:
        """For another 45 s; those that somebody else has by now stay theirs."""
        ...

    async def release_tiles(self, leases: Sequence[TileLease]) -> None:
        """Give tiles back untried: others may have them at once, and the try does not count."""
        ...

    async def finish_tile(self, lease: TileLease, result: TileResult) -> Sweep | None:
        """Write what a tile came to, once however often it is said; the sweep as it is then. None
        when the sweep is over.
        """
        ...

    def results(self, sweep_id: str) -> AsyncIterator[TileResult]:
        """What the tiles came to, in no order."""
        ...

    async def end(self, hold: Hold, sweep: Sweep, report: SweepReport | None) -> bool:
        """Write what it came to, and the sweep with the status that it ends in; the tiles' own
        results go. False when the hold was lost or it was over already.
        """
        ...

    async def cancel(self, tenant_id: str, mode: Mode, sweep_id: str) -> Sweep | None:
        """Cancel it, if it is not over; as it is then. None where there is none."""
        ...

    async def pairs(self, sweep_id: str, cursor: str, limit: int) -> Page[FacePair]:
        """At or above the threshold, best first. Raises `cursor_invalid`."""
        ...

    async def edges(self, sweep_id: str) -> tuple[list[FacePair], list[FacePair]]:
        """All at or above the threshold, and all known below it."""
        ...

    async def ring_page(self, sweep_id: str, cursor: str, limit: int) -> Page[Ring]:
        """Its rings, largest first. Raises `cursor_invalid`."""
        ...

    async def rings(self, sweep_id: str) -> list[Ring]:
        """All its rings, largest first."""
        ...

    async def latest(self, tenant_id: str, mode: Mode) -> Sweep | None:
        """The last done sweep of all enrolled, whose rings are the tenant's."""
        ...

    async def calibration(self, tenant_id: str, mode: Mode) -> Calibration | None:
        """The last that a sweep wrote for this world."""
        ...

    async def forget(self, sweep_id: str, gone: frozenset[str]) -> int:
        """Take these subject keys out of what a sweep came to; how many pairs went."""
        ...
