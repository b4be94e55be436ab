"""A whole sweep, tile by tile, against looking at every pair of the gallery in float64."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from index import scan
from index.sweep.block import Block
from index.sweep.grid import Tile, across, all_pairs
from index.sweep.kernel import Kernel
from index.sweep.tile import load, sweep_tile
from index.sweep.torch_tiles import CudaKernel
from serve.bench.search.templates import People
from tests.index.sweep.galleries import KERNELS, Gallery, Oracle, places, swept
from tests.index.templates import unit

FACES = 20_000
SIZES = (8_192, 6_000, 1, 1_500, 4_307)
THRESHOLDS = (0.92, 0.93, 0.94, 0.955, 0.975)

per_kernel = pytest.mark.parametrize("opened", KERNELS.values(), ids=KERNELS)
Opened = Callable[[], Kernel]


@pytest.fixture(scope="module")
def crowd() -> Gallery:
    """20,000 templates as the default pack makes them: customers with two photos each, strangers,
    and people who came back under another name.
    """
    people = People(128, 7)
    one, alone = people.templates(6_000), people.templates(4_000)
    vectors = np.concatenate((one, people.mates(one), alone, people.mates(alone)))
    owners = np.concatenate((np.tile(np.arange(6_000), 2), np.arange(6_000, 14_000)))
    order = np.random.default_rng(7).permutation(FACES)
    return Gallery(vectors[order], owners[order])


@pytest.fixture(scope="module")
def oracle(crowd: Gallery) -> Oracle:
    """What there is to find among them."""
    return Oracle.of(crowd, min(THRESHOLDS))


def sparse(count: int, seed: int) -> Gallery:
    """Faces of which no two score 0.6 by chance, each of a customer of its own."""
    drawn = np.random.default_rng(seed).standard_normal((count, 128), np.float32)
    return Gallery(unit(drawn), np.arange(count))


def plant(gallery: Gallery, row: int, column: int, score: float) -> None:
    """Make two faces of a gallery score so, but for the rounding of templates."""
    face = gallery.vectors[row].astype(np.float64)
    other = gallery.vectors[column].astype(np.float64)
    across_it = other - face * (face @ other) / (face @ face)
    across_it /= np.linalg.norm(across_it)
    planted = score * face / np.linalg.norm(face) + np.sqrt(1 - score**2) * across_it
    gallery.vectors[column] = planted.astype(np.float32)


@per_kernel
def test_the_pairs_are_those_of_float64(crowd: Gallery, oracle: Oracle, opened: Opened) -> None:
    """As a set, at five thresholds, and none is told twice."""
    blocks, kernel = crowd.cut(SIZES), opened()
    slow = isinstance(kernel, CudaKernel)  # on a processor, where it is for comparison
    for threshold in THRESHOLDS[1::2] if slow else THRESHOLDS:
        wanted = oracle.at(threshold)
        assert len(wanted) > 1_000
        found = places(blocks, swept(kernel, blocks, threshold=threshold))
        assert np.array_equal(found, wanted), (threshold, len(found), len(wanted))


@per_kernel
@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_planted_pairs_are_found_from_the_threshold_on(threshold: float, opened: Opened) -> None:
    """In every tile, those a thousandth or a millionth above it all are, and none below it is."""
    gallery, size, blocks = sparse(3_600, 3), 900, 4
    wanted = []
    for place, tile in enumerate(all_pairs(blocks)):
        for number, off in enumerate((1e-3, 1e-6, -1e-3, -1e-6)):
            row = tile.row * size + 8 * place + number
            column = (tile.column + 1) * size - 1 - 8 * place - number
            plant(gallery, row, column, threshold + off)
            if off > 0:
                wanted.append((row, column))
    cut = gallery.cut([size] * blocks)
    found = places(cut, swept(opened(), cut, threshold=threshold))
    assert len(wanted) == 2 * 10
    assert found.tolist() == [list(pair) for pair in sorted(wanted)]


@per_kernel
def test_a_pair_at_the_threshold_itself_is_found(opened: Opened) -> None:
    """And is not at the next number above: scores at the threshold are rounded once."""
    gallery = sparse(300, 5)
    for number in range(0, 40, 2):
        plant(gallery, number, number + 101, 0.7 + number / 500)
    blocks = gallery.cut([100, 200])
    for number in range(0, 40, 2):
        score = scan.exact(gallery.vectors[number], gallery.vectors[number + 101])
        pair = [number, number + 101]
        assert pair in places(blocks, swept(opened(), blocks, threshold=score)).tolist()
        above = float(np.nextafter(score, 2))
        assert pair not in places(blocks, swept(opened(), blocks, threshold=above)).tolist()


@pytest.fixture(scope="module")
def few() -> Gallery:
    """1,500 faces, of 1,000 customers."""
    people = People(64, 3)
    one = people.templates(1_000)
    vectors = np.concatenate((one, people.mates(one[:500])))
    return Gallery(vectors, np.concatenate((np.arange(1_000), np.arange(100, 600))))


@per_kernel
def test_a_delta_sweep_is_the_difference_of_two(few: Gallery, opened: Opened) -> None:
    """The old blocks alone, and what the new ones add, are together what all of them are."""
    kernel, sizes = opened(), [400, 300, 500, 300]
    blocks = few.cut(sizes)
    whole = places(blocks, swept(kernel, blocks, threshold=0.9))
    for first_new in range(5):
        old = places(blocks, swept(kernel, blocks[:first_new], threshold=0.9))
        grid = all_pairs(4, first_new)
        new = places(blocks, swept(kernel, blocks, grid, threshold=0.9))
        both = np.concatenate((old, new))
        assert sorted(map(tuple, both.tolist())) == list(map(tuple, whole.tolist()))
        assert len(old) in {0, len(whole)} or 0 < len(old) < len(whole)
        assert (new[:, 1] >= sum(sizes[:first_new])).all()


@per_kernel
def test_two_lists_are_compared_across(few: Gallery, opened: Opened) -> None:
    """Everybody of the one with everybody of the other, and nobody with their own list."""
    blocks = few.cut([400, 300, 500, 300])
    found = places(blocks, swept(opened(), blocks, across(4, 2), threshold=0.9))
    wanted = Oracle.of(few, 0.9).at(0.9)
    is_across = (wanted[:, 0] < 700) & (wanted[:, 1] >= 700)
    assert 0 < is_across.sum() < len(wanted)
    assert np.array_equal(found, wanted[is_across])


@per_kernel
def test_every_pair_is_counted_once(few: Gallery, opened: Opened) -> None:
    """As one of strangers or as one of a customer's own faces, and none of these is told."""
    blocks = few.cut([400, 1, 0, 799, 300])
    found = swept(opened(), blocks, threshold=None, keep_below=10**6)
    assert sum(each.mates for _, each in found) == 500
    assert sum(each.compared for _, each in found) == 1_500 * 1_499 // 2 - 500
    pairs = places(blocks, found)
    assert len(pairs) == len(np.unique(pairs, axis=0)) == 1_500 * 1_499 // 2 - 500
    assert (few.owners[pairs[:, 0]] != few.owners[pairs[:, 1]]).all()
    assert {each.complete_from for _, each in found} == {-1.0}


