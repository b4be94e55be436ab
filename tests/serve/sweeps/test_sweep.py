"""A whole sweep: every pair that brute force finds, none twice, pinned to when it began."""

import pytest
from redis.asyncio import Redis

from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.search.gallery import GalleryKind, blocked_customer_id
from serve.domain.sweeps.sweep import (
    ACTIVE_MAX,
    SweepRequest,
    SweepScope,
    SweepStatus,
    ThresholdSource,
)
from serve.flows.sweeps import ask, results
from serve.flows.transact import new_operation
from serve.store.vault.keyring import Keyring
from tests.helpers.records import an_id
from tests.helpers.service import refusal
from tests.serve.sweeps.scene import Edges, Scene, a_scene, like, principal, stranger

NEAR = 1e-3


@pytest.fixture
def scene(link: Redis, keyring: Keyring) -> Scene:
    return a_scene(link, keyring)


def tiles_of(faces: int, size: int = 16) -> int:
    blocks = -(-faces // size)
    return blocks * (blocks + 1) // 2


def agree(found: Edges, expected: Edges) -> bool:
    """The same pairs, with the same scores to float64."""
    close = all(abs(found.get(pair, 9.0) - score) < 1e-12 for pair, score in expected.items())
    return set(found) == set(expected) and close


@pytest.mark.parametrize("similarity", [0.30, 0.36, 0.40])
async def test_a_sweep_finds_what_brute_force_finds(scene: Scene, similarity: float) -> None:
    """Cut into many small tiles, the pairs are those of float64, with its scores; counts agree."""
    await scene.crowd(150)
    done = await scene.swept(threshold=similarity)
    native = scene.deps.scale.native(similarity)
    expected = scene.truth(native)
    assert done.status is SweepStatus.DONE
    assert agree(await scene.found(done), expected)
    assert (done.threshold, done.threshold_source) == (native, ThresholdSource.REQUEST)
    assert (done.faces, done.customers, done.found) == (150, 150, len(expected))
    assert done.tiles == done.tiles_done == tiles_of(150)
    assert done.compared == done.to_compare == 150 * 149 // 2


async def test_a_thousand_faces_in_many_tiles(scene: Scene) -> None:
    """Of half a million pairs every one is looked at once."""
    await scene.crowd(1_000)
    done = await scene.carried_out(await scene.asked(threshold=0.4), block_size=64)
    assert (done.tiles, done.compared) == (tiles_of(1_000, 64), 1_000 * 999 // 2)
    assert agree(await scene.found(done), scene.truth(scene.deps.scale.native(0.4)))


async def test_planted_pairs_are_found_from_the_threshold_on(scene: Scene) -> None:
    """Of pairs a thousandth above and below it those above are found, all, and none of the others,
    wherever the two stand.
    """
    native = scene.deps.scale.native(0.5)
    above: list[int] = []
    below: list[int] = []
    for number in range(24):
        face = await scene.enrol(f"left {number}")
        is_above = number % 2 == 0
        await scene.enrol(f"right {number}", like(face, native + (NEAR if is_above else -NEAR)))
        (above if is_above else below).append(number)
    await scene.crowd(60)
    found = await scene.found(await scene.swept(threshold=0.5))

    def planted(number: int) -> tuple[str, str]:
        one, other = sorted((scene.face(f"left {number}"), scene.face(f"right {number}")))
        return one, other

    assert all(planted(number) in found for number in above)
    assert not any(planted(number) in found for number in below)
    assert agree(found, scene.truth(native))


async def test_a_gallery_of_nobody_is_swept_at_once(scene: Scene) -> None:
    """There is nothing to compare: it is done, and shows nothing."""
    done = await scene.swept()
    assert (done.status, done.tiles, done.found) == (SweepStatus.DONE, 0, 0)
    assert (await results.pairs(scene.deps, scene.live, done.id, "", 10)).items == ()


async def test_faces_of_one_customer_are_no_pair(scene: Scene) -> None:
    """However alike a customer's faces are, in one block or in two, they are mates: counted apart
    from what was compared, and never told.
    """
    await scene.crowd(20)
    face = await scene.enrol("twice")
    await scene.again("twice", like(face, 0.99))
    await scene.crowd(20, "another")
    done = await scene.swept(threshold=0.5)
    assert (done.faces, done.customers, done.mates) == (42, 41, 1)
    assert done.compared == done.to_compare == 42 * 41 // 2 - 1
    assert await scene.found(done) == {}


async def test_a_sweep_is_pinned_to_when_it_began(scene: Scene) -> None:
    """Who comes after the plan is not in it; who goes before the end is in nothing it shows."""
    face = await scene.enrol("kept")
    await scene.enrol("gone", like(face, 0.95))
    await scene.enrol("twin", like(face, 0.95))
    await scene.crowd(40)
    asked = await scene.asked(threshold=0.5)
    planned = await scene.planned(asked)
    await scene.enrol("late", like(face, 0.95))
    await scene.people.erase("gone")
    done = await scene.carried_out(planned)
    one, other = sorted((scene.face("kept"), scene.face("twin")))
    assert done.faces == 43
    assert set(await scene.found(done)) == {(one, other)}


async def test_who_goes_between_tiles_and_end_is_not_told(scene: Scene) -> None:
    """A pair that a tile had found goes with either customer: neither list names them."""
    face = await scene.enrol("kept")
    await scene.enrol("gone", like(face, 0.95))
    running = await scene.planned(await scene.asked(threshold=0.5))
    await scene.tiles_done(running)
    await scene.people.erase("gone")
    done = await scene.carried_out(running)
    assert (done.status, done.found, done.rings) == (SweepStatus.DONE, 0, 0)
    pairs, tail = await scene.deps.sweeps.edges(done.id)
    assert [*pairs, *tail] == []


async def test_the_blocklist_is_swept_against_everybody(scene: Scene) -> None:
    """Each pair is a customer and an entry of the blocklist, named by its id; neither customers nor
    entries are compared among themselves, and there are no rings of it.
    """
    face = await scene.enrol("wanted")
    await scene.enrol("also", like(face, 0.95))
    blocked = like(face, 0.95)
    block_id = an_id(Prefix.BLOCK, 0, 7)
    name = blocked_customer_id(block_id)
    await scene.enrol(name, blocked, kind=GalleryKind.BLOCKED)
    await scene.enrol(blocked_customer_id(an_id(Prefix.BLOCK, 0, 8)), like(blocked, 0.95),
                      kind=GalleryKind.BLOCKED)  # fmt: skip
    await scene.crowd(20)
    done = await scene.swept(threshold=0.4, scope=SweepScope.BLOCKED)
    assert (done.faces, done.compared, done.rings) == (22, 44, 0)
    page = await results.pairs(scene.deps, scene.live, done.id, "", 100)
    told = {(pair.customer_a, partition_of(Prefix.BLOCK, pair.customer_b)) for pair in page.items}
    assert {each for each, _ in told} >= {"wanted", "also"}
    assert all(pair.face_a != scene.face(name) for pair in page.items)
    mine = scene.subject(name).partition
    assert ("wanted", mine) in told
    assert any(pair.customer_b.endswith(block_id[6:]) for pair in page.items)
    assert await scene.deps.sweeps.latest(*scene.world) is None


async def test_worlds_never_meet(scene: Scene, link: Redis, keyring: Keyring) -> None:
    """Another tenant, and the same one in test mode, have the same faces: a sweep looks at its own
    world alone, and nobody else can see it, cancel it or read what it came to.
    """
    face = await scene.enrol("mine")
    other = a_scene(link, keyring, "ten_other")
    await other.enrol("theirs", face, tenant="ten_other")
    await scene.people.enrol("tried", scene.people.enrolled["mine"].template, mode=Mode.TEST)
    done = await scene.swept(threshold=0.3)
    assert (done.faces, done.found) == (1, 0)
    for who in (other.live, principal(mode=Mode.TEST)):
        deps = scene.deps
        assert await refusal(ask.sweep(deps, who, done.id)) == "not_found"
        assert await refusal(ask.cancel(deps, who, done.id, new_operation(deps))) == "not_found"
        assert await refusal(results.pairs(deps, who, done.id, "", 10)) == "not_found"
        assert await refusal(results.rings(deps, who, done.id, "", 10)) == "not_found"
        assert (await ask.page(deps, who, "", 10)).items == ()
        request = SweepRequest(since_sweep=done.id)
        asking = ask.create_sweep(deps, who, request, new_operation(deps))
        assert await refusal(asking) == "field_invalid"
        assert (await results.rings(deps, who, "", "", 10)).items == ()


async def test_what_cannot_be_meant_is_refused(scene: Scene) -> None:
    """A threshold and a target, a threshold that tells nobody apart, a time to come, a sweep of
    another scope or one that is not done to go on from; and one more than may be under way.
    """
    done = await scene.swept()

    async def asking(**request: object) -> str:
        return await refusal(scene.asked(**request))

    assert await asking(threshold=0.4, target_fpir=1e-3) == "field_invalid"
    assert await asking(threshold=1.5) == "field_invalid"
    assert await asking(threshold=0.29) == "threshold_too_low"
    assert await asking(target_fpir=0.9) == "field_invalid"
    assert await asking(since_ms=10**14) == "field_invalid"
    assert await asking(since_sweep=done.id, since_ms=5) == "field_invalid"
    assert await asking(since_sweep=done.id, scope=SweepScope.BLOCKED) == "field_invalid"
    queued = await scene.asked()
    assert await asking(since_sweep=queued.id) == "field_invalid"
    for _ in range(ACTIVE_MAX - 1):
        await scene.asked()
    assert await asking(threshold=0.4) == "sweeps_too_many"


async def test_one_operation_makes_one_sweep(scene: Scene) -> None:
    """Asked again under the same operation, there is one sweep, as it is by now."""
    op = new_operation(scene.deps)
    first = await ask.create_sweep(scene.deps, scene.live, SweepRequest(threshold=0.4), op)
    await scene.carried_out(first)
    again = await ask.create_sweep(scene.deps, scene.live, SweepRequest(threshold=0.4), op)
    assert (again.id, again.status) == (first.id, SweepStatus.DONE)
    assert len((await ask.page(scene.deps, scene.live, "", 10)).items) == 1


async def test_another_model_s_faces_are_not_compared(scene: Scene) -> None:
    """Only the gallery of the install's model is swept; a sweep of an older model is given up."""
    await scene.enrol("one", stranger())
    queued = await scene.asked()
    other = scene.of_model("another")
    given_up = await other.carried_out(queued)
    assert (given_up.status, given_up.failure) == (SweepStatus.FAILED, "model_changed")
    done = await other.swept()
    assert done.faces == 0
