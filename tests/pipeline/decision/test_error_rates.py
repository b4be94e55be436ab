"""Error rates against their definitions, brute force and values known from the literature."""

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.error_rates import (
    DET_POINTS_MAX,
    DetCurve,
    Floats,
    area_under_curve,
    det_curve,
    equal_error_rate,
    measure,
    normal_deviate,
    proportion,
    rare_errors_upper,
    thinned,
)
from pipeline.errors import Code, PipelineError

# Eighths make ties likely, between the sets and within them; the rest is any similarity.
SCORE = st.one_of(st.integers(0, 8).map(lambda eighths: eighths / 8), st.floats(0.0, 1.0))
SCORES = st.lists(SCORE, max_size=30).map(lambda scores: np.array(scores, np.float64))
SOME_SCORES = st.lists(SCORE, min_size=1, max_size=30).map(lambda s: np.array(s, np.float64))
NOTHING = np.empty(0)


def normal_scores(size: int, mean: float, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(mean, 1.0, size)


def tail(trials: int, rate: float, at_least: int, at_most: int) -> float:
    """P(at_least <= X <= at_most) for X ~ Binomial(trials, rate), by its definition."""
    return math.fsum(
        math.comb(trials, k) * rate**k * (1.0 - rate) ** (trials - k)
        for k in range(at_least, at_most + 1)
    )


@given(SCORES, SCORES, SCORE)
def test_rates_count_what_their_definitions_say(
    genuine: Floats, impostor: Floats, threshold: float
) -> None:
    """FMR counts impostors at or above the threshold, FNMR genuine scores below it."""
    rates = measure(genuine, impostor, threshold)
    assert rates.fmr.errors == sum(score >= threshold for score in impostor)
    assert rates.fnmr.errors == sum(score < threshold for score in genuine)
    assert (rates.fmr.trials, rates.fnmr.trials) == (len(impostor), len(genuine))


@given(SOME_SCORES, SOME_SCORES, SCORE, st.integers(0, 20), st.integers(0, 20))
def test_a_lost_comparison_counts_as_a_non_match(
    genuine: Floats, impostor: Floats, threshold: float, genuine_lost: int, impostor_lost: int
) -> None:
    """Generalised rates are those of scores in which every lost comparison scored nothing."""
    rates = measure(
        genuine, impostor, threshold, genuine_lost=genuine_lost, impostor_lost=impostor_lost
    )
    never = measure(
        np.append(genuine, np.full(genuine_lost, -1.0)),
        np.append(impostor, np.full(impostor_lost, -1.0)),
        threshold,
    )
    assert (rates.gfmr, rates.gfnmr) == (never.fmr, never.fnmr)
    share = genuine_lost / (len(genuine) + genuine_lost)
    assert rates.gfnmr.rate is not None
    assert rates.fnmr.rate is not None
    assert rates.gfnmr.rate == pytest.approx(share + (1.0 - share) * rates.fnmr.rate)


@given(st.integers(1, 60), st.data())
def test_interval_leaves_exactly_a_fortieth_on_either_side(
    trials: int, data: st.DataObject
) -> None:
    """At each end of the interval, an outcome as extreme as the one seen has a chance of 2.5 %."""
    errors = data.draw(st.integers(0, trials))
    interval = proportion(errors, trials)
    assert interval.rate == errors / trials
    assert interval.low <= interval.rate <= interval.high
    if errors > 0:
        assert tail(trials, interval.low, errors, trials) == pytest.approx(0.025)
    else:
        assert interval.low == 0.0
    if errors < trials:
        assert tail(trials, interval.high, 0, errors) == pytest.approx(0.025)
    else:
        assert interval.high == 1.0


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 100, 0.0490, 0.1762),
        (0, 300, 0.0, 0.0122),
    ],
)
def test_interval_has_the_values_of_published_tables(
    errors: int, trials: int, low: float, high: float
) -> None:
    """Clopper-Pearson limits agree with printed tables to the four places they give."""
    interval = proportion(errors, trials)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize("trials", [30, 1000, 1_000_000])
def test_no_errors_still_leave_an_upper_bound(trials: int) -> None:
    """Zero errors never read as an error rate of zero: the bound is 1 - 0.025^(1/n), ~ 3.7/n."""
    high = proportion(0, trials).high
    assert high == pytest.approx(1.0 - 0.025 ** (1.0 / trials), rel=1e-9)
    assert 3.4 / trials < high < 3.7 / trials


