"""Who is taken for one person, so that being alike is no error: never a pair by its score alone."""

import numpy as np
import pytest

from serve.domain.sweeps.calibration import threshold_for
from serve.domain.sweeps.mates import (
    GROUP_MAX,
    NEVER,
    SHARED_MAX,
    Marks,
    best_scores,
    presumed,
)
from tests.serve.calibration.galleries import (
    MATCH_MIN,
    between,
    name,
    pair,
    strangers,
    swept,
    ties,
    told,
)

FACES, FLOOR, TARGET = 2_000, 0.9, 0.03
COPIES = 20  # one in a hundred


def test_duplicates_in_threes_leave_the_threshold_where_it_was() -> None:
    """One face in a hundred is a third account of somebody: they are taken off, and the threshold
    rises by no more than a bin or two; nobody is left to review above it.
    """
    people, templates = strangers(FACES, 3)
    before = threshold_for(swept(templates).calibrated(), TARGET, FLOOR)
    for start in (COPIES, 2 * COPIES):
        templates[-start : len(templates) - start + COPIES] = people.mates(templates[:COPIES])
    sample = swept(templates)
    calibration = sample.calibrated()
    after = threshold_for(calibration, TARGET, FLOOR)
    naive = threshold_for(
        calibration.model_copy(update={"erring": _all_erring(sample.pairs)}), TARGET, FLOOR
    )
    assert before is not None
    assert after is not None
    assert calibration.presumed >= 2 * COPIES  # of three pairs each; some photos are too bad
    assert after.threshold - before.threshold < 0.002
    assert naive is None or naive.threshold > after.threshold + 0.005


def _all_erring(pairs: object) -> dict[int, int]:
    """Who errs if everybody alike does."""
    assert isinstance(pairs, tuple)
    every = told(FACES, pairs, min(each.score for each in pairs))
    marks = Marks(apart=ties(pairs))
    return every.calibrated(marks).erring


def test_pairs_alone_push_it_up_until_they_are_reviewed() -> None:
    """One face in a hundred is a second account: the threshold rises, the calibration says that
    nobody has reviewed them, and comes down again once a reviewer has.
    """
    people, templates = strangers(FACES, 3)
    before = threshold_for(swept(templates).calibrated(), TARGET, FLOOR)
    templates[-COPIES:] = people.mates(templates[:COPIES])
    sample = swept(templates)
    true = frozenset((name(one), name(FACES - COPIES + one)) for one in range(COPIES))
    unreviewed = sample.calibrated()
    reviewed = sample.calibrated(Marks(confirmed=true))
    high, low = (threshold_for(each, TARGET, FLOOR) for each in (unreviewed, reviewed))
    assert before is not None
    assert high is not None
    assert low is not None
    assert low.threshold - before.threshold < 0.002 < high.threshold - before.threshold
    assert unreviewed.confirmed == 0
    assert reviewed.confirmed >= 0.9 * COPIES
    assert unreviewed.unreviewed - reviewed.unreviewed >= reviewed.confirmed


def test_two_alike_are_never_presumed_one_person() -> None:
    """However alike they are: a pair alone is what an error looks like."""
    calibration = told(10_000, [pair(1, 2, 1.0)]).calibrated()
    assert (calibration.presumed, calibration.unreviewed) == (0, 1)
    assert sum(calibration.impostors.values()) == 1


def test_three_alike_are_and_a_chain_is_not() -> None:
    """A third who is like both; somebody like two who are not alike ties nobody."""
    three = told(10_000, between(1, 2, 3)).calibrated()
    assert (three.presumed, three.unreviewed, three.impostors) == (3, 0, {})
    chain = told(10_000, [pair(1, 2, 0.97), pair(2, 3, 0.97)]).calibrated()
    assert (chain.presumed, chain.unreviewed) == (0, 2)


def test_a_pair_of_a_group_is_one_person_at_any_score() -> None:
    """Two bad photos of one person are no strangers though they are less alike than the others."""
    pairs = [*between(1, 2, 3), pair(1, 4, 0.96), pair(2, 4, 0.96), pair(3, 4, 0.901)]
    assert told(10_000, pairs).calibrated().impostors == {}


