"""What sweeps came to, read: in the tenant's names, page by page, without whoever has gone."""

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from pipeline.errors import Code as PipelineCode
from serve.domain.audit import Action
from serve.domain.sweeps.sweep import SweepStatus
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows.audit import Query, page
from serve.flows.sweeps import ask, results
from serve.flows.sweeps.upkeep import forget_gone
from serve.flows.tenants import create_tenant
from serve.flows.transact import new_operation
from serve.store.vault.keyring import Keyring
from tests.helpers.service import refusal
from tests.serve.sweeps.scene import Scene, a_scene, like

MATCH = 0.5


@pytest.fixture
async def scene(link: Redis, keyring: Keyring) -> Scene:
    """A gang of five among thirty strangers, of a tenant that exists."""
    bare = a_scene(link, keyring)
    tenant = (await create_tenant(bare.deps, "Shop", TenantPatch())).tenant
    made = a_scene(link, keyring, tenant.id)
    face = await made.enrol("gang 0", tenant=tenant.id)
    for number in range(1, 5):
        await made.enrol(f"gang {number}", like(face, 0.98), tenant=tenant.id)
    for number in range(30):
        await made.enrol(f"one {number}", tenant=tenant.id)
    return made


async def every_pair(scene: Scene, sweep_id: str, limit: int) -> list[results.FoundPair]:
    found: list[results.FoundPair] = []
    cursor = ""
    while True:
        page = await results.pairs(scene.deps, scene.live, sweep_id, cursor, limit)
        found += page.items
        cursor = page.next_cursor
        if not cursor:
            return found


async def test_pages_make_the_whole(scene: Scene) -> None:
    """Page by page all pairs are told once, in one order, in the tenant's own names."""
    done = await scene.swept(threshold=MATCH)
    whole = await every_pair(scene, done.id, 100)
    assert await every_pair(scene, done.id, 3) == whole
    assert len(whole) == done.found == 10
    assert {pair.customer_a for pair in whole} <= {f"gang {number}" for number in range(5)}
    assert all(pair.customer_a != pair.customer_b for pair in whole)


async def test_the_erased_vanish_at_once_and_are_forgotten(scene: Scene) -> None:
    """From the moment that a customer is gone no pair and no ring tells of them; upkeep takes them
    out of what is kept, and the rest stays.
    """
    done = await scene.swept(threshold=MATCH)
    gone = scene.subject("gang 2").key
    await scene.people.erase("gang 2")
    pairs = await every_pair(scene, done.id, 100)
    assert len(pairs) == 6
    (ring,) = (await results.rings(scene.deps, scene.live, done.id, "", 10)).items
    assert len(ring.members) == 4
    assert "gang 2" not in {*ring.members, ring.medoid, *ring.without}
    assert "gang 2" not in {end for edge in ring.tree for end in (edge.customer_a, edge.customer_b)}
    assert await forget_gone(scene.deps) >= 4
    kept, tail = await scene.deps.sweeps.edges(done.id)
    assert not any(gone in {pair.subject_a, pair.subject_b} for pair in (*kept, *tail))
    assert not any(gone in each.members for each in await scene.deps.sweeps.rings(done.id))
    assert await every_pair(scene, done.id, 100) == pairs
    assert await forget_gone(scene.deps) == 0


async def test_who_comes_again_is_somebody_new(scene: Scene) -> None:
    """A customer who was erased and enrolled again has none of the old one's pairs."""
    done = await scene.swept(threshold=MATCH)
    tenant_id = scene.live.tenant_id
    await scene.people.erase("gang 2")
    await scene.enrol("gang 2", tenant=tenant_id)
    assert len(await every_pair(scene, done.id, 100)) == 6
    assert await forget_gone(scene.deps) >= 4


async def test_reading_is_in_the_trail(scene: Scene) -> None:
    """Who asked for a sweep, looked at it, at its pairs and rings, and how it ended."""
    done = await scene.swept(threshold=MATCH)
    await ask.sweep(scene.deps, scene.live, done.id)
    await results.pairs(scene.deps, scene.live, done.id, "", 3)
    (ring,) = (await results.rings(scene.deps, scene.live, "", "", 10)).items
    await results.ring(scene.deps, scene.live, ring.id)
    found = await page(scene.deps, scene.live, Query(limit=100))
    told = [(each.entry.action, each.entry.outcome, each.entry.count) for each in found.items
            if each.entry.target in {done.id, ring.id}]  # fmt: skip
    assert told == [
        (Action.RING_READ, "", None),
        (Action.RING_READ, "", 1),
        (Action.SWEEP_READ, "", 3),
        (Action.SWEEP_READ, "done", None),
        (Action.SWEEP_ENDED, "done", None),
        (Action.SWEEP_CREATED, "", None),
    ]


async def test_an_unfinished_sweep_shows_nothing(scene: Scene) -> None:
    """Neither pairs nor rings, until it is done; and no ring that is not there."""
    queued = await scene.asked(threshold=MATCH)
    for asking in (results.pairs, results.rings):
        found = await refusal(asking(scene.deps, scene.live, queued.id, "", 10))
        assert found == "sweep_unfinished"
    assert await refusal(results.ring(scene.deps, scene.live, "ring")) == "not_found"
    op = new_operation(scene.deps)
    canceled = await ask.cancel(scene.deps, scene.live, queued.id, op)
    assert canceled.status is SweepStatus.CANCELED
    assert await ask.cancel(scene.deps, scene.live, queued.id, op) == canceled
    done = await scene.swept(threshold=MATCH)
    assert await refusal(ask.cancel(scene.deps, scene.live, done.id, op)) == "sweep_closed"
    assert await refusal(results.rings(scene.deps, scene.live, done.id, "x", 10)) == (
        "cursor_invalid"
    )


async def test_scores_of_another_model_are_not_told(scene: Scene) -> None:
    """Once the install compares by another model, whose scale is another, an older sweep's pairs
    and rings are refused, and the tenant has no rings until it sweeps again.
    """
    done = await scene.swept(threshold=MATCH)
    moved = replace(scene.deps, model_id="another.1")
    for told in (results.pairs, results.rings):
        refused = await refusal(told(moved, scene.live, done.id, "", 10))
        assert refused == PipelineCode.MODEL_MISMATCH
    assert (await results.rings(scene.deps, scene.live, "", "", 10)).items
    assert not (await results.rings(moved, scene.live, "", "", 10)).items