def test_nothing_tried_is_nothing_known() -> None:
    """Empty sets give no rate and the whole interval; no curve, area or equal error rate."""
    nothing = proportion(0, 0)
    assert (nothing.rate, nothing.low, nothing.high) == (None, 0.0, 1.0)
    for genuine, impostor in [
        (NOTHING, NOTHING),
        (np.array([0.5]), NOTHING),
        (NOTHING, np.array([0.5])),
    ]:
        rates = measure(genuine, impostor, 0.36)
        assert (rates.auc, rates.eer, rates.det) == (None, None, ())


@pytest.mark.parametrize(("errors", "trials"), [(-1, 10), (11, 10), (0, -1)])
def test_impossible_counts_are_refused(errors: int, trials: int) -> None:
    """A count of errors outside its trials is an error, not a rate."""
    with pytest.raises(PipelineError) as refused:
        proportion(errors, trials)
    assert refused.value.code is Code.WRONG_SHAPE


@given(SOME_SCORES, SOME_SCORES)
def test_area_is_the_chance_of_ranking_a_pair_right(genuine: Floats, impostor: Floats) -> None:
    """AUC equals the mean over all pairs of 1, 1/2 for a tie, or 0."""
    wins = [1.0 if g > i else 0.5 if g == i else 0.0 for g in genuine for i in impostor]
    assert area_under_curve(genuine, impostor) == pytest.approx(sum(wins) / len(wins))


@given(SOME_SCORES, SOME_SCORES)
def test_area_lies_under_the_very_curve_that_is_reported(genuine: Floats, impostor: Floats) -> None:
    """The trapezoids under 1 - FNMR over FMR add up to the AUC, ties and all."""
    curve = det_curve(genuine, impostor)
    hits = 1.0 - curve.fnmr
    trapezoids = (hits[1:] + hits[:-1]) / 2.0 * -np.diff(curve.fmr)
    assert float(trapezoids.sum()) == pytest.approx(area_under_curve(genuine, impostor))


@given(SOME_SCORES, SOME_SCORES)
def test_curve_holds_every_operating_point(genuine: Floats, impostor: Floats) -> None:
    """Each point is what `measure` counts there; ends are (1, 0) and (0, 1); no point is twice."""
    curve = det_curve(genuine, impostor)
    assert set(curve.thresholds[:-1]) == set(genuine) | set(impostor)
    for point in curve.points():
        rates = measure(genuine, impostor, point.threshold)
        assert (point.fmr, point.fnmr) == (rates.fmr.rate, rates.fnmr.rate)
    assert (curve.fmr[0], curve.fnmr[0]) == (1.0, 0.0)
    assert (curve.fmr[-1], curve.fnmr[-1]) == (0.0, 1.0)
    assert all(low < high for low, high in pairwise(curve.thresholds))


@given(SOME_SCORES, SOME_SCORES)
def test_equal_error_rate_lies_where_the_rates_cross(genuine: Floats, impostor: Floats) -> None:
    """EER is bracketed by the last point with FMR > FNMR and the first with FMR <= FNMR."""
    curve = det_curve(genuine, impostor)
    eer = equal_error_rate(curve)
    assert eer is not None
    after = next(p for p in curve.points() if p.fnmr >= p.fmr)
    before = [p for p in curve.points() if p.fnmr < p.fmr][-1]
    assert before.fnmr - 1e-12 <= eer <= after.fnmr + 1e-12
    assert after.fmr - 1e-12 <= eer <= before.fmr + 1e-12


def test_equal_error_rate_and_area_of_known_distributions() -> None:
    """Two unit normals 2 apart have EER = Phi(-1) and AUC = Phi(sqrt 2); a sample comes close."""
    rates = measure(normal_scores(200_000, 2.0, seed=1), normal_scores(200_000, 0.0, seed=2), 1.0)
    assert rates.eer == pytest.approx(NormalDist().cdf(-1.0), abs=2e-3)
    assert rates.auc == pytest.approx(NormalDist().cdf(math.sqrt(2.0)), abs=2e-3)


