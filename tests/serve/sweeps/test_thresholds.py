"""Sweeps that find their threshold, and those that are better given up."""

import pytest
from redis.asyncio import Redis

from serve.domain.sweeps.plan import keep_below
from serve.domain.sweeps.sweep import SweepFailure, SweepStatus, ThresholdSource
from serve.flows.sweeps import results
from serve.store.vault.keyring import Keyring
from tests.helpers.service import refusal
from tests.serve.sweeps.scene import Scene, a_scene, like

TARGET = 0.1  # shown by some seventy faces without one that errs


@pytest.fixture
def scene(link: Redis, keyring: Keyring) -> Scene:
    return a_scene(link, keyring)


async def test_a_sweep_finds_its_own_threshold(scene: Scene) -> None:
    """Asked for an error rate, the first sweep of a gallery takes the threshold from its own
    scores, and has all pairs from there on; the next takes what the first has shown.
    """
    face = await scene.enrol("double")
    await scene.enrol("again", like(face, 0.97))
    await scene.crowd(200)
    first = await scene.swept(target_fpir=TARGET)
    assert (first.status, first.threshold_source) == (
        SweepStatus.DONE, ThresholdSource.CALIBRATION,
    )  # fmt: skip
    assert first.threshold is not None
    assert set(await scene.found(first)) == set(scene.truth(first.threshold))
    assert 0.5 < first.threshold < 0.97
    second = await scene.asked(target_fpir=TARGET)
    planned = await scene.planned(second)
    assert (planned.threshold, planned.threshold_source) == (
        first.threshold, ThresholdSource.CALIBRATION,
    )  # fmt: skip
    done = await scene.carried_out(planned)
    assert set(await scene.found(done)) == set(await scene.found(first))


async def test_with_too_few_faces_the_model_s_threshold_holds(scene: Scene) -> None:
    """No error rate can be shown on twenty faces: the manifest's threshold is taken, and said."""
    await scene.crowd(20)
    done = await scene.swept(target_fpir=1e-3)
    manifest = scene.deps.scale.native(0.36)
    assert (done.threshold, done.threshold_source) == (manifest, ThresholdSource.MANIFEST)
    assert set(await scene.found(done)) == set(scene.truth(manifest))


async def test_tails_are_complete_from_where_they_say(scene: Scene) -> None:
    """Of the pairs below the threshold all are kept from `complete_from` on."""
    await scene.crowd(260)
    done = await scene.swept(threshold=0.45)
    pairs, tail = await scene.deps.sweeps.edges(done.id)
    kept = {tuple(sorted((pair.face_a, pair.face_b))) for pair in (*pairs, *tail)}
    assert kept == set(scene.truth(done.complete_from))
    tiles_keep = keep_below(done.faces, done.tiles, is_known=True) * done.tiles
    assert 0 < len(tail) <= tiles_keep
    assert all(pair.score < scene.deps.scale.native(0.45) for pair in tail)


async def test_a_threshold_that_is_none_is_given_up_early(scene: Scene) -> None:
    """A third of the way in it is clear that far too many pairs will be found: the sweep stops,
    says how many there were of how many, and names a threshold that would do, which does.
    """
    face = await scene.enrol("0")
    for number in range(1, 120):
        await scene.enrol(f"{number}", like(face, 0.9))
    asked = await scene.asked(threshold=0.30)
    pairs_max = 1_500
    failed = await scene.carried_out(asked, pairs_max=pairs_max, threads=1)
    assert (failed.status, failed.failure) == (SweepStatus.FAILED, SweepFailure.TOO_MANY_PAIRS)
    assert failed.tiles_done < failed.tiles / 3
    assert f"of {failed.compared:,} pairs" in failed.detail
    better = float(failed.detail.partition("A threshold of ")[2].split()[0])
    assert better > 0.30
    assert await refusal(results.pairs(scene.deps, scene.live, failed.id, "", 10)) == (
        "sweep_unfinished"
    )
    again = await scene.carried_out(await scene.asked(threshold=better), pairs_max=pairs_max)
    assert again.status is SweepStatus.DONE
    assert again.found <= pairs_max


async def test_pairs_say_what_chance_brings_at_their_score(scene: Scene) -> None:
    """The more alike two are, the fewer strangers chance shows at their score: by the sweep's own
    calibration.
    """
    await scene.crowd(150)
    done = await scene.swept(threshold=0.30)
    page = await results.pairs(scene.deps, scene.live, done.id, "", 100)
    bounds = [pair.expected.upper_bound for pair in page.items]
    assert len(bounds) > 1
    assert all(bound is not None for bound in bounds)
    assert bounds == sorted(bounds, key=lambda bound: bound or 0.0)
    scores = [pair.score for pair in page.items]
    assert scores == sorted(scores, reverse=True)
