"""The suite on two real people: what is presented, to whom it is held, and what models see."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.evidence import FaceEvidence, Missing, Pixels
from pipeline.face.steps import FRAME
from pipeline.liveness.challenge import DRAWS, Step
from pipeline.models.cache import ModelCache
from pipeline.models.load import LoadedPack
from pipeline.render.draw import Attitude, draw_head
from pipeline.render.head import SIDE_PX
from serve.bench.liveness.assess import Examiner, assess_clip
from serve.bench.liveness.cast import Actor, cast_of
from serve.bench.liveness.figures import goals, tallies
from serve.bench.liveness.instruments import Takes, presentations
from serve.bench.liveness.sheet import sheet_of
from serve.bench.liveness.species import Class, Species
from serve.bench.liveness.suite import Suite, run_suite
from serve.demo.tiles import STRANGER, make_selfie
from tests.serve.cli.command_line import limen

pytestmark = pytest.mark.models

SEED = 1


@pytest.fixture(scope="module")
def cast(pack: LoadedPack, tiles: list[list[Pixels]]) -> list[Actor]:
    """Two men, of five tiles that show one of them twice and the other three times."""
    places = ((0, 10), STRANGER[1], STRANGER[0], (0, 11), (0, 15))
    selfies = [(f"tile {place}", make_selfie(tiles[place[0]][place[1]])) for place in places]
    return cast_of(selfies, pack, 9)


def test_a_cast_shows_nobody_twice(cast: list[Actor]) -> None:
    """Of five photos of two men, one of each is chosen."""
    assert len(cast) == 2


def test_no_more_are_cast_than_are_wanted(pack: LoadedPack, tiles: list[list[Pixels]]) -> None:
    """Photos behind the last that is needed are not looked at, and what is no face is left out."""
    photos = [("noise", make_selfie(np.zeros((106, 106, 3), np.uint8)))]
    photos += [(f"{column}", make_selfie(tiles[4][column])) for column in range(18)]
    assert len(cast_of(photos, pack, 3)) == 3


def test_every_species_is_presented_and_judged(pack: LoadedPack, cast: list[Actor]) -> None:
    """Each species once with each person; a performance before all 17 other draws as well. What is
    performed passes, and of flat or edited attacks nothing does.
    """
    told: list[tuple[int, int]] = []
    suite = Suite(cast, performances=1, per_actor=1, seed=SEED, threads=2)
    outcomes = run_suite(suite, Examiner(pack), lambda *each: told.append(each))
    counts = Counter(each.species for each in outcomes)
    assert counts.pop(Species.WRONG_CHALLENGE) == 2 * (len(DRAWS) - 1)
    assert counts == dict.fromkeys(set(Species) - {Species.WRONG_CHALLENGE}, 2)
    assert told[-1] == (len(told), len(told))
    assert all(goal.is_met for goal in goals(tallies(outcomes)))
    held = {each.steps for each in outcomes if each.species is Species.WRONG_CHALLENGE}
    assert held == set(DRAWS)


def test_a_presentation_comes_of_its_seed_and_place(cast: list[Actor]) -> None:
    """Made again, it is the same byte for byte; of another seed it is another."""
    for species in (Species.STILL_IN_HAND, Species.SPLICE):
        one, again, other = (
            next(presentations(species, cast, 1, seed))().clip for seed in (1, 1, 2)
        )
        assert one == again
        assert one != other


def test_a_performance_is_rendered_once(cast: list[Actor]) -> None:
    """All that is made of a performance shows the very frames of it."""
    take = Takes(SEED)
    performed = take(cast[0], (Step.NOD, Step.BLINK))
    assert take(cast[0], (Step.NOD, Step.BLINK)) is performed


def test_a_photo_on_a_stand_does_not_pass(pack: LoadedPack, cast: list[Actor]) -> None:
    """Nothing that a challenge asks for is seen in a still."""
    shown = next(presentations(Species.STILL, cast, 1, SEED))()
    assert not assess_clip(pack, shown.steps, shown.clip).is_passed


def test_frames_are_looked_at_once(pack: LoadedPack, cast: list[Actor]) -> None:
    """Observations of equal frames differ in number and time alone, and are in the clip's order."""
    shown = next(presentations(Species.STILL_REPEATED, cast, 1, SEED))()
    observations = Examiner(pack).watch(shown.clip).observations
    assert len({each.digest for each in observations}) == 1
    assert [each.number for each in observations] == list(range(len(observations)))
    assert [each.captured_ms for each in observations] == [*shown.clip.captured_ms]


def test_a_sheet_is_flat_and_looks_like_the_head(pack: LoadedPack, cast: list[Actor]) -> None:
    """All points of a print lie in a plane; a bent one has depth, less than a head's."""
    head = cast[0].head
    assert not sheet_of(head).points[:, 2].any()
    bent = sheet_of(head, 1.5).points[:468, 2]
    assert 0.0 < np.ptp(bent) < np.ptp(head.points[:468, 2])
    shown = next(presentations(Species.STILL, cast, 1, SEED))()
    (evidence,) = pack.faces.run(shown.clip.frames[:1], FRAME)
    assert isinstance(evidence, FaceEvidence)
    assert evidence.is_fit
    assert evidence.passive_liveness is Missing.NOT_REQUESTED


def test_a_sheet_right_before_the_camera_ends_in_the_wall(cast: list[Actor]) -> None:
    """Tilted by 65 degrees and near, the face is still there, and beyond the sheet is the wall."""
    sheet = sheet_of(cast[0].head, near=0.35)
    rest, steep = (draw_head(sheet, Attitude(yaw_deg=each)).astype(float) for each in (0.0, 65.0))
    assert np.abs(rest - sheet.texture).mean() < 2.0
    assert (steep[0, [0, -1]] == sheet.texture[0, 0]).all()
    middle = slice(SIDE_PX // 2 - 20, SIDE_PX // 2 + 20)
    assert np.abs(steep[middle, middle].mean() - rest[middle, middle].mean()) < 40.0


def test_the_command_reports_every_species(model_cache: ModelCache, tmp_path: Path) -> None:
    """`limen bench liveness` in its shortest form: counts, intervals, and a picture."""
    assert model_cache.pack_dir("default").is_dir()
    picture = tmp_path / "scores.png"
    ran = limen(
        "bench", "liveness", "--people", "2", "--performances", "1", "--draws", "1",
        "--picture", picture, "--json",
    )  # fmt: skip
    assert ran.exit_code == 0
    report = ran.document
    assert {each["species"] for each in report["species"]} == set(Species)
    for each in report["species"]:
        low, high = each["interval_95"]
        assert 0.0 <= low <= high <= 1.0
        assert each["presented"] > 0
        assert ("apcer" in each) == (each["class"] == Class.ATTACK)
    assert report["people"] == 2
    assert report["machine"]["commit"]
    assert "rendered" in report["note"]
    assert picture.read_bytes().startswith(b"\x89PNG")
