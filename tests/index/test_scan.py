"""Scores in float32: their bound holds, and what a scan leaves out it bounds."""

import faiss
import numpy as np
import pytest

from index import scan
from tests.index.oracle import true_score
from tests.index.templates import People, unit


@pytest.mark.parametrize("dimension", [3, 128, 512, 2_048])
@pytest.mark.parametrize("count", [1, scan.BATCH_MIN])
def test_no_float32_score_is_further_off_than_the_margin(dimension: int, count: int) -> None:
    """For faces alike and unlike, of all signs, of numbers that differ by magnitudes."""
    people = People(dimension)
    faces = people.strangers(40)
    uneven = unit(faces * np.float32(10) ** np.linspace(-6, 0, dimension, dtype=np.float32))
    rows = np.concatenate((faces, -faces[:5], uneven, people.photos(faces)))
    probes = rows[:: len(rows) // count][:count].copy()
    best = scan.best(probes, rows, np.full(count, -2, np.float32), len(rows))
    for number, probe in enumerate(probes):
        assert len(best.places[number]) == len(rows)
        for place, score in zip(best.places[number], best.scores[number], strict=True):
            assert abs(float(score) - true_score(rows[place], probe)) <= scan.margin(dimension)
            assert scan.exact(rows[place], probe) == true_score(rows[place], probe)


@pytest.mark.parametrize("count", [1, scan.BATCH_MIN - 1, scan.BATCH_MIN, 64])
@pytest.mark.parametrize("keep", [1, 4, 100, 5_000])
@pytest.mark.parametrize("cut", [-2.0, 0.85, 0.99])
def test_what_a_scan_leaves_out_is_below_its_bound(count: int, keep: int, cut: float) -> None:
    """No row left out scores more than the bound, and no bound is above need."""
    people = People()
    rows = people.strangers(1_000)
    probes = people.photos(rows[:count])
    best = scan.best(probes, rows, np.full(count, cut, np.float32), keep)
    for number, probe in enumerate(probes):
        left = np.delete(rows @ probe, best.places[number])
        bound = best.bounds[number] + scan.margin(128)
        assert left.max(initial=-np.inf) <= bound
        assert len(best.places[number]) >= min(keep, int((rows @ probe >= cut + 1e-4).sum()))
        assert best.tops[number] == best.scores[number].max(initial=-np.inf)


@pytest.mark.parametrize("score", [0.0, 0.1, -0.1, 0.93, 1.0, 1e-9, np.pi / 4])
def test_a_cut_is_never_rounded_up(score: float) -> None:
    """`below` is at most the score, and hardly less."""
    assert score - 1e-6 < float(scan.below(score)) <= score


def test_threads_are_set_for_the_thread_that_asks() -> None:
    """The number holds where it was set."""
    before = faiss.omp_get_max_threads()
    scan.use_threads(1)
    assert faiss.omp_get_max_threads() == 1
    scan.use_threads(before)
    assert faiss.omp_get_max_threads() == before
