"""Sweeps as a tenant asks for them: created, looked at, canceled."""

from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY
from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.ids import Prefix, keyed_digest, make_id
from serve.domain.operation import Operation
from serve.domain.sweeps.sweep import (
    TARGET_FPIR_MAX,
    TARGET_FPIR_MIN,
    Sweep,
    SweepRequest,
    SweepStatus,
    home,
)
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows.audit import noted
from serve.observe import sweeps as metrics
from serve.ports import Page


async def create_sweep(
    deps: Deps, principal: Principal, request: SweepRequest, op: Operation
) -> Sweep:
    """A sweep of the key's world, queued; a repeat of `op` gets the same one, as it is by now.

    Raises `field_invalid`, `threshold_too_low`, `sweeps_too_many` and `storage_low`.
    """
    world = principal.tenant_id, principal.mode
    now_ms = await deps.directory.now_ms()
    _check(request, now_ms)
    if request.since_sweep:
        await _check_base(deps, principal, request)
    await deps.headroom.check()
    random = bytes.fromhex(keyed_digest(deps.pepper, "sweep", *world, op.id))
    asked = Sweep(
        id=make_id(Prefix.SWEEP, home(*world), random),
        tenant_id=principal.tenant_id,
        mode=principal.mode,
        request=request,
        model_id=deps.model_id,
        created_at_ms=now_ms,
    )
    created = await deps.sweeps.create(asked, op)
    await _note(deps, principal, AuditEntry(Action.SWEEP_CREATED, principal.actor, created.id))
    return created


async def sweep(deps: Deps, principal: Principal, sweep_id: str) -> Sweep:
    """One, as it stands. Raises `not_found`."""
    found = await known(deps, principal, sweep_id)
    entry = AuditEntry(Action.SWEEP_READ, principal.actor, found.id, found.status)
    await _note(deps, principal, entry)
    return found


async def page(deps: Deps, principal: Principal, cursor: str, limit: int) -> Page[Sweep]:
    """The world's, newest first. Raises `cursor_invalid`."""
    found = await deps.sweeps.page(principal.tenant_id, principal.mode, cursor, limit)
    entry = AuditEntry(Action.SWEEP_READ, principal.actor, count=len(found.items))
    await _note(deps, principal, entry)
    return found


async def cancel(
    deps: Deps,
    principal: Principal,
    sweep_id: str,
    op: Operation,  # noqa: ARG001 (canceling again changes nothing, whoever asks)
) -> Sweep:
    """The sweep, canceled: no tile of it is begun any more, and it shows nothing.

    Raises `not_found`, and `sweep_closed` for one that ended otherwise before.
    """
    before = await known(deps, principal, sweep_id)
    after = before
    if not before.status.is_over:
        entry = AuditEntry(Action.SWEEP_CANCELED, principal.actor, sweep_id)
        await _note(deps, principal, entry)
        world = principal.tenant_id, principal.mode
        after = await deps.sweeps.cancel(*world, sweep_id) or before
        if after.status is SweepStatus.CANCELED:
            metrics.count_ended(after.status)
    if after.status is not SweepStatus.CANCELED:
        raise ServeError(Code.SWEEP_CLOSED, f"the sweep is {after.status}")
    return after


async def known(deps: Deps, principal: Principal, sweep_id: str) -> Sweep:
    """One of the key's world. Raises `not_found`."""
    found = await deps.sweeps.one(principal.tenant_id, principal.mode, sweep_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such sweep")
    return found


def _check(request: SweepRequest, now_ms: int) -> None:
    """Raises `field_invalid` for what cannot be meant, and `threshold_too_low`."""
    threshold, target = request.threshold, request.target_fpir
    if threshold is not None and target is not None:
        raise _invalid("threshold, target_fpir: one of the two, not both")
    if threshold is not None and not 0 <= threshold <= 1:
        raise _invalid("threshold: a similarity is 0 to 1")
    if threshold is not None and threshold < SEARCH_FLOOR_SIMILARITY:
        detail = f"the model tells nobody apart below {SEARCH_FLOOR_SIMILARITY}"
        raise ServeError(Code.THRESHOLD_TOO_LOW, detail)
    if target is not None and not TARGET_FPIR_MIN <= target <= TARGET_FPIR_MAX:
        raise _invalid(f"target_fpir: {TARGET_FPIR_MIN} to {TARGET_FPIR_MAX}")
    if request.since_sweep and request.since_ms:
        raise _invalid("since: a sweep or a time, not both")
    if not 0 <= request.since_ms <= now_ms:
        raise _invalid("since: a time that has passed")


async def _check_base(deps: Deps, principal: Principal, request: SweepRequest) -> None:
    """Raises `field_invalid` where there is nothing to go on from."""
    try:
        base = await known(deps, principal, request.since_sweep)
    except ServeError as error:
        if error.code is Code.NOT_FOUND:
            raise _invalid("since: no such sweep") from error
        raise
    if base.status is not SweepStatus.DONE:
        raise _invalid(f"since: that sweep is {base.status}")
    if base.request.scope is not request.scope:
        raise _invalid("since: that sweep has another scope")
    if base.model_id != deps.model_id:
        raise _invalid("since: that sweep is of another model; sweep everybody")


def _invalid(detail: str) -> ServeError:
    return ServeError(Code.FIELD_INVALID, detail)


async def _note(deps: Deps, principal: Principal, entry: AuditEntry) -> None:
    await noted(deps, Concern(principal.tenant_id, principal.mode), entry)
