"""The sweep's benchmark in its shortest form, its oracles, and whether it notices who misses."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from index import yardstick
from index.entry import Vectors
from index.sweep.blas import BlasKernel
from index.sweep.block import Swept
from index.sweep.grid import Tile
from index.sweep.kernel import Named
from index.yardstick import Joined
from serve.bench.measure import Timing
from serve.bench.search.gallery import Latency, Size
from serve.bench.sweeps import speed
from serve.bench.sweeps.crowd import NEAR, THRESHOLD, Crowd, crowd, keys
from serve.bench.sweeps.figures import (
    GEMM,
    LIMEN,
    Checked,
    Pace,
    Planted,
    Sweeping,
    Whole,
)
from serve.bench.sweeps.goals import goals
from serve.bench.sweeps.gpu import FACES, FLOOR_S, Gpu, measure_gpu
from serve.bench.sweeps.live import Live, measure_live
from serve.bench.sweeps.peers import KNN, PLAIN, RANGE, joins, judged
from serve.bench.sweeps.speed import CHECKED, Job, all_threads, check, measure_sweep
from serve.pictures.sweep_bench import sweeps_figure

SIZE = Size(300, 64, has_graphs=False)
SMALL = 128  # faces of a block, so that few faces are many tiles


def silent(what: str) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """Three blocks of few faces."""
    monkeypatch.setattr(speed, "block_size", lambda old, new: SMALL)
    return Job.of(BlasKernel(), crowd(SIZE.faces, SIZE.dimension, 1))


def score(templates: Vectors, pairs: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    wide = templates.astype(np.float64)
    return np.einsum("nd,nd->n", wide[pairs[:, 0]], wide[pairs[:, 1]])


def test_planted_pairs_score_what_they_should() -> None:
    """A thousandth above the threshold and below it, second photos above; each row is in one."""
    made = crowd(2_000, 128, 3)
    assert score(made.templates, made.above) == pytest.approx(THRESHOLD + NEAR, abs=1e-6)
    assert score(made.templates, made.below) == pytest.approx(THRESHOLD - NEAR, abs=1e-6)
    assert score(made.templates, made.mates).min() >= THRESHOLD
    assert len(made.above) == len(made.below) == 50 >= len(made.mates) > 30
    rows = np.concatenate([made.above, made.below, made.mates]).ravel()
    assert len(set(rows.tolist())) == len(rows)
    assert np.abs(np.linalg.norm(made.templates, axis=1) - 1).max() < 1e-6
    assert np.array_equal(crowd(2_000, 128, 3).templates, made.templates)


def test_joins_find_what_float64_finds() -> None:
    """Rivals and oracle name the same pairs, over more rows than are joined at once."""
    made = crowd(2 * yardstick.JOIN_ROWS + 10, 64, 5)
    templates = made.templates
    joined, scores = yardstick.exact_join(templates, THRESHOLD)
    every = templates.astype(np.float64) @ templates.astype(np.float64).T
    rows, columns = np.nonzero(np.triu(every, 1) >= THRESHOLD)
    assert np.array_equal(np.stack([joined.probes, joined.rows]), np.stack([rows, columns]))
    assert scores == pytest.approx(every[rows, columns], abs=1e-12)
    found = np.stack([rows, columns], axis=1)
    for name, join in joins(templates, BlasKernel()).items():
        assert judged(join, templates, found) == (0, 0), name


def test_a_rival_that_forgets_is_found_out() -> None:
    """Pairs that it misses, and pairs that it makes up, are counted apart."""
    made = crowd(400, 64, 5)
    joined, _ = yardstick.exact_join(made.templates, THRESHOLD)
    found = np.stack([joined.probes, joined.rows], axis=1)

    def forgetful(probes: Vectors, low: float) -> Joined:
        assert low == THRESHOLD
        return Joined(np.append(joined.probes[3:], [0, 0]), np.append(joined.rows[3:], [398, 399]))

    assert judged(forgetful, made.templates, found) == (3, 2)


def test_a_job_is_cut_as_the_service_cuts_it(job: Job) -> None:
    """Blocks of one size but the last, every pair of blocks once, and rows of the whole gallery."""
    assert [len(loaded.block) for loaded in job.blocks] == [SMALL, SMALL, 44]
    assert len(job.tiles) == 6
    results = job.sweep(2)
    assert sum(swept.compared for _, swept in results) == 300 * 299 // 2
    found = keys(job.found(results), 300)
    joined, _ = yardstick.exact_join(job.crowd.templates, THRESHOLD)
    assert np.array_equal(found, keys(np.stack([joined.probes, joined.rows], axis=1), 300))
    tiles, pairs = job.sample()
    assert not any(tile.is_diagonal for tile in tiles)
    assert pairs == sum(
        len(job.blocks[t.row].block) * len(job.blocks[t.column].block) for t in tiles
    )


def test_one_gallery_is_measured() -> None:
    """Everybody has figures, the sweep finds what was planted, and float64 finds the same."""
    found = measure_sweep(BlasKernel(), SIZE, 1, 1, silent, [BlasKernel()])
    assert (found.above.found, found.below.found) == (found.above.planted, 0) == (7, 0)
    assert found.mates.found == found.mates.planted
    counts = sorted({1, speed.all_threads()})
    assert [each.threads for each in found.wholes] == counts
    assert all(each.wall_s > 0 for each in found.wholes)
    assert {(each.threshold, each.threads) for each in found.checked} == {
        (threshold, threads) for threshold in CHECKED for threads in counts
    }
    assert {each.different for each in found.checked} == {0}
    assert max(each.pairs for each in found.checked) > found.found
    assert [(each.name, each.missed, each.wrong) for each in found.peers] == [
        (RANGE, 0, 0), (KNN, 0, 0), (PLAIN.format("numpy float32"), 0, 0)
    ]  # fmt: skip
    assert set(found.speeds(counts[-1])) == {LIMEN, GEMM, *(each.name for each in found.peers)}
    assert set(found.shares()) == set(found.whole_shares()) == set(counts)
    names = [goal.name for goal in goals([found])]
    assert names.count("planted pairs missed, or found below the threshold") == 1


class Blinking(BlasKernel):
    """Leaves out what is in its first row."""

    def above(
        self, first: Vectors, second: Vectors, low: float, *, is_diagonal: bool = False
    ) -> Named:
        for rows, columns, scores in BlasKernel.above(
            self, first, second, low, is_diagonal=is_diagonal
        ):
            seen = rows > 0
            yield rows[seen], columns[seen], scores[seen]


def test_a_kernel_that_misses_is_found_out(job: Job) -> None:
    """One pair less than float64 has is one that differs, at every threshold below it."""
    templates = job.crowd.templates.copy()
    templates[200] = templates[0]
    nobody = np.empty((0, 2), np.int64)
    blinking = Job.of(Blinking(), Crowd(templates, nobody, nobody, nobody))
    assert all(each.different >= 1 for each in check(blinking, [1]))
    honest = Job.of(BlasKernel(), blinking.crowd)
    assert [each.different for each in check(honest, [1])] == [0] * len(CHECKED)


class Doubling(Job):
    """Sweeps its first tile twice."""

    def sweep(self, *args: Any, **named: Any) -> list[tuple[Tile, Swept]]:
        results = Job.sweep(self, *args, **named)
        return [*results, results[0]]


def test_a_pair_that_is_found_twice_differs(job: Job) -> None:
    """A set may not hide what came more than once."""
    again = Doubling(job.kernel, job.crowd, job.block, job.blocks, job.tiles, 0.0)
    assert sum(each.different for each in check(again, [1])) > 0


def sweeping(ours: float, gemm: float, **changes: Any) -> Sweeping:
    """A gallery whose tiles ran at so many pairs a second."""
    paces = [Pace(name, 1, Timing(0.0, 2e6 / per_s, per_s, 1)) for name, per_s in
             ((LIMEN, ours), (GEMM, gemm))]  # fmt: skip
    whole = Planted(10, 10)
    made = Sweeping(
        faces=1_001, dimension=64, kernel="k", block=2_048, tiles=1, found=0, mates=whole,
        above=whole, below=Planted(10, 0), templates_bytes=1, load_s=0.0,
        wholes=[Whole(1, 1.0, 1.0, 0)], paces=paces, peers=[],
        checked=[Checked(THRESHOLD, 1, 20, 0)],
    )  # fmt: skip
    return replace(made, **changes)


def met(found: Sequence[Sweeping]) -> list[bool]:
    return [goal.is_met for goal in goals(found)]


def test_goals_are_shares_of_a_bare_product() -> None:
    """0.6 of it will do, of tiles and of the whole; a pair missed, made up or other spoils one."""
    good = sweeping(600_000, 800_000)
    assert good.shares() == {1: 0.75}
    assert good.cpu_shares() == {1: pytest.approx(0.75)}
    assert good.whole_shares() == {1: pytest.approx(500_500 / 800_000)}
    assert met([good]) == [True] * 4
    assert met([sweeping(400_000, 800_000)]) == [False, True, True, True]
    assert met([replace(good, wholes=[Whole(1, 1.1, 1.0, 0)])]) == [True, False, True, True]
    for missed in (replace(good, mates=Planted(10, 9)), replace(good, above=Planted(10, 9))):
        assert met([missed])[2:] == [False, True]
    assert met([replace(good, below=Planted(10, 1))])[2:] == [False, True]
    other = [Checked(THRESHOLD, 1, 20, 0), Checked(0.93, 1, 40, 1)]
    assert met([replace(good, checked=other)])[2:] == [True, False]
    assert len(met([replace(good, checked=[])])) == 3


def test_galleries_are_named_beside_each_other() -> None:
    """The labels of the usual run, of two kernels each, do not run into one another."""
    sizes = (20_000, 128), (100_000, 128), (20_000, 512)
    kernels = "numpy float32", "torch bfloat16 on cpu"
    paces = [replace(pace, threads=all_threads()) for pace in sweeping(6e8, 8e8).paces]
    galleries = [
        sweeping(6e8, 8e8, faces=faces, dimension=dimension, kernel=kernel, paces=paces)
        for faces, dimension in sizes
        for kernel in kernels
    ]
    figure = sweeps_figure(galleries, None, None)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(boxes) == len(galleries)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_tiles_of_a_device_are_scaled_up() -> None:
    """To ten million faces: every pair once at the tiles' pace, every block loaded once."""
    found = measure_gpu(BlasKernel(), 1, 1, silent, (256, 64))
    assert (found.block, found.dimension, found.kernel) == (256, 64, "numpy float32")
    tile, product = (Timing(0.0, 0.0, per_s, 1) for per_s in (1e12, 2e12))
    exact = Gpu("k", 100_000, 512, tile, product, 0.5, 0)
    assert exact.projected_s == pytest.approx(FACES * (FACES - 1) / 2e12 + 100 * 0.5)
    assert exact.encode()["projected"]["share_of_floor"] == pytest.approx(
        FLOOR_S / exact.projected_s, abs=1e-3
    )
    assert exact.encode()["share_of_gemm"] == 0.5
    assert [goal.median for goal in goals([], gpu=exact)] == [0.5, FLOOR_S / exact.projected_s]


def test_searches_are_timed_beside_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many with as without, while another process does sweep; whose end leaves nothing."""
    monkeypatch.setattr("serve.bench.sweeps.live.TURN", 10)
    found = measure_live(500, 0.5, 2, 1, silent)
    assert found.alone.searches == found.beside.searches == 20
    assert found.pairs_per_s > 0
    assert found.encode()["sweep"]["nice"] == 19


def test_searches_are_to_keep_their_p99() -> None:
    """A quarter more beside a sweep is the most."""
    alone = Latency(1.0, 2.0, 9)
    for p99_ms, is_met in ((2.5, True), (2.6, False)):
        (goal,) = goals([], Live(500, 0.5, 1, alone, Latency(1.0, p99_ms, 9), 1.0))
        assert goal.is_met == is_met
