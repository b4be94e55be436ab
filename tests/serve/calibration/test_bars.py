"""From which scores on likeness makes a ring: low where chance is rare, high where it is not."""

import numpy as np
import pytest

from index.rings.edges import Edge, Evidence
from index.rings.grow import grow
from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.models.load import LoadedPack
from serve.demo.tiles import COLUMNS, ROWS, make_selfie
from serve.domain.sweeps.bars import STRONG_CHANCE_MAX, bars
from serve.domain.sweeps.calibration import BINS, edge_of
from tests.serve.calibration.galleries import (
    MATCH_MIN,
    Swept,
    between,
    pair,
    strangers,
    swept,
    told,
)

THE_MAN_MIN = 12
OF_THE_MAN = {(0, column) for column in range(COLUMNS)} | {(1, 0), (1, 1), (1, 2), (1, 3), (1, 8)}


def rings_of(sample: Swept) -> list[set[str]]:
    """Whom the bars of a sweep make rings of, the largest first."""
    rules = bars(sample.sweep, sample.calibrated(), MATCH_MIN)
    edges = tuple(
        Edge(each.subject_a, each.subject_b, each.score)
        for each in sample.pairs
        if each.score >= rules.weak
    )
    return [set(ring.members) for ring in grow(Evidence(edges, {}, frozenset()), rules).rings]


@pytest.mark.models
def test_the_man_of_the_first_row_is_one_ring_and_nobody_is_with_him(
    pack: LoadedPack, tiles: list[list[Pixels]]
) -> None:
    """108 customers with a tile each: at the pack's threshold nearly all of them hang together, and
    yet at least twelve tiles of the man make one ring, of him alone, and no other has his first
    row.
    """
    places = [(row, column) for row in range(ROWS) for column in range(COLUMNS)]
    found = pack.faces.run([make_selfie(tiles[row][column]) for row, column in places])
    templates = []
    for each in found:
        assert isinstance(each, FaceEvidence)
        assert isinstance(each.template, Template)
        templates.append(each.template.vector)
    scores = np.array(templates, np.float64) @ np.array(templates, np.float64).T
    pairs = [
        pair(one, other, float(scores[one, other]))
        for one in range(len(places))
        for other in range(one + 1, len(places))
    ]
    ring, *others = [
        {places[int(member, 16)] for member in members}
        for members in rings_of(told(len(places), pairs, -1.0))
    ]
    assert len(ring) >= THE_MAN_MIN
    assert ring <= OF_THE_MAN
    assert not any(row == 0 for other in others for row, _ in other)
    assert all(len(other) <= 6 for other in others)


@pytest.mark.parametrize("faces", [300, 1_000, 2_000])
def test_strangers_make_no_large_ring(faces: int) -> None:
    """Nobody is anybody's double: what chance makes stays at three or four, and is rare."""
    for seed in range(3):
        _, templates = strangers(faces, seed)
        rings = [ring for ring in rings_of(swept(templates)) if len(ring) > 2]
        assert all(len(ring) <= 4 for ring in rings)
        assert len(rings) <= 6


def test_people_with_many_accounts_are_rings_of_their_own() -> None:
    """Five men with eight accounts each among a thousand strangers: five large rings, each of one
    man and no more than one stranger.
    """
    men, accounts, faces = 5, 8, 1_000
    people, templates = strangers(faces, 7)
    for copy in range(1, accounts):
        templates[copy * men : (copy + 1) * men] = people.mates(templates[:men])
    large = [ring for ring in rings_of(swept(templates)) if len(ring) >= accounts // 2]
    assert len(large) == men
    for ring in large:
        of = [int(member, 16) for member in ring]
        own = max({number % men for number in of}, key=lambda man: sum(n % men == man for n in of))
        assert sum(number >= men * accounts or number % men != own for number in of) <= 1


def test_without_an_error_the_bars_are_the_packs() -> None:
    """A few customers and one man among them: strong is the pack's threshold, or where all pairs
    are known if that is higher.
    """
    sample = told(30, between(1, 2, 3, 4), 0.9)
    rules = bars(sample.sweep, sample.calibrated(), MATCH_MIN)
    assert (rules.strong, rules.gallery_size) == (MATCH_MIN, 30)
    assert rules.false_match_rate is rules.weak_false_match_rate is None
    high = told(30, between(1, 2, 3, 4), 0.95)
    assert bars(high.sweep, high.calibrated(), MATCH_MIN).strong == 0.95


def test_where_strangers_are_alike_the_strong_bar_is_above_them() -> None:
    """The bar is the lowest at which chance ties a face to at most 0.01 others."""
    _, templates = strangers(2_000, 5)
    sample = swept(templates)
    calibration = sample.calibrated()
    rules = bars(sample.sweep, calibration, MATCH_MIN)

    def chance(score: float) -> float:
        return 2_000 * calibration.impostors_from(score) / calibration.pairs

    assert chance(rules.strong) <= STRONG_CHANCE_MAX < chance(rules.strong - 2 / BINS)
    assert MATCH_MIN < rules.weak < rules.strong


def test_one_photo_under_many_names_in_pairs_joins_nothing() -> None:
    """Where a tenth of all are as alike as can be, two by two, no score is proof: strong is out of
    reach, and the rules say that chance is too likely.
    """
    sample = told(2_000, [pair(2 * n, 2 * n + 1, 1.0 - 1e-9) for n in range(100)])
    rules = bars(sample.sweep, sample.calibrated(), MATCH_MIN)
    assert rules.strong == edge_of(BINS) == 1.0
    assert rings_of(sample) == []
