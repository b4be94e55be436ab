"""The certificate: no kernel's score is further from the true one than its margin says."""

from collections.abc import Callable

import numpy as np
import pytest

from index import scan
from index.entry import Vectors
from index.sweep import certificate, truth
from index.sweep.certificate import Loss
from index.sweep.kernel import Kernel
from index.sweep.torch_tiles import TorchKernel
from tests.index.sweep.galleries import KERNELS
from tests.index.templates import People, unit

Opened = Callable[[], Kernel]
SLACK_MAX = 0.0125  # of bfloat16


def hardest(dimension: int, count: int) -> Vectors:
    """Faces whose numbers all lie where bfloat16 rounds worst, halfway between two of its own, so
    that what is lost points one way.
    """
    random = np.random.default_rng(dimension)
    steps = random.integers(128, 256, (count, dimension)) + 0.5
    rows = np.ldexp(steps, -11) * random.choice([-1, 1], (1, dimension))
    scale = 1 / np.linalg.norm(rows, axis=1, keepdims=True)
    # As near to norm 1 as a template may be, and by a power of two where that will do.
    near = np.exp2(np.rint(np.log2(scale)))
    fits = np.abs(near / scale - 1) < 1e-3
    hard: Vectors = np.where(fits, rows * near, rows * scale).astype(np.float32)
    return hard


def templates(dimension: int) -> Vectors:
    """Faces alike and unlike, of all signs, of numbers that differ by magnitudes, and hard ones."""
    people = People(dimension)
    faces = people.strangers(120)
    uneven = unit(faces * np.float32(10) ** np.linspace(-6, 0, dimension, dtype=np.float32))
    tiny = unit(faces * np.float32(10) ** np.linspace(-40, 0, dimension, dtype=np.float32))
    single = np.eye(dimension, dtype=np.float32)[:9] * np.float32(1 + 9e-4)
    alike = people.photos(faces, 0.01)
    hard = hardest(dimension, 60)
    return np.concatenate((faces, alike, -faces[:40], uneven, tiny, single, hard, -hard))


@pytest.mark.parametrize("dimension", [3, 128, 500, 2_048])
@pytest.mark.parametrize("name", KERNELS)
def test_no_score_is_further_off_than_the_margin(name: str, dimension: int) -> None:
    """Of any pair, and the margin is that of float32."""
    kernel, rows = KERNELS[name](), templates(dimension)
    loaded = kernel.load(rows)
    margin, seen = kernel.margin(loaded, loaded), 0
    assert 0 < margin <= 2e-7 * (dimension + 3)
    for first, second, scores in kernel.above(loaded, loaded, -3.0):
        true = truth.scores(rows, rows, first, second)
        assert np.abs(scores - true).max() <= margin
        seen += len(scores)
    assert seen == len(rows) ** 2


@pytest.mark.parametrize("dimension", [3, 128, 500, 2_048])
@pytest.mark.parametrize("name", [name for name in KERNELS if not name.startswith("numpy")])
def test_no_narrowed_score_is_further_off_than_certified(name: str, dimension: int) -> None:
    """Of any pair; and there are templates for which the certificate says hardly too much."""
    kernel, rows = KERNELS[name](), templates(dimension)
    assert isinstance(kernel, TorchKernel)
    loaded = kernel.load(rows)
    slack, worst, seen = kernel.slack(loaded, loaded), 0.0, 0
    assert 0 < slack <= SLACK_MAX
    for first, second, scores in kernel.narrow(loaded.rows, loaded.rows, -3.0, is_diagonal=False):
        true = truth.scores(rows, rows, first, second)
        worst = max(worst, float(np.abs(scores - true).max()))
        seen += len(scores)
    assert seen == len(rows) ** 2
    assert worst <= slack
    assert worst > (slack / 3 if slack > 5e-3 else 0)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("low", [-2.0, -0.5, 0.0, 0.3, 0.8, 1.0])
def test_all_that_a_kernel_scores_so_much_are_named(name: str, low: float) -> None:
    """Whatever the cut, and those named below it are few."""
    kernel, rows = KERNELS[name](), templates(40)[::4].copy()
    loaded = kernel.load(rows)
    every = {
        (row, column): score
        for part in kernel.above(loaded, loaded, -3.0)
        for row, column, score in zip(*(each.tolist() for each in part), strict=True)
    }
    named = {
        pair
        for part in kernel.above(loaded, loaded, low)
        for pair in zip(*(each.tolist() for each in part[:2]), strict=True)
    }
    assert {pair for pair, score in every.items() if score >= low} <= named
    assert all(every[pair] >= low - 1e-6 for pair in named)


@pytest.mark.parametrize("name", KERNELS)
def test_a_cut_that_rises_is_heeded(name: str) -> None:
    """What is sent holds from the next part on, and on a diagonal tile each pair is named."""
    kernel, rows = KERNELS[name](), People(16).strangers(2_300)
    loaded = kernel.load(rows)
    named = kernel.above(loaded, loaded, -3.0, is_diagonal=True)
    parts = [next(named)]
    while True:
        try:
            parts.append(named.send(0.95))
        except StopIteration:
            break
    assert all(part[2].min() >= 0.94 for part in parts[1:])
    found = {
        pair for part in parts for pair in zip(*(each.tolist() for each in part[:2]), strict=True)
    }
    upper = np.argwhere(np.triu(rows.astype(np.float64) @ rows.T >= 0.96, 1))
    assert {(row, column) for row, column in upper.tolist()} <= found


def test_what_was_lost_is_measured() -> None:
    """By the worst row of all parts, and never too low."""
    rows = People(24).strangers(certificate.ROWS_AT_ONCE + 10)
    off = np.zeros_like(rows)
    off[-1, 3] = 2.0**-7
    loss = Loss.of(rows, lambda part: part + off[-len(part) :])
    assert loss.lost == pytest.approx(2.0**-7, rel=1e-5)
    assert 1 - 1e-6 < loss.norm < 1.01
    narrow = rows.astype(np.float16).astype(np.float32)
    truly = np.linalg.norm(rows.astype(np.float64) - narrow, axis=1).max()
    assert truly <= Loss.of(rows, lambda part: part.astype(np.float16)).lost <= truly * 1.0001
    assert Loss.of(rows[:0], lambda part: part) == (0, 0)


@pytest.mark.parametrize("dimension", [1, 2, 3, 7, 128, 511])
def test_true_scores_are_true(dimension: int) -> None:
    """But for the last bits, whatever the number of numbers, and the same in any company."""
    rows = People(dimension).strangers(60)
    first, second = (places.astype(np.int32) for places in np.triu_indices(60))
    found = truth.scores(rows, rows, first, second)
    wanted = [scan.exact(rows[one], rows[other]) for one, other in zip(first, second, strict=True)]
    assert np.abs(found - wanted).max() < truth.SURE / 1_000
    alone = [truth.scores(rows, rows, first[[at]], second[[at]])[0] for at in range(len(first))]
    assert alone == found.tolist()
    assert truth.unsure(found, wanted[5] + 1e-13)[0] <= 5
