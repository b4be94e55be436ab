"""The first thing done for a sweep: the log is pinned, and what stands before it cut into tiles."""

import asyncio
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.entry import START, Gallery, LogId
from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY, VERIFY_THRESHOLD_SIMILARITY
from serve.deps import Deps
from serve.domain.ids import PARTITIONS
from serve.domain.sweeps.calibration import threshold_for
from serve.domain.sweeps.plan import Cut, Places, cut, cut_across, entry_of_ms, owner_number
from serve.domain.sweeps.sweep import (
    TARGET_FPIR,
    Segment,
    Sweep,
    SweepFailure,
    SweepScope,
    SweepStatus,
    ThresholdSource,
)
from serve.flows.sweeps.blocks import gallery_of
from serve.flows.sweeps.chain import chain_of
from serve.ports import Hold

READ_TOGETHER = 8  # partitions of the log


async def plan_sweep(deps: Deps, hold: Hold, queued: Sweep, size: int = 0) -> SweepFailure | None:
    """Write the plan of a queued sweep, which runs from then on; or why there can be none.

    `size` is how many faces a block has, 0 for as many as suit the gallery.
    """
    started_at_ms = await deps.directory.now_ms()  # before the pin: all that came by then is in it
    pin = await deps.face_log.tails()
    base = await _base(deps, queued)
    since = None
    if base is not None:
        if await chain_of(deps, base) is None:
            return SweepFailure.BASE_GONE
        if queued.request.since_sweep:
            plan = await deps.sweeps.planned(base.id)
            if plan is None:
                return SweepFailure.BASE_GONE
            since = {partition: LogId.parse(place) for partition, place in plan.pin.items()}
    elif queued.request.since_sweep:
        return SweepFailure.BASE_GONE
    if queued.request.since_ms:
        since = dict.fromkeys(range(PARTITIONS), entry_of_ms(queued.request.since_ms))
    found = await _cut(deps, queued, pin, since, size)
    threshold, source = await threshold_of(deps, queued, found.faces)
    running = queued.model_copy(
        update={
            "status": SweepStatus.RUNNING,
            "threshold": threshold,
            "threshold_source": source,
            "faces": found.faces,
            "customers": found.customers,
            "tiles": len(found.tiles),
            "to_compare": found.to_compare,
            "base": "" if base is None else base.id,
            "is_whole": since is None or (base is not None and base.is_whole),
            "started_at_ms": started_at_ms,
        }
    )
    await deps.sweeps.plan(hold, running, found.plan, found.tiles)
    return None


async def threshold_of(
    deps: Deps, sweep: Sweep, faces: int
) -> tuple[float | None, ThresholdSource | None]:
    """The native threshold that a sweep begins with, None for one that finds it at its end."""
    request = sweep.request
    if request.threshold is not None:
        return deps.scale.native(request.threshold), ThresholdSource.REQUEST
    calibration = await deps.sweeps.calibration(sweep.tenant_id, sweep.mode)
    if calibration is not None and calibration.holds_for(sweep.model_id, faces):
        floor = deps.scale.native(SEARCH_FLOOR_SIMILARITY)
        found = threshold_for(calibration, target_of(sweep), floor)
        if found is not None:
            return found.threshold, ThresholdSource.CALIBRATION
    if request.scope is SweepScope.BLOCKED:
        return deps.scale.native(VERIFY_THRESHOLD_SIMILARITY), ThresholdSource.MANIFEST
    return None, None


def target_of(sweep: Sweep) -> float:
    """The share of searches that may show a wrong person."""
    return sweep.request.target_fpir or TARGET_FPIR


async def _base(deps: Deps, sweep: Sweep) -> Sweep | None:
    """The sweep that this one's rings go on from: the one named; for a time, the tenant's last, if
    it has seen all that came before; none else.
    """
    request, world = sweep.request, (sweep.tenant_id, sweep.mode)
    if request.since_sweep:
        found = await deps.sweeps.one(*world, request.since_sweep)
        return found if found is not None and found.status is SweepStatus.DONE else None
    if not request.since_ms or request.scope is not SweepScope.ENROLLED:
        return None
    found = await deps.sweeps.latest(*world)
    if found is None or found.model_id != sweep.model_id or not found.is_whole:
        return None
    has_seen = (found.started_at_ms or 0) > request.since_ms
    return found if has_seen and await chain_of(deps, found) is not None else None


async def _cut(
    deps: Deps, sweep: Sweep, pin: Mapping[int, LogId], since: Mapping[int, LogId] | None, size: int
) -> Cut:
    enrolled = await _places(deps, gallery_of(sweep), pin)
    if sweep.request.scope is SweepScope.BLOCKED:
        blocked = await _places(deps, gallery_of(sweep, is_blocklist=True), pin)
        return await asyncio.to_thread(cut_across, enrolled, blocked, pin, since, size)
    return await asyncio.to_thread(cut, enrolled, pin, since, size)


async def _places(deps: Deps, gallery: Gallery, pin: Mapping[int, LogId]) -> list[Places]:
    """Where a gallery's faces stand, up to the pin, partition by partition."""
    found: list[Places] = []
    wanted = sorted(partition for partition, place in pin.items() if place > START)
    for start in range(0, len(wanted), READ_TOGETHER):
        found += await asyncio.gather(
            *(
                _places_in(deps, gallery, partition, pin[partition])
                for partition in wanted[start : start + READ_TOGETHER]
            )
        )
    return [each for each in found if len(each.ms)]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Whole numbers, 8 bytes each however many come."""

    ms: "array[int]" = field(default_factory=lambda: array("q"))
    seq: "array[int]" = field(default_factory=lambda: array("q"))
    owners: "array[int]" = field(default_factory=lambda: array("q"))


async def _places_in(deps: Deps, gallery: Gallery, partition: int, upto: LogId) -> Places:
    numbers = _Numbers()
    segment = Segment(partition=partition, after=str(START), upto=str(upto))
    async for batch in deps.gallery_log.places(gallery, segment):
        numbers.ms.extend(face.log_id.ms for face in batch)
        numbers.seq.extend(face.log_id.seq for face in batch)
        numbers.owners.extend(owner_number(face.subject_key) for face in batch)
    return Places(partition, *map(_array, (numbers.ms, numbers.seq, numbers.owners)))


def _array(numbers: "array[int]") -> NDArray[np.int64]:
    return np.array(numbers, np.int64)
