"""Builders of sweeps and of what they come to; and one who works on them without looking."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from index.rings.edges import Edge, Ring
from index.rings.explain import ring_id
from index.sweep.grid import Tile, all_pairs
from serve.domain.ids import Mode, Prefix
from serve.domain.operation import Operation
from serve.domain.sweeps.calibration import Calibration
from serve.domain.sweeps.sweep import (
    BlockPlan,
    FacePair,
    Segment,
    Sweep,
    SweepPlan,
    SweepRequest,
    SweepStatus,
    TileResult,
    home,
)
from serve.ports import Hold, SweepReport, TileLease
from serve.store.link import now_ms
from serve.store.sweeps.sweeps import RedisSweeps
from tests.helpers.records import MODEL, NOW_MS, TENANT, an_id

_numbers = itertools.count(1)


def a_sweep(
    tenant_id: str = TENANT, mode: Mode = Mode.LIVE, number: int | None = None, **changes: Any
) -> Sweep:
    """A queued sweep with an id of its own."""
    number = next(_numbers) if number is None else number
    return Sweep(
        **{
            "id": an_id(Prefix.SWEEP, home(tenant_id, mode), number),
            "tenant_id": tenant_id,
            "mode": mode,
            "request": SweepRequest(),
            "model_id": MODEL,
            "created_at_ms": NOW_MS + number,
            **changes,
        }
    )


def an_op(**changes: Any) -> Operation:
    """An operation that nobody else carries out."""
    return Operation(**{"id": f"op-{next(_numbers)}", **changes})


def a_plan(blocks: int) -> SweepPlan:
    """That many blocks of one face."""
    segment = Segment(partition=0, after="0-0", upto="9-9")
    return SweepPlan(
        blocks=(BlockPlan(segments=(segment,), faces=1),) * blocks, first_new=0, pin={0: "9-9"}
    )


def a_pair(number: int, score: float | None = None) -> FacePair:
    """Two customers of that number, whom nobody else is."""
    first, second = (f"{2 * number + side:032x}" for side in (0, 1))
    return FacePair(
        subject_a=first, face_a=an_id(Prefix.FACE, 0, 2 * number),
        subject_b=second, face_b=an_id(Prefix.FACE, 0, 2 * number + 1),
        score=1.0 / (number + 1) if score is None else score,
    )  # fmt: skip


def a_result(tile: Tile, pairs: Sequence[FacePair] = (), **changes: Any) -> TileResult:
    """What a tile came to: ten pairs compared, one mate."""
    fields: dict[str, Any] = {
        "row": tile.row, "column": tile.column, "pairs": tuple(pairs), "complete_from": 0.25,
        "compared": 10, "mates": 1, "found": len(pairs), "busy_ms": 5,
    }  # fmt: skip
    return TileResult(**{**fields, **changes})


def a_ring(*members: str) -> Ring:
    """All are tied to the first."""
    edges = tuple(Edge(members[0], member, 0.9) for member in members[1:])
    return Ring(
        id=ring_id(members[0]), members=members, strong_edges=len(edges), weak_edges=0,
        weakest_link=0.9, tree=edges, bridges=edges, expected_false_edges=None,
        density=2 / len(members), medoid=members[0], shared=(),
        without={members[0]: len(edges)} if len(edges) > 1 else {},
    )  # fmt: skip


def a_calibration(sweep: Sweep, **changes: Any) -> Calibration:
    """What a sweep of a hundred faces showed."""
    fields: dict[str, Any] = {
        "tenant_id": sweep.tenant_id, "mode": sweep.mode, "model_id": sweep.model_id,
        "sweep_id": sweep.id, "gallery_size": 100, "probes": 100, "pairs": 4_950,
        "complete_from": 0.1, "impostors": {3000: 2}, "made_at_ms": NOW_MS,
    }  # fmt: skip
    return Calibration(**{**fields, **changes})


def a_report(sweep: Sweep, pairs: int = 3, tail: int = 2, **changes: Any) -> SweepReport:
    """That many pairs and, below them, others; a ring of the first three customers."""
    found = tuple(a_pair(number) for number in range(pairs))
    below = tuple(a_pair(pairs + number, 0.0) for number in range(tail))
    fields: dict[str, Any] = {
        "pairs": found, "tail": below, "rings": (a_ring(*(f"{n:032x}" for n in range(3))),),
        "calibration": a_calibration(sweep),
    }  # fmt: skip
    return SweepReport(**{**fields, **changes})


@dataclass(slots=True)
class Worker:
    """Carries sweeps from one state to the next, as a process does that never looks at a face."""

    sweeps: RedisSweeps
    link: Redis = field(init=False)

    def __post_init__(self) -> None:
        self.link = self.sweeps.link

    async def created(self, **changes: Any) -> Sweep:
        """A sweep that was asked for just now."""
        at_ms = changes.pop("created_at_ms", None) or await now_ms(self.link)
        return await self.sweeps.create(a_sweep(created_at_ms=at_ms, **changes), an_op())

    async def held(self, sweep: Sweep) -> Hold:
        """The right to plan or end it."""
        hold = await self.sweeps.hold(sweep.id)
        assert hold is not None
        return hold

    async def planned(self, blocks: int = 2, **changes: Any) -> Sweep:
        """A sweep that runs; nobody has a tile of it."""
        sweep = await self.created(**changes)
        tiles = list(all_pairs(blocks))
        running = sweep.model_copy(update={"status": SweepStatus.RUNNING, "tiles": len(tiles)})
        hold = await self.held(sweep)
        assert await self.sweeps.plan(hold, running, a_plan(blocks), tiles)
        return running

    async def worked(self, sweep: Sweep) -> list[TileLease]:
        """Every tile that can be had is claimed and done; the leases they were done under."""
        leases = await self.sweeps.claim_tiles(sweep.id, 100)
        for number, lease in enumerate(leases):
            result = a_result(lease.tile, [a_pair(number)])
            assert await self.sweeps.finish_tile(lease, result) is not None
        return leases

    async def done(self, report: SweepReport | None = None, **changes: Any) -> Sweep:
        """A sweep that is over, with its report."""
        sweep = await self.planned(**changes)
        await self.worked(sweep)
        return await self.ended(sweep, report or a_report(sweep))

    async def ended(self, sweep: Sweep, report: SweepReport | None, **changes: Any) -> Sweep:
        """It ends, done if nothing else is said."""
        over = sweep.model_copy(update={"status": SweepStatus.DONE, **changes})
        assert await self.sweeps.end(await self.held(sweep), over, report)
        return over

    async def expire(self, sweep: Sweep) -> None:
        """Every lease of its tiles has run out, and the hold."""
        key = f"*:sweep:{sweep.id}"
        (record,) = [name async for name in self.link.scan_iter(key)]
        await self.link.hset(record, "hu", 0)
        async for tiles in self.link.scan_iter(f"{key}:tiles"):
            members: Any = await self.link.zrange(tiles, 0, -1)
            await self.link.zadd(tiles, dict.fromkeys(members, 1))
