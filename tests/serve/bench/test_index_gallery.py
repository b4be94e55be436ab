"""The index's benchmark in its shortest form, its oracle, and whether it notices who misses."""

from dataclasses import replace

import numpy as np
import pytest

from index import yardstick
from index.entry import Vectors
from index.yardstick import Rows
from serve.bench.measure import Timing
from serve.bench.search.gallery import (
    BATCHES,
    FLOOR,
    LIMEN,
    LIMIT,
    Contender,
    Gallery,
    Latency,
    Size,
    filled,
    found_rows,
    judged,
    measure_gallery,
)
from serve.bench.search.goals import goals, over_knn
from serve.bench.search.rivals import (
    BLAS,
    FLAT,
    GRAPHS,
    KNN,
    NOT_INSTALLED,
    Built,
    usearch_rival,
)
from serve.bench.search.templates import Likeness, People, impostor_scores
from serve.pictures.index import draw_index

FACES, DIMENSION, MATES = 300, 64, 40


def silent(what: str) -> None:
    """Progress that nobody watches."""


@pytest.mark.parametrize("dimension", [128, 512])
def test_people_are_as_alike_as_on_photos(dimension: int) -> None:
    """Strangers and second photos score as measured on real ones, and the seed is all there is."""
    people = People(dimension, 7)
    templates = people.templates(5_000)
    strangers = impostor_scores(templates, 7)
    assert strangers.mean() == pytest.approx(0.80, abs=0.01)
    assert strangers.std() == pytest.approx(0.042, abs=0.005)
    same = np.einsum("nd,nd->n", templates, people.mates(templates))
    assert same.mean() == pytest.approx(0.974, abs=0.005)
    assert 0.005 < same.std() < 0.02
    assert np.abs(np.linalg.norm(templates, axis=1) - 1).max() < 1e-6
    assert np.array_equal(People(dimension, 7).templates(5_000), templates)


def test_photos_are_told_by_pairs() -> None:
    """Means are over pairs of strangers and over pairs of one person, each pair once."""
    templates = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    found = Likeness.of(["a", "a", "b"], templates)
    assert (found.people, found.photos) == (2, 3)
    assert (found.impostor_pairs, found.mate_pairs) == (2, 1)
    assert found.impostor_mean == pytest.approx(0.4)
    assert found.mate_mean == pytest.approx(0.6)


def test_the_oracle_ranks_all_rows() -> None:
    """Over blocks smaller and larger than the gallery: what sorting every score says."""
    people = People(DIMENSION, 3)
    templates = people.templates(40_000)
    probes = people.mates(templates[:3])
    rows, scores = yardstick.exact(templates, probes, LIMIT)
    every = probes.astype(np.float64) @ templates.astype(np.float64).T
    assert np.array_equal(rows, np.argsort(-every, axis=1, kind="stable")[:, :LIMIT])
    assert np.allclose(scores, -np.sort(-every, axis=1)[:, :LIMIT], rtol=0, atol=1e-14)


def test_the_arena_tells_rows_as_the_rivals_do() -> None:
    """Row by row what float64 finds, -1 where nobody is above the floor."""
    people = People(DIMENSION, 4)
    templates = people.templates(FACES)
    probes = people.mates(templates[:5])
    arena = filled(templates)
    assert np.array_equal(
        found_rows(arena, probes, LIMIT), yardstick.exact(templates, probes, LIMIT)[0]
    )
    assert (found_rows(arena, probes, LIMIT, floor=1.5) == -1).all()


def test_one_gallery_is_measured() -> None:
    """Everybody is there with figures, the arena misses nobody, and it can be drawn."""
    found = measure_gallery(Size(FACES, DIMENSION, has_graphs=True), MATES, 1, 1, silent)
    assert [each.name for each in found.contenders] == [LIMEN, KNN, BLAS, FLAT, *GRAPHS]
    arena = found.contenders[0]
    assert (found.wrong, arena.missed, found.found_by_oracle) == (0, 0, MATES)
    assert arena.single is not None
    assert arena.with_writes is not None
    assert 0 < arena.single.p50_ms <= arena.single.p99_ms
    for each in found.contenders:
        assert set(each.batches) == set(BATCHES) - ({1} if each.name == BLAS else set())
    assert found.contenders[2].single is None
    assert found.allocated_bytes > 4 * DIMENSION
    assert found.counted_bytes > 4 * DIMENSION
    assert set(over_knn(found)) == set(BATCHES)
    names = [goal.name for goal in goals([found], None)]
    assert names.count("mates missed, and wrong answers") == 1
    assert draw_index([found]).startswith(b"\x89PNG")


def gallery(contenders: list[Contender]) -> Gallery:
    return Gallery(FACES, DIMENSION, MATES, 0, 0, 0.8, 0.04, 700.0, 700.0, contenders)


def test_who_forgets_is_found_out() -> None:
    """A rival that leaves every fourth mate out is counted, and so is an arena that does."""
    people = People(DIMENSION, 5)
    templates = people.templates(FACES)
    known = np.arange(MATES)
    probes = people.mates(templates[:MATES])
    honest = yardstick.knn(templates)

    def forgetful(some: Vectors, count: int) -> Rows:
        rows = honest(some, count).copy()
        rows[(rows < MATES) & (rows % 4 == 0)] = -1
        return rows

    arena = filled(templates)
    arena.erase(f"ten_benchbenchbenchbenchbe:live:{0:032x}")
    rivals = {"honest": Built(honest), "forgetful": Built(forgetful), "away": Built(None)}
    contenders = [Contender(name) for name in rivals]
    found = judged(gallery(contenders), (arena, rivals), (templates, probes, known))
    assert [each.missed for each in found.contenders] == [0, MATES // 4, None]
    assert found.found_by_oracle == MATES
    assert found.wrong >= 1


def test_goals_are_met_by_processor_time() -> None:
    """Ratios are of the fastest flat search; a missed mate and a wrong answer each spoil a goal."""
    slow, fast = Timing(1.0, 0.5, 1000.0, 9), Timing(9.0, 0.25, 111.0, 9)
    contenders = [
        Contender(LIMEN, single=Latency(1.0, 2.0, 9), batches={64: slow}, missed=0),
        Contender(KNN, batches={64: slow}),
        Contender(FLAT, batches={64: fast}),
    ]
    assert over_knn(gallery(contenders)) == {64: 0.5}
    speed, misses = goals([gallery(contenders)], None)
    assert (speed.is_met, misses.is_met) == (False, True)
    (_, spoilt) = goals([replace(gallery(contenders), wrong=1)], None)
    assert not spoilt.is_met


def test_a_million_faces_have_a_goal_of_their_own() -> None:
    """One probe among a million is to take at most 15 ms."""
    contenders = [Contender(LIMEN, single=Latency(15.1, 20.0, 9), missed=0)]
    found = goals([replace(gallery(contenders), faces=10**6)], None)
    assert [(goal.name, goal.is_met) for goal in found][1:] == [("p50 in ms of one probe", False)]


def test_a_library_that_is_not_installed_is_a_row() -> None:
    """usearch is a yardstick of the benchmark, and no part of Limen."""
    found = usearch_rival(People(DIMENSION, 1).templates(10), "usearch_is_not_there.index")
    assert (found.search, found.note) == (None, NOT_INSTALLED)
    assert 0.9 < FLOOR < 1