@per_kernel
def test_blocks_of_nobody_come_to_nothing(opened: Opened) -> None:
    """Nor does a block of one with itself; one face and one face are a pair."""
    kernel = opened()
    nobody = Block(np.empty((0, 8), np.float32), np.empty(0, np.int64))
    one = Block(unit(np.ones((1, 8), np.float32)), np.array([1]))
    other = Block(one.vectors, np.array([2]))
    tiles = [Tile(0, 0), Tile(0, 1), Tile(1, 1), Tile(1, 2)]
    found = swept(kernel, [nobody, one, other], tiles, threshold=0.5, keep_below=3)
    assert [len(each.pairs) for _, each in found] == [0, 0, 0, 1]
    assert [each.compared for _, each in found] == [0, 0, 0, 1]
    assert {each.complete_from for _, each in found} == {-1.0}


@per_kernel
def test_tiles_may_be_worked_on_at_once(few: Gallery, opened: Opened) -> None:
    """By threads that share a kernel and its blocks: each comes to what it comes to alone."""
    kernel = opened()
    loaded = [load(kernel, block) for block in few.cut([800, 700])]

    def work(number: int) -> tuple[list[int], list[float]]:
        tile = list(all_pairs(2))[number % 3]
        both = loaded[tile.row], loaded[tile.column]
        found = sweep_tile(
            kernel, *both, threshold=0.9, keep_below=300, is_diagonal=tile.is_diagonal
        )
        return found.pairs.columns.tolist(), found.pairs.scores.tolist()

    alone = [work(number) for number in range(3)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(work, range(60)))
    assert together == alone * 20
