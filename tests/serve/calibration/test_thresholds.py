"""Thresholds for a share of wrong searches: what they promise is true of searches made afresh."""

import pytest

from serve.domain.search.evidence import NOTHING_KNOWN
from serve.domain.sweeps.calibration import (
    BINS,
    bin_of,
    edge_of,
    expected,
    faces_needed,
    threshold_for,
)
from tests.serve.calibration.galleries import (
    MODEL,
    Swept,
    best_of,
    between,
    pair,
    strangers,
    swept,
    told,
)

FLOOR = 0.9
TRIALS, FACES, PROBES = 100, 500, 6_000
TARGETS = (0.2, 0.1, 0.05)


def test_the_truth_is_within_the_interval_in_95_of_100_trials() -> None:
    """Of searches with faces that the sweep never saw as many show a stranger as was said, and no
    more than the target; counted over galleries of 500, at three targets.
    """
    within, kept, shown = dict.fromkeys(TARGETS, 0), dict.fromkeys(TARGETS, 0), 0
    for seed in range(TRIALS):
        people, templates = strangers(FACES, seed)
        calibration = swept(templates).calibrated()
        best = best_of(people.templates(PROBES), templates)
        for target in TARGETS:
            found = threshold_for(calibration, target, FLOOR)
            assert found is not None
            truth = float((best >= found.threshold).mean())
            within[target] += found.low <= truth <= found.high
            kept[target] += truth <= target
            shown += 1
    assert shown == TRIALS * len(TARGETS)
    assert min(within.values()) >= 95, within
    assert min(kept.values()) >= 95, kept


def test_a_threshold_is_the_lowest_whose_bound_is_the_target() -> None:
    """One bin lower as many err that the bound is above it."""
    _, templates = strangers(FACES, 1)
    calibration = swept(templates).calibrated()
    for target in TARGETS:
        found = threshold_for(calibration, target, FLOOR)
        assert found is not None
        assert calibration.fpir(found.threshold).high == found.high <= target
        lower = edge_of(bin_of(found.threshold) - 1)
        assert calibration.fpir(lower).high > target
        assert found.low <= found.fpir <= found.high
        assert found.fpir == found.errors / found.probes


@pytest.mark.parametrize(("faces", "target"), [(70, 0.1), (734, 0.01), (7_374, 0.001)])
def test_a_gallery_too_small_shows_nothing(faces: int, target: float) -> None:
    """Without one error so many faces are too few by two, by Clopper and Pearson's bound of half as
    many.
    """
    assert threshold_for(told(faces, ()).calibrated(), target, FLOOR) is None
    assert threshold_for(told(faces + 2, ()).calibrated(), target, FLOOR) is not None
    assert faces_needed(target) == faces + 2


def test_without_errors_the_threshold_is_the_lowest_score_that_is_known() -> None:
    """From the floor on, or from where all pairs are known; an empty gallery shows nothing."""
    for complete_from, threshold in ((0.8, FLOOR), (0.93, 0.93)):
        found = threshold_for(told(1_000, (), complete_from).calibrated(), 0.1, FLOOR)
        assert found is not None
        assert (found.threshold, found.errors) == (threshold, 0)
    assert threshold_for(told(0, ()).calibrated(), 0.5, FLOOR) is None


def test_faces_as_alike_as_can_be_leave_no_threshold() -> None:
    """Where one photo stands for hundreds of pairs no score is above their errors."""
    pairs = [pair(2 * number, 2 * number + 1, 1.0) for number in range(300)]
    assert threshold_for(told(1_000, pairs).calibrated(), 0.1, FLOOR) is None


def test_a_calibration_holds_until_the_gallery_has_grown_by_a_ninth() -> None:
    """To 1,111 from 1,000 faces, for its model alone; a gallery that shrank errs less."""
    calibration = told(1_000, ()).calibrated()
    assert calibration.expires_at_size == 1_112
    assert [calibration.holds_for(MODEL, size) for size in (10, 1_000, 1_111, 1_112)] == [
        True, True, True, False
    ]  # fmt: skip
    assert not calibration.holds_for("model.2", 1_000)


def chance(errors: int) -> Swept:
    """A thousand faces, of whom so many pairs of strangers score 0.95, a pair of faces each."""
    return told(1_000, (pair(2 * number, 2 * number + 1, 0.95) for number in range(errors)))


def test_what_is_expected_needs_ten_errors() -> None:
    """The gallery's size times the share of pairs that err, and its bound; below ten the bound."""
    few, many = (chance(errors).calibrated() for errors in (9, 10))
    assert expected(few, 0.95, 500).expected is None
    found = expected(many, 0.95, 500)
    assert found.expected == pytest.approx(500 * 10 / 499_500)
    assert found.expected is not None
    assert found.upper_bound is not None
    assert found.upper_bound > found.expected
    above = expected(many, 0.96, 500)
    assert above.expected is None
    assert above.upper_bound == pytest.approx(500 * 3 / 499_500)


def test_below_what_is_known_nothing_is_expected() -> None:
    """A sweep that kept pairs from 0.9 on says nothing of 0.89."""
    assert expected(chance(10).calibrated(), 0.89, 500) == NOTHING_KNOWN


def test_a_score_is_counted_where_a_threshold_finds_it() -> None:
    """Every bin's own edge is in it, nothing is outside of all, and no count is too small."""
    assert all(bin_of(edge_of(place)) == place for place in range(BINS))
    assert (bin_of(-1.1), bin_of(1.0 + 1e-7)) == (0, BINS - 1)
    scores = [0.913 + number / 7_919 for number in range(300)]
    pairs = (pair(2 * n, 2 * n + 1, score) for n, score in enumerate(scores))
    calibration = told(100_000, pairs).calibrated()
    for score in scores:
        true = sum(each >= score for each in scores)
        assert true <= calibration.impostors_from(score) <= true + 5


def test_each_face_errs_once_at_its_best_score() -> None:
    """Of three strangers in a row the middle one errs by the better of two pairs."""
    calibration = told(1_000, [pair(1, 2, 0.95), pair(2, 3, 0.93)]).calibrated()
    assert calibration.erring == {bin_of(0.95): 2, bin_of(0.93): 1}
    assert calibration.impostors == {bin_of(0.95): 1, bin_of(0.93): 1}
    assert (calibration.probes, calibration.pairs) == (1_000, 499_500)


def test_pairs_that_not_all_are_known_of_do_not_count() -> None:
    """What a tile happened to keep below the common score is no sample."""
    pairs = [pair(1, 2, 0.95), pair(3, 4, 0.85)]
    assert told(1_000, pairs).calibrated() == told(1_000, pairs[:1]).calibrated()


def test_the_order_of_pairs_changes_nothing() -> None:
    """Tiles end in any order."""
    pairs = [*between(1, 2, 3, 4), pair(1, 9, 0.96), pair(7, 8, 0.96), pair(3, 9, 0.95)]
    assert told(1_000, pairs).calibrated() == told(1_000, pairs[::-1]).calibrated()