def test_people_told_apart_are_two_whatever_ties_them() -> None:
    """Twins in a group of three: their pair stays an error, reviewed, and no group joins them."""
    pairs = between(1, 2, 3)
    apart = frozenset({(name(1), name(2))})
    calibration = told(10_000, pairs).calibrated(Marks(apart=apart))
    assert (calibration.presumed, calibration.unreviewed) == (0, 2)
    assert sum(calibration.impostors.values()) == 3
    twins = Marks(confirmed=frozenset({(name(1), name(3)), (name(2), name(3))}), apart=apart)
    found = presumed(best_scores(((each.subject_a, each.subject_b), each.score) for each in pairs),
                     twins, 10_000, MATCH_MIN).persons  # fmt: skip
    assert found[name(1)] == found[name(3)] != found.get(name(2))


def test_a_confirmed_pair_may_grow() -> None:
    """Whoever is like both of a confirmed pair is the third; and whoever a reviewer tied through a
    third person is one with both.
    """
    pairs = [*between(1, 2, 3), pair(5, 6, 0.97), pair(6, 7, 0.97), pair(5, 7, 0.92)]
    confirmed = frozenset({(name(1), name(2)), (name(5), name(6)), (name(6), name(7))})
    calibration = told(10_000, pairs).calibrated(Marks(confirmed=confirmed))
    assert (calibration.confirmed, calibration.presumed) == (3, 3)
    assert calibration.impostors == {}


def test_a_second_signal_is_company_enough() -> None:
    """Two with one document, where their faces match as well; not what half the town shares."""
    pairs = [pair(1, 2, 0.95), pair(3, 4, 0.905)]
    shared = {name(number): frozenset({"document:1"}) for number in (1, 2, 3, 4)}
    calibration = told(10_000, pairs).calibrated(Marks(signals=shared))
    assert calibration.presumed == 1
    kiosk = {name(number): frozenset({"device:1"}) for number in range(SHARED_MAX + 1)}
    assert told(10_000, pairs).calibrated(Marks(signals=kiosk)).presumed == 0


def test_a_template_that_looks_like_everybody_is_no_person() -> None:
    """Two blurred faces, each like all of forty strangers: a triangle with each, and yet no more
    than a few are drawn in.
    """
    pairs = [pair(1, 2, 0.98)]
    pairs += [pair(hub, other, 0.96) for hub in (1, 2) for other in range(10, 50)]
    calibration = told(10_000, pairs).calibrated()
    assert calibration.presumed <= 10
    assert calibration.unreviewed >= 71


def test_no_person_has_more_than_fifty_accounts() -> None:
    """A clique of a hundred is a fault of the photos: what is presumed of it stays bounded."""
    scores = best_scores(
        ((each.subject_a, each.subject_b), each.score) for each in between(*range(100))
    )
    found = presumed(scores, Marks(), 10_000, MATCH_MIN).persons
    sizes = np.bincount(list(found.values()))
    assert sizes.max() <= GROUP_MAX


def test_where_chance_makes_company_nothing_is_presumed() -> None:
    """Among so many pairs alone that one face in five has one, three alike may be chance too."""
    alone = [pair(2 * n, 2 * n + 1, 0.97) for n in range(1_000)]
    among = told(10_000, [*alone, *between(5_001, 5_002, 5_003, score=0.96)]).calibrated()
    assert (among.presumed, among.company_from) == (0, NEVER)
    assert among.unreviewed == 1_003


@pytest.mark.parametrize("faces", [20, 50, 100, 200])
def test_strangers_of_a_small_gallery_stay_strangers(faces: int) -> None:
    """Below the pack's threshold nobody is presumed anything, and above it at most three groups by
    chance.
    """
    for seed in range(10):
        _, templates = strangers(faces, seed)
        calibration = swept(templates).calibrated()
        assert calibration.presumed <= 9


def test_the_best_of_several_faces_ties_customers() -> None:
    """A customer has one score with another however many photos there are of them."""
    both = (name(1), name(2))
    assert best_scores([(both, 0.91), (both, 0.95), (both, 0.93)]) == {both: 0.95}
