"""What a world's own sweep says of chance, for those who search in it, and for its operator."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY, VERIFY_THRESHOLD_SIMILARITY
from serve.deps import Deps
from serve.domain.audit import OPERATOR, Action, AuditEntry, Concern
from serve.domain.ids import Mode
from serve.domain.search.evidence import ExpectedFalseMatches, expected_false_matches
from serve.domain.sweeps.calibration import (
    CalibratedThreshold,
    Calibration,
    expected,
    threshold_for,
)
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.tenant import Tenant, TenantPatch, patched
from serve.errors import Code, ServeError
from serve.flows.access import tenant_of
from serve.flows.audit import noted
from serve.flows.tenants import change_tenant

TARGETS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)


@dataclass(frozen=True, slots=True)
class Expected:
    """What chance is expected to show, and the calibration that says so; None where it is what the
    tenant's enrolments have shown.
    """

    matches: ExpectedFalseMatches
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A world's thresholds by target, None for each that there is not enough evidence for.
    `followed` is that of the target that the tenant has set, if there is evidence for it.
    """

    tenant: Tenant
    calibration: Calibration
    thresholds: dict[float, CalibratedThreshold | None]
    followed: CalibratedThreshold | None


async def calibration_of(deps: Deps, tenant_id: str, mode: Mode) -> Calibration | None:
    """The world's last calibration, as it was within the last five seconds."""
    world, now_s = (tenant_id, mode), asyncio.get_running_loop().time()
    if not deps.calibrations.knows(world, now_s):
        deps.calibrations.keep(world, await deps.sweeps.calibration(tenant_id, mode), now_s)
    return deps.calibrations.calibration(world)


async def expected_at(
    deps: Deps, tenant_id: str, mode: Mode, native: float, gallery_size: int
) -> Expected:
    """What a search among so many faces shows by chance at `native` or more.

    By the world's calibration while that holds; else by what its enrolments have shown at the
    pack's threshold: above it at most as much, and below it nobody has counted.
    """
    calibration = await calibration_of(deps, tenant_id, mode)
    if calibration is not None and calibration.holds_for(deps.model_id, gallery_size):
        found = expected(calibration, native, gallery_size)
        if found.upper_bound is not None:
            return Expected(found, calibration)
    match_min = deps.scale.native(VERIFY_THRESHOLD_SIMILARITY)
    if native < match_min:
        return Expected(ExpectedFalseMatches(None, None))
    evidence = await deps.flags.evidence(tenant_id, mode)
    found = expected_false_matches(gallery_size, evidence)
    if native > match_min:
        return Expected(ExpectedFalseMatches(None, found.upper_bound))
    return Expected(found)


async def duplicate_threshold(deps: Deps, tenant_id: str, mode: Mode) -> CalibratedThreshold | None:
    """The native score from which on two customers are taken for one, for the share of searches
    that the tenant allows to be wrong; None where it has said nothing, or too little is known.

    It holds while the gallery is smaller than it says.
    """
    tenant = await deps.directory.tenant(tenant_id)
    target = None if tenant is None else tenant.seen_in(mode).duplicate_target_fpir
    if target is None:
        return None
    calibration = await calibration_of(deps, tenant_id, mode)
    if calibration is None or calibration.model_id != deps.model_id:
        return None
    return threshold_for(calibration, target, deps.scale.native(SEARCH_FLOOR_SIMILARITY))


async def report(
    deps: Deps, tenant: Tenant, mode: Mode, targets: Sequence[float] = TARGETS
) -> Report:
    """What the world's last sweep says of thresholds.

    Raises `not_found` where no sweep has ended, or the last was of another model than this
    install's.
    """
    calibration = await deps.sweeps.calibration(tenant.id, mode)
    if calibration is None:
        raise ServeError(Code.NOT_FOUND, "no sweep of all customers is done: run `limen sweep`")
    if calibration.model_id != deps.model_id:
        raise ServeError(Code.NOT_FOUND, "the last sweep was of another model: sweep everybody")
    floor = deps.scale.native(SEARCH_FLOOR_SIMILARITY)
    found = {target: threshold_for(calibration, target, floor) for target in targets}
    followed = await duplicate_threshold(deps, tenant.id, mode)
    return Report(tenant.seen_in(mode), calibration, found, followed)


async def read_report(deps: Deps, principal: Principal) -> Report:
    """The same for who holds a key, of its world."""
    found = await report(deps, await tenant_of(deps, principal), principal.mode)
    entry = AuditEntry(Action.SWEEP_READ, principal.actor, found.calibration.sweep_id)
    await noted(deps, Concern(principal.tenant_id, principal.mode), entry)
    return found


async def set_target(deps: Deps, tenant_id: str, mode: Mode, target_fpir: float | None) -> Tenant:
    """The tenant once its duplicate gate follows this target in that world; None is the pack's
    threshold again. Raises `not_found`.
    """
    patch = TenantPatch(duplicate_target_fpir=target_fpir)
    return await change_tenant(
        deps,
        tenant_id,
        lambda tenant, now_ms: patched(tenant, patch, now_ms, mode),
        (Concern(tenant_id, mode), AuditEntry(Action.TENANT_CALIBRATED, OPERATOR)),
    )
