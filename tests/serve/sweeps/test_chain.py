"""Sweeps that go on from others: only what is new is compared, and rings are those of all."""

import pytest
from redis.asyncio import Redis

from serve.domain.sweeps.sweep import Sweep, SweepFailure, SweepStatus
from serve.flows.sweeps import results
from serve.store.vault.keyring import Keyring
from tests.serve.sweeps.scene import Scene, a_scene, like

MATCH = 0.5  # a similarity that strangers of these faces do not reach
Rings = set[frozenset[str]]


@pytest.fixture
def scene(link: Redis, keyring: Keyring) -> Scene:
    return a_scene(link, keyring)


async def gang(scene: Scene, name: str, number: int) -> None:
    """One person under so many names."""
    face = await scene.enrol(f"{name} 0")
    for each in range(1, number):
        await scene.enrol(f"{name} {each}", like(face, 0.98))


async def rings_of(scene: Scene, sweep: Sweep | None = None) -> Rings:
    """Members of a sweep's rings, or of the tenant's."""
    sweep_id = "" if sweep is None else sweep.id
    page = await results.rings(scene.deps, scene.live, sweep_id, "", 100)
    return {frozenset(ring.members) for ring in page.items}


def members(name: str, *numbers: int) -> frozenset[str]:
    return frozenset(f"{name} {each}" for each in numbers)


async def test_one_person_under_several_names_is_a_ring(scene: Scene) -> None:
    """A gang is one ring, strangers are in none, and the sweep's rings are the tenant's."""
    await gang(scene, "gang", 4)
    await scene.crowd(60)
    done = await scene.swept(threshold=MATCH)
    assert await rings_of(scene) == await rings_of(scene, done) == {members("gang", 0, 1, 2, 3)}
    assert done.rings == 1
    (ring,) = (await results.rings(scene.deps, scene.live, done.id, "", 10)).items
    assert await results.ring(scene.deps, scene.live, ring.id) == ring


async def test_a_delta_finds_the_difference(scene: Scene) -> None:
    """After a sweep, another from there on compares pairs with a new face alone, and finds exactly
    those; so does one from a time on.
    """
    await gang(scene, "gang", 3)
    await scene.crowd(40, "old")
    before = set(scene.people.enrolled)
    first = await scene.swept(threshold=0.36)
    since_ms = await scene.now_ms()
    await scene.enrol("gang 3", like(scene.vectors[scene.face("gang 0")], 0.98))
    await scene.crowd(30, "new")
    native = scene.deps.scale.native(0.36)
    wanted = set(scene.truth(native)) - set(scene.truth(native, before))
    delta_of_sweep = ""
    for since in ({"since_sweep": first.id}, {"since_ms": since_ms}):
        delta = await scene.swept(threshold=0.36, **since)
        assert delta.status is SweepStatus.DONE
        assert set(await scene.found(delta)) == wanted
        assert delta.compared == delta.to_compare == 74 * 73 // 2 - 43 * 42 // 2
        assert delta.base in {first.id, delta_of_sweep}
        delta_of_sweep = delta.id


async def test_a_chain_s_rings_are_a_full_sweep_s(scene: Scene) -> None:
    """Grown over what all of a chain found, sweep after sweep, they are those of all faces swept at
    once.
    """
    await gang(scene, "gang", 3)
    await gang(scene, "other", 2)
    await scene.crowd(30, "old")
    last = await scene.swept(threshold=MATCH)
    for number in range(3):
        await scene.enrol(f"gang {3 + number}", like(scene.vectors[scene.face("gang 0")], 0.98))
        await scene.enrol(f"other {2 + number}", like(scene.vectors[scene.face("other 1")], 0.98))
        await scene.crowd(5, f"new {number}")
        last = await scene.swept(threshold=MATCH, since_sweep=last.id)
    chained, ids = await rings_of(scene), await ring_ids(scene)
    await scene.swept(threshold=MATCH)
    assert await rings_of(scene) == chained
    assert await ring_ids(scene) == ids
    assert members("gang", *range(6)) in chained
    assert len(chained) == 2


async def ring_ids(scene: Scene) -> list[str]:
    page = await results.rings(scene.deps, scene.live, "", "", 100)
    return [ring.id for ring in page.items]


async def test_a_time_that_nobody_swept_up_to_gives_no_rings_of_all(scene: Scene) -> None:
    """Where nobody has compared those before, the rings of such a sweep are not the tenant's."""
    await gang(scene, "gang", 3)
    await scene.crowd(30)
    since_ms = await scene.now_ms()
    await gang(scene, "other", 3)
    partial = await scene.swept(threshold=MATCH, since_ms=since_ms)
    assert not partial.is_whole
    assert await rings_of(scene, partial) == {members("other", 0, 1, 2)}
    assert await rings_of(scene) == set()
    whole = await scene.swept(threshold=MATCH)
    assert whole.is_whole
    assert len(await rings_of(scene)) == 2


async def test_a_sweep_that_is_gone_cannot_be_gone_on_from(scene: Scene, link: Redis) -> None:
    """The sweep says so, and compares nothing."""
    await gang(scene, "gang", 3)
    first = await scene.swept(threshold=MATCH)
    asked = await scene.asked(threshold=MATCH, since_sweep=first.id)
    async for key in link.scan_iter(f"*:sweep:{first.id}*"):
        await link.delete(key)
    ended = await scene.carried_out(asked)
    assert (ended.status, ended.failure) == (SweepStatus.FAILED, SweepFailure.BASE_GONE)
    assert ended.detail


async def test_people_told_apart_are_in_no_ring_together(scene: Scene) -> None:
    """A reviewer's word is hard: whatever their faces say, the ring falls between the two."""
    await gang(scene, "twin", 4)
    await scene.crowd(30)
    await scene.swept(threshold=MATCH)
    assert await rings_of(scene) == {members("twin", 0, 1, 2, 3)}
    await scene.changed("twin 0", different_from=(scene.subject("twin 1").key,))
    await scene.swept(threshold=MATCH)
    (ring,) = await rings_of(scene)
    assert len(ring & members("twin", 0, 1)) == 1
    assert ring >= members("twin", 2, 3)