def test_small_cases_by_hand() -> None:
    """Separable sets err nowhere, equal sets like a coin, and a textbook four-score case."""
    apart = measure(np.array([0.8, 0.9]), np.array([0.1, 0.2]), 0.5)
    assert (apart.auc, apart.eer) == (1.0, 0.0)
    same = measure(np.array([0.5, 0.5]), np.array([0.5]), 0.5)
    assert (same.auc, same.eer) == (0.5, 0.5)
    assert (same.fmr.rate, same.fnmr.rate) == (1.0, 0.0)
    mixed = measure(np.array([0.35, 0.8]), np.array([0.1, 0.4]), 0.4)
    assert (mixed.auc, mixed.eer) == (0.75, 0.5)
    # The line from (FMR, FNMR) = (2/3, 1/4) to (0, 1) meets FMR = FNMR at 8/17.
    crossed = det_curve(np.array([0.2, 0.7, 0.7, 0.7]), np.array([0.1, 0.7, 0.7]))
    assert equal_error_rate(crossed) == pytest.approx(8.0 / 17.0)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_broken_score_is_refused_on_either_side(broken: float) -> None:
    """NaN and infinity are errors wherever they occur: they would otherwise count as correct."""
    good, bad = np.array([0.1, 0.9]), np.array([0.1, broken])
    for genuine, impostor in [(good, bad), (bad, good), (NOTHING, bad), (bad, NOTHING)]:
        with pytest.raises(PipelineError) as refused:
            measure(genuine, impostor, 0.5)
        assert refused.value.code is Code.WRONG_SHAPE
        with pytest.raises(PipelineError):
            area_under_curve(genuine, impostor)


def test_a_nan_threshold_is_refused() -> None:
    """A NaN threshold would show no false match at all; it is an error."""
    with pytest.raises(PipelineError) as refused:
        measure(np.array([0.9]), np.array([0.1]), math.nan)
    assert refused.value.code is Code.WRONG_SHAPE


def test_scores_of_the_wrong_shape_are_refused() -> None:
    """Scores come in one row."""
    with pytest.raises(PipelineError) as refused:
        det_curve(np.zeros((2, 2)), np.zeros(2))
    assert refused.value.code is Code.WRONG_SHAPE


@given(SOME_SCORES, SOME_SCORES, st.integers(2, 40))
def test_thinning_drops_points_and_changes_none(
    genuine: Floats, impostor: Floats, points_max: int
) -> None:
    """A thinned curve is a rising choice of at most so many points, with both ends."""
    curve = det_curve(genuine, impostor)
    points = thinned(curve, points_max).points()
    every = curve.points()
    assert len(points) <= points_max
    assert set(points) <= set(every)
    assert (points[0], points[-1]) == (every[0], every[-1])
    assert all(low.threshold < high.threshold for low, high in pairwise(points))
    if len(every) <= points_max:
        assert points == every


def test_thinning_keeps_an_end_that_only_few_scores_reach() -> None:
    """The last point stays although the curve leaps there: most genuine scores share one value."""
    curve = det_curve(np.array([0.0] * 4 + [0.125]), np.array([0.0]))
    assert thinned(curve, 2).points() == (curve.points()[0], curve.points()[-1])


def test_thinning_keeps_the_rare_errors() -> None:
    """Of 40,000 points the few hundred kept still show each decade of FMR down to one error."""
    curve = det_curve(normal_scores(20_000, 6.0, seed=3), normal_scores(20_000, 0.0, seed=4))
    fmr = thinned(curve, DET_POINTS_MAX).fmr
    for rate in (5e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        assert np.any((fmr >= rate) & (fmr <= 2.0 * rate)), rate


def test_thinning_leaves_nothing_of_an_empty_curve() -> None:
    """A curve without points stays one."""
    assert thinned(DetCurve(NOTHING, NOTHING, NOTHING), 2).points() == ()


def test_normal_deviate_is_the_normal_quantile() -> None:
    """The axis agrees with the standard library's inverse normal distribution."""
    rates = np.array([1e-6, 0.001, 0.025, 0.5, 0.8, 0.999])
    expected = [NormalDist().inv_cdf(rate) for rate in rates.tolist()]
    assert normal_deviate(rates) == pytest.approx(expected)


@pytest.mark.parametrize("errors", [0, 1, 2, 9, 10, 100])
def test_the_bound_of_rare_errors_is_where_so_few_are_seen_once_in_twenty(errors: int) -> None:
    """At the bound itself, so few errors or fewer happen with a chance of 5 %, by definition."""
    mean = rare_errors_upper(errors)
    terms = [math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(errors + 1)]
    assert math.fsum(terms) == pytest.approx(0.05, rel=1e-9)


def test_a_negative_number_of_errors_has_no_bound() -> None:
    """It is refused rather than bounded by something."""
    with pytest.raises(PipelineError) as caught:
        rare_errors_upper(-1)
    assert caught.value.code is Code.WRONG_SHAPE
