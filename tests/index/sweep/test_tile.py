"""One tile: what it keeps below the threshold, and that it does so in bounded memory, whatever the
kernel named and in whatever order.
"""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index import scan
from index.entry import Vectors
from index.sweep.blas import BlasKernel
from index.sweep.block import Block, Swept
from index.sweep.kernel import Kernel, Named, Scores
from index.sweep.sieve import SPARE, Sieve
from index.sweep.tile import load, sweep_tile
from index.sweep.truth import Places, Truth
from tests.index.sweep.galleries import KERNELS, Triples, told
from tests.index.templates import People, unit

per_kernel = pytest.mark.parametrize("opened", KERNELS.values(), ids=KERNELS)
Opened = Callable[[], Kernel]


class Wobbly:
    """A kernel whose scores are as wrong as its margin allows, and that names few pairs at once,
    in no order: the worst that a kernel may be.
    """

    name = "wobbly"

    def __init__(self, margin: float, seed: int) -> None:
        self._margin, self._random = margin, np.random.default_rng(seed)

    def load(self, vectors: Vectors) -> Vectors:
        return vectors

    def margin(self, first: Vectors, second: Vectors) -> float:
        return self._margin

    def above(
        self, first: Vectors, second: Vectors, low: float, *, is_diagonal: bool = False
    ) -> Named:
        scores = first.astype(np.float64) @ second.astype(np.float64).T
        off = self._margin * 0.99 * self._random.choice([-1, 0, 1], scores.shape)
        wrong: Scores = (scores + off).astype(np.float32)
        order = self._random.permutation(scores.size)
        for start in range(0, len(order), 7):
            row, column = np.unravel_index(order[start : start + 7], scores.shape)
            reach = wrong[row, column] >= scan.below(low)
            rows: Places = row[reach].astype(np.int32)
            columns: Places = column[reach].astype(np.int32)
            sent = yield rows, columns, wrong[rows, columns]
            low = low if sent is None else sent


def looked_at(first: Block, second: Block, *, is_diagonal: bool) -> Triples:
    """Every pair of different customers and its score, best first, ties by place."""
    found = [
        (row, column, scan.exact(first.vectors[row], second.vectors[column]))
        for row in range(len(first))
        for column in range(row + 1 if is_diagonal else 0, len(second))
        if first.owners[row] != second.owners[column]
    ]
    return sorted(found, key=lambda each: (-each[2], *each[:2]))


def check(swept: Swept, pairs: Triples, threshold: float | None, keep_below: int) -> None:
    """That a tile kept what it should of all its pairs."""
    reach = len(pairs)
    if threshold is None:
        reach = 0
    else:
        reach = sum(score >= threshold for *_, score in pairs)
        assert swept.complete_from <= threshold
    kept = told(swept)
    wanted = pairs[: reach + keep_below]
    assert [each[:2] for each in kept[:reach]] == [each[:2] for each in wanted[:reach]]
    assert len(kept) == len(wanted)
    assert np.allclose([each[2] for each in kept], [each[2] for each in wanted], atol=1e-13, rtol=0)
    known = {each[:2] for each in kept}
    assert all(each[:2] in known for each in pairs if each[2] >= swept.complete_from)
    if keep_below and len(kept) < len(pairs):
        assert swept.complete_from <= min(score for *_, score in kept) + 1e-11


@st.composite
def blocks(draw: st.DrawFn, columns: int) -> Block:
    """Faces of few numbers, so that many score the same, of few customers."""
    rows = draw(st.lists(st.lists(st.integers(-2, 2), min_size=columns, max_size=columns)
                         .filter(any), max_size=9))  # fmt: skip
    owners = draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    vectors = unit(np.array(rows, np.float32).reshape(-1, columns))
    return Block(vectors, np.array(owners, np.int64))


