"""Counts, rates and intervals of the suite, in the standard's words."""

import pytest

from pipeline.liveness.challenge import DRAWS
from pipeline.liveness.judgement import Doubt, Judgement
from serve.bench.liveness.figures import BPCER_MAX, Outcome, goals, tallies
from serve.bench.liveness.species import Class, Species, draws_for
from serve.pictures.liveness import draw_liveness

PASSED = Judgement((), 0.9, {}, 3)
FAILED = Judgement((Doubt.HEAD_FLAT, Doubt.STEP_NOT_SEEN), 0.1, {}, 3)
NOBODY = Judgement((), 0.0, {}, None, is_judged=False)


def outcomes(species: Species, *judgements: Judgement) -> list[Outcome]:
    return [Outcome(species, "somebody", DRAWS[0], each) for each in judgements]


def test_an_attack_errs_by_passing_and_a_bona_fide_by_not() -> None:
    """APCER counts what passed, BPCER what did not; both with exact intervals."""
    bona_fide, attack = tallies([
        *outcomes(Species.PRINT_TILTED, PASSED, FAILED, FAILED, NOBODY),
        *outcomes(Species.PERFORMANCE, PASSED, PASSED, FAILED),
    ])  # fmt: skip
    assert (attack.error.errors, attack.error.trials) == (1, 4)
    assert (bona_fide.error.errors, bona_fide.error.trials) == (1, 3)
    told = attack.encode()
    assert told["apcer"] == 0.25
    assert told["interval_95"] == [pytest.approx(0.0063), pytest.approx(0.8059)]
    assert told["not_judged"] == 1
    assert told["doubts"] == {"head_flat": 2, "step_not_seen": 2}
    assert bona_fide.encode()["bpcer_of_rendered"] == pytest.approx(0.3333)


def test_the_rule_of_three_holds_where_nothing_passed() -> None:
    """No error in 36 presentations bounds the rate by 1 - 0.025^(1/36), about a tenth."""
    (attack,) = tallies(outcomes(Species.STILL, *[FAILED] * 36))
    assert attack.encode()["interval_95"] == [0.0, pytest.approx(0.0974)]


def test_goals_count_species_that_ever_passed() -> None:
    """One attack that passed is a species too many; a right recording that passes is none, nor is
    a bent print, which has depth.
    """
    found = tallies([
        *outcomes(Species.PERFORMANCE, *[PASSED] * 40, FAILED),
        *outcomes(Species.STILL, FAILED),
        *outcomes(Species.RIGHT_CHALLENGE, PASSED),
        *outcomes(Species.PRINT_BENT, PASSED),
    ])  # fmt: skip
    attacks, bona_fides = goals(found)
    assert (attacks.values, attacks.is_met) == ((0.0,), True)
    assert bona_fides.wanted == BPCER_MAX
    assert bona_fides.is_met
    worse = goals(tallies([*outcomes(Species.LOOP, PASSED), *outcomes(Species.STILL, FAILED)]))
    assert [(each.values, each.is_met) for each in worse] == [((1.0,), False)]


def test_every_species_says_what_it_is() -> None:
    """Each has words, a class and draws; bona fides are one species, and called rendered."""
    assert all(each.text and draws_for(each) for each in Species)
    (bona_fide,) = (each for each in Species if each.kind is Class.BONA_FIDE)
    assert "rendered" in bona_fide.text
    assert {each for each in Species if each.kind is Class.RECORDING} == {
        Species.RIGHT_CHALLENGE, Species.BACKWARDS, Species.HALVES_SWAPPED, Species.MIRRORED,
        Species.STEPS_JOINED,
    }  # fmt: skip


def test_a_mirror_is_tried_on_draws_with_a_side() -> None:
    """What has no turn in it looks the same mirrored."""
    assert all({"turn_left", "turn_right"} & {*draw} for draw in draws_for(Species.MIRRORED))
    assert len(draws_for(Species.MIRRORED)) == 14


def test_holes_are_tried_on_what_shows_through_them() -> None:
    """Cut-out eyes are asked to blink and a cut-out mouth to open, in every draw that has it."""
    for species, step in (
        (Species.CUT_OUT_EYES, "blink"),
        (Species.CUT_OUT_MOUTH, "mouth_open"),
    ):
        assert draws_for(species) == tuple(draw for draw in DRAWS if step in draw)


def test_the_picture_is_one() -> None:
    """Any tallies make a PNG."""
    found = tallies([
        *outcomes(Species.PERFORMANCE, PASSED),
        *outcomes(Species.STILL, FAILED),
        *outcomes(Species.BACKWARDS, PASSED),
    ])  # fmt: skip
    assert draw_liveness(found).startswith(b"\x89PNG")
