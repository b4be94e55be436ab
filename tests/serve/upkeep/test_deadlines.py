"""What time does is written down and told, on a real store."""

import asyncio

from pipeline.decision.policy import LivenessPolicy
from serve.domain.session import REVIEW_MS_MAX, State
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code
from serve.flows.sessions import overview, status
from serve.flows.tenants import change_settings
from serve.flows.upkeep.deadlines import run_upkeep, sweep_deadlines
from tests.helpers.service import MINUTE_MS, WAIT_S, Service, refusal


async def test_an_expired_session_is_told_once(service: Service) -> None:
    """The sweep writes it down, counts it and tells; another sweep finds nothing."""
    service.clock.shift_ms = -10 * MINUTE_MS
    await service.ready()
    service.clock.shift_ms = 0
    assert await sweep_deadlines(service.deps) == 1
    assert await service.told() == ["expired"]
    assert (await overview(service.deps, service.live))["sessions.expired"] == 1
    assert await sweep_deadlines(service.deps) == 0
    assert (await service.only_session()).state is State.EXPIRED
    assert (await service.opened()).is_required
    assert await service.told() == ["expired"]


async def test_what_is_not_due_is_left_alone(service: Service) -> None:
    """An open session, and one that ended by itself, are none of the sweep's business."""
    token = await service.ready()
    await service.submitted(token, "face 0")
    await service.opened()
    assert await sweep_deadlines(service.deps) == 0
    assert await service.told() == ["approved"]


async def test_a_lease_that_ran_out_is_released(service: Service) -> None:
    """Nobody is told, no attempt is counted, and the session takes another capture."""
    service.clock.shift_ms = -MINUTE_MS
    token = await service.ready()
    async with service.faces.held() as arrived:
        lost = asyncio.create_task(service.submitted(token, "face 60"))
        await arrived.wait()
        service.clock.shift_ms = 0
        assert await sweep_deadlines(service.deps) == 1
        counts = await overview(service.deps, service.live)
        assert (counts["sessions.processing"], counts["sessions.pending"]) == (0, 1)
    assert await refusal(lost) == Code.SERVICE_UNAVAILABLE
    assert await service.callbacks() == []
    assert (await service.submitted(token, "face 0")).http_status == 200
    assert (await service.only_session()).tries == 1


async def test_a_superseded_session_ends_when_its_lease_does(service: Service) -> None:
    """One that was left to finish and never did is canceled, for another is open in its place."""
    service.clock.shift_ms = -MINUTE_MS
    token = await service.ready()
    async with service.faces.held() as arrived:
        lost = asyncio.create_task(service.submitted(token, "face 60"))
        await arrived.wait()
        newer = await service.opened(reference="order-2")
        service.clock.shift_ms = 0
        assert await sweep_deadlines(service.deps) == 1
    assert await refusal(lost) == Code.SERVICE_UNAVAILABLE
    assert (await status(service.deps, token)).status == "canceled"
    assert (await status(service.deps, newer.token)).status == "pending"
    assert await service.told() == ["canceled"]


async def test_a_review_that_nobody_made_expires(service: Service) -> None:
    """After 30 days it is told, and the capture kept for it is gone."""
    patch = TenantPatch(liveness_policy=LivenessPolicy.REQUIRED, session_retention_days=60)
    await change_settings(service.deps, service.tenant.id, patch)
    token = await service.ready()
    await service.submitted(token, "face 0")
    (deadlines,) = await service.keys("*:deadlines")
    session = await service.only_session()
    await service.link.zadd(deadlines, {session.id: 0})  # what the queue will say by then
    service.clock.shift_ms = REVIEW_MS_MAX
    assert await sweep_deadlines(service.deps) == 1
    assert (await service.only_session()).state is State.EXPIRED
    assert (await service.told())[-1] == "expired"
    assert await service.keys("*:capture:*") == []


async def test_the_loop_sweeps_until_it_is_stopped(service: Service) -> None:
    """A session that expires while it runs is told without anybody asking."""
    service.clock.shift_ms = -10 * MINUTE_MS
    token = await service.ready()
    service.clock.shift_ms = 0
    stop = asyncio.Event()
    loop = asyncio.create_task(run_upkeep(service.deps, stop))
    async with asyncio.timeout(WAIT_S):
        async for _ in service.deps.outbox.wakeups():
            if await service.callbacks():
                break
        stop.set()
        await loop
    assert (await status(service.deps, token)).status == "expired"