@settings(max_examples=150, deadline=None)
@given(
    both=st.integers(1, 5).flatmap(lambda count: st.tuples(blocks(count), blocks(count))),
    is_diagonal=st.booleans(),
    asked=st.tuples(st.none() | st.floats(-1, 1) | st.integers(0, 80), st.integers(0, 40)),
    margin=st.sampled_from([0.0, 1e-4, 0.02, 0.5]),
    seed=st.integers(0, 9),
)
def test_any_tile_keeps_what_it_should(
    both: tuple[Block, Block],
    is_diagonal: bool,
    asked: tuple[float | int | None, int],
    margin: float,
    seed: int,
) -> None:
    """All at the threshold and the best below it: by numpy, and by a kernel as bad as may be."""
    first, second = (both[0], both[0]) if is_diagonal else both
    pairs = looked_at(first, second, is_diagonal=is_diagonal)
    threshold, keep_below = asked
    if isinstance(threshold, int):  # a score that there is
        threshold = pairs[threshold % len(pairs)][2] if pairs else 0.5
    swept = [
        sweep_tile(
            kernel, load(kernel, first), load(kernel, second),
            threshold=threshold, keep_below=keep_below, is_diagonal=is_diagonal,
        )
        for kernel in (BlasKernel(), Wobbly(margin + 1e-6, seed))
    ]  # fmt: skip
    for each in swept:
        check(each, pairs, threshold, keep_below)
        assert each.compared == len(pairs)
        assert told(each) == told(swept[0])
        assert each.complete_from == swept[0].complete_from


@pytest.fixture(scope="module")
def crowd() -> tuple[Block, Block]:
    """Two blocks, of whom some are the same customers, larger than a piece of any kernel."""
    people = People(96, 4)
    faces = people.strangers(2_500)
    second = np.concatenate((people.photos(faces[:300]), people.strangers(2_000)))
    owners = np.arange(2_500), np.arange(200, 2_500)
    return Block(faces, owners[0]), Block(second, owners[1])


@pytest.fixture(scope="module")
def truth(crowd: tuple[Block, Block]) -> dict[bool, NDArray[np.float64]]:
    """Scores of all pairs on the diagonal and off it, the best first."""
    first, second = (block.vectors.astype(np.float64) for block in crowd)
    upper = (first @ first.T)[np.triu_indices(len(first), 1)]
    across = (first @ second.T)[crowd[0].owners[:, None] != crowd[1].owners]
    return {True: np.sort(upper)[::-1], False: np.sort(across)[::-1]}


@per_kernel
@pytest.mark.parametrize("is_diagonal", [False, True])
@pytest.mark.parametrize("asked", [(0.9, 0), (0.9, 1_000), (0.86, 40_000), (None, 70_000)])
def test_no_pair_from_complete_from_on_is_missing(
    crowd: tuple[Block, Block],
    truth: dict[bool, NDArray[np.float64]],
    is_diagonal: bool,
    asked: tuple[float | None, int],
    opened: Opened,
) -> None:
    """And the tile is complete as far down as it was asked to keep."""
    kernel, (threshold, keep_below) = opened(), asked
    first = load(kernel, crowd[0])
    second = first if is_diagonal else load(kernel, crowd[1])
    every = truth[is_diagonal]
    swept = sweep_tile(
        kernel, first, second,
        threshold=threshold, keep_below=keep_below, is_diagonal=is_diagonal,
    )  # fmt: skip
    assert swept.compared == len(every)
    reach = 0 if threshold is None else int((every >= threshold).sum())
    assert len(swept.pairs) == reach + keep_below < len(every)
    assert threshold is None or swept.complete_from <= threshold
    assert np.allclose(swept.pairs.scores, every[: len(swept.pairs)], atol=1e-13, rtol=0)
    complete = int((every >= swept.complete_from).sum())
    assert len(swept.pairs) - 3 <= complete <= len(swept.pairs)


@per_kernel
def test_a_sample_that_misleads_costs_no_pair(opened: Opened) -> None:
    """Where just the faces that are looked at first are alike, the tile begins once more."""
    kernel, people = opened(), People(32)
    faces = people.strangers(2_048)
    faces[::4] = people.photos(np.repeat(faces[:1], 512, axis=0), 0.1)
    first, second = Block(faces, np.arange(2_048)), Block(faces, np.arange(2_048, 4_096))
    both = load(kernel, first), load(kernel, second)
    swept = sweep_tile(kernel, *both, threshold=None, keep_below=300_000, is_diagonal=False)
    every = np.sort((faces.astype(np.float64) @ faces.T.astype(np.float64)).ravel())[::-1]
    assert every[2**18 - 1] > every[300_000] + 0.01
    assert np.allclose(swept.pairs.scores, every[:300_000], atol=1e-13, rtol=0)
    assert swept.complete_from == pytest.approx(every[299_999], abs=1e-11)


