"""What is known beside faces counts at the end of a sweep: reviewers' words, and second signals."""

import pytest
from redis.asyncio import Redis

from serve.domain.change import Change
from serve.domain.customer import Flagged
from serve.domain.ids import Prefix
from serve.domain.search.duplicate import DuplicateFlag, FlagStatus
from serve.domain.sweeps.sweep import Sweep
from serve.flows.sweeps import results
from serve.store.vault.keyring import Keyring
from tests.helpers.records import NOW_MS, an_id
from tests.serve.sweeps.scene import Scene, a_scene, like

MATCH = 0.36
PHONE = f"phone:{'0' * 32}"


@pytest.fixture
async def scene(link: Redis, keyring: Keyring) -> Scene:
    """Two pairs alike among a hundred strangers, no more alike than chance may have it."""
    made = a_scene(link, keyring)
    for name in ("left", "right"):
        face = await made.enrol(f"{name} 0")
        await made.enrol(f"{name} 1", like(face, 0.7))
    await made.crowd(100)
    return made


async def flagged(scene: Scene, status: FlagStatus) -> None:
    """A flag of the left pair, as a reviewer left it."""
    subject, other = scene.subject("left 0"), scene.subject("left 1")
    snapshot = await scene.deps.ledger.snapshot(subject)
    assert snapshot.customer is not None
    flag = DuplicateFlag(
        id=an_id(Prefix.FLAG, subject.partition, 7), tenant_id=subject.tenant_id,
        mode=subject.mode, score=0.4, status=status,
        verification_id=an_id(Prefix.VERIFICATION, subject.partition, 7),
        matched_verification_id=f"ver_{scene.face('left 1').partition('_')[2]}",
        matched_subject=other.locator, created_at_ms=NOW_MS, updated_at_ms=NOW_MS,
    )  # fmt: skip
    known = {"flags": (Flagged(flag_id=flag.id, other=other.key),)}
    change = Change(snapshot.customer.model_copy(update=known), flags=(flag,))
    await scene.deps.ledger.commit(snapshot, change, "flag")


async def counted(scene: Scene, sweep: Sweep) -> tuple[int, int]:
    """Pairs that were taken for one person by a reviewer's word, and by what else is known."""
    found = await scene.deps.sweeps.calibration(*scene.world)
    assert found is not None
    assert found.sweep_id == sweep.id
    return found.confirmed, found.presumed


@pytest.mark.parametrize(("status", "confirmed"), [(FlagStatus.RESOLVED, 1), (FlagStatus.OPEN, 0)])
async def test_what_a_reviewer_confirmed_is_no_error(
    scene: Scene, status: FlagStatus, confirmed: int
) -> None:
    """Two whom a reviewer called one person do not count among strangers; an open flag says
    nothing.
    """
    await flagged(scene, status)
    done = await scene.swept(threshold=MATCH)
    assert await counted(scene, done) == (confirmed, 0)


async def test_a_shared_signal_ties_two_who_are_alike(scene: Scene) -> None:
    """Of two pairs as alike as each other the one that gave one phone is a ring, held together by
    that; the other is none. The signal is told by its kind.
    """
    for name in ("left 0", "left 1", "one 7"):
        await scene.changed(name, signals=(PHONE,))
    done = await scene.swept(threshold=MATCH)
    assert await counted(scene, done) == (0, 1)
    page = await results.rings(scene.deps, scene.live, done.id, "", 10)
    (ring,) = page.items
    assert set(ring.members) == {"left 0", "left 1"}
    assert (ring.shared, ring.held_together_by) == (("phone",), "signals")
