"""A whole sweep: every pair that brute force finds, none twice, pinned to when it began."""

import pytest
from redis.asyncio import Redis

from serve.domain.sweeps.sweep import SweepStatus, ThresholdSource
from serve.store.vault.keyring import Keyring
from tests.serve.sweeps.scene import Scene, a_scene


@pytest.fixture
def scene(link: Redis, keyring: Keyring) -> Scene:
    return a_scene(link, keyring)


def tiles_of(faces: int, size: int) -> int:
    blocks = -(-faces // size)
    return blocks * (blocks + 1) // 2


@pytest.mark.parametrize("similarity", [0.30, 0.36, 0.40])
async def test_a_sweep_finds_what_brute_force_finds(scene: Scene, similarity: float) -> None:
    """Cut into many small tiles, the pairs are those of float64, with its scores; counts agree."""
    await scene.crowd(150)
    done = await scene.swept(threshold=similarity)
    assert done.status is SweepStatus.DONE, done
    native = scene.deps.scale.native(similarity)
    expected = scene.truth(native)
    found = await scene.found(done)
    assert set(found) == set(expected)
    assert all(abs(found[pair] - score) < 1e-12 for pair, score in expected.items())
    assert (done.threshold, done.threshold_source) == (native, ThresholdSource.REQUEST)
    assert (done.faces, done.customers, done.found) == (150, 150, len(expected))
    assert done.tiles == done.tiles_done == tiles_of(150, 16)
    assert done.compared == done.to_compare == 150 * 149 // 2