@per_kernel
def test_a_tile_of_one_face_over_and_over_stays_small(opened: Opened) -> None:
    """Where all pairs score alike it keeps as many as asked for, the first by place; and four times
    as many pairs take no more memory.
    """
    kernel, face, peaks = opened(), People(32).strangers(1), []
    for count in (1_100, 2_200):
        faces, owners = np.repeat(face, count, axis=0), np.arange(count)
        first, second = Block(faces, owners), Block(faces, owners + count)
        both = load(kernel, first), load(kernel, second)
        tracemalloc.start()
        swept = sweep_tile(kernel, *both, threshold=None, keep_below=500, is_diagonal=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert swept.pairs.rows.tolist() == [0] * 500
        assert swept.pairs.columns.tolist() == list(range(500))
        assert swept.complete_from > scan.exact(face[0], face[0])
    assert peaks[1] < 1.5 * peaks[0]


@per_kernel
def test_a_threshold_that_everybody_reaches_is_told_by_the_best(opened: Opened) -> None:
    """No more pairs than asked for are kept, and the tile says from where on it is complete."""
    kernel, faces = opened(), People(32).strangers(200)
    crowd = load(kernel, Block(faces, np.arange(200)))
    swept = sweep_tile(
        kernel, crowd, crowd, threshold=0.0, keep_below=900, is_diagonal=True, found_max=3_000
    )
    every = looked_at(crowd.block, crowd.block, is_diagonal=True)
    assert [each[:2] for each in told(swept)] == [each[:2] for each in every[:3_000]]
    assert every[2_999][2] < swept.complete_from < every[2_998][2] + 1e-11


def test_a_sieve_holds_no_more_than_it_says() -> None:
    """However many pairs come, and though the worst come first."""
    count, keep = 400_000, 1_000
    scores = np.sort(np.random.default_rng(0).random(count))
    every = np.arange(count, dtype=np.int32)
    sieve = Sieve(keep, 1e-4, lambda rows, columns: scores[rows])
    for start in range(0, count, 5_000):
        rows = every[start : start + 5_000]
        sieve.add(rows, rows, scores[rows].astype(np.float32))
        assert sieve.size <= 2 * keep + SPARE
    rows, columns = sieve.held()
    assert set(range(count - keep, count)) <= set(rows.tolist())
    assert len(rows) < 2 * keep
    assert (rows == columns).all()
    assert sieve.low == pytest.approx(scores[-keep] - 2e-4, abs=1e-5)


def test_a_sieve_asks_for_true_scores_where_many_are_alike() -> None:
    """Pairs that a kernel cannot tell apart do not pile up; ties go by place."""
    asked: list[int] = []

    def true_scores(rows: Places, columns: Places) -> Truth:
        asked.append(len(rows))
        return np.where(columns % 1_000 == 0, 0.5005, 0.5)

    sieve = Sieve(300, 0.001, true_scores)
    for row in range(40):
        columns = np.arange(10_000, dtype=np.int32)
        sieve.add(np.full(10_000, row, np.int32), columns, np.full(10_000, 0.5, np.float32))
        assert sieve.size <= 600 + SPARE
    rows, columns = sieve.held()
    assert max(asked) <= 600 + SPARE + 10_000
    better = columns % 1_000 == 0
    assert better.sum() == 300
    assert rows[better].max() == 29


def test_a_sieve_that_keeps_nothing_wants_nothing() -> None:
    """It holds nothing either."""
    sieve = Sieve(0, 0.1, lambda rows, columns: np.zeros(len(rows)))
    sieve.add(np.zeros(5, np.int32), np.zeros(5, np.int32), np.ones(5, np.float32))
    assert (sieve.low, sieve.size) == (np.inf, 0)
    assert [len(part) for part in sieve.held()] == [0, 0]
