"""Scores in float32: their bound holds, and what a scan leaves out it bounds."""

import faiss
import numpy as np
import pytest

from index import scan
from index.codes import Codes
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


@pytest.mark.parametrize("dimension", [3, 128, 512])
def test_a_code_never_hides_a_row(dimension: int) -> None:
    """No row scores more than its code does by the slack, nor less; a wiped row leaves nothing."""
    people = People(dimension)
    faces = people.strangers(5_000)
    uneven = unit(faces * np.float32(10) ** np.linspace(-3, 0, dimension, dtype=np.float32))
    probes = np.concatenate((people.photos(faces[:3]), faces[:1], -faces[:1]))
    for rows in (faces, uneven, -faces):
        codes = Codes(rows, scan.margin(dimension))
        for probe, mine, coded, slack in zip(probes, *codes.best(probes, len(rows)), strict=True):
            assert sorted(mine) == list(range(len(rows)))
            truth = rows.astype(np.float64) @ probe.astype(np.float64)
            assert np.abs(coded - truth[mine]).max() <= slack < 0.06
        codes.wipe(np.arange(0, len(rows), 2))
        [places], [scores], _ = codes.best(rows[:1], len(rows))
        assert len(set(scores[places % 2 == 0])) == 1
        assert len(set(scores[places % 2 == 1])) > 100


@pytest.mark.parametrize("cut", [0.0, 0.75, 0.85, 0.99])
def test_codes_change_no_answer(cut: float) -> None:
    """With them a scan names the same rows with the same scores, or passes them by likewise."""
    people = People()
    rows = people.strangers(3_000)
    rows[:100] = people.photos(np.repeat(rows[:1], 100, axis=0))
    probes = people.photos(rows[[0, 200, 300]])
    cuts = np.full(3, cut, np.float32)
    plain = scan.best(probes, rows, cuts, 5_000)
    coded = scan.best(probes, rows, cuts, 5_000, Codes(rows, scan.margin(128)))
    for number in range(3):
        assert sorted(coded.places[number]) == plain.places[number].tolist()
        order = np.argsort(coded.places[number])
        assert np.allclose(coded.scores[number][order], plain.scores[number], atol=1e-6)
        assert coded.bounds[number] == plain.bounds[number]
