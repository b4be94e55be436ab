"""The evaluation flow, over a system of toy faces: a face is an angle on the unit circle."""

import json
import math
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path

import pytest

from pipeline.errors import Code, PipelineError
from serve.flows.evaluation.evaluate import (
    BATCH_IMAGES,
    WORST_PAIRS_MAX,
    Report,
    System,
    as_json,
    evaluate,
)
from serve.flows.evaluation.pairs import PairsError, read_pairs
from tests.helpers.toy_faces import MODEL, SCALE, ToyFaces


def no_progress(stage: str, done: int, total: int, /) -> None:
    """For who does not watch."""


def system(faces: ToyFaces | None = None) -> System:
    return System(faces or ToyFaces(), SCALE, MODEL, image_bytes_max=100)


def folder_of(folder: Path, images: dict[str, str], rows: Sequence[str]) -> Path:
    """Write the images and the pairs; a row is `a,b,same` or `a,b,same,group`."""
    for name, text in images.items():
        (folder / name).write_text(text)
    header = "path_a,path_b,same" + (",group" if rows[0].count(",") == 3 else "")
    path = folder / "pairs.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


FACES = {"a1": "face 0", "a2": "face 15", "a3": "face 25", "b1": "face 90", "b2": "face 97"}
ROWS = [
    "a1,a2,1,day",  # 15 degrees: a match
    "a1,a3,1,night",  # 25 degrees: a false non-match
    "b1,b2,1,day",  # 7 degrees: a match
    "a1,b1,0,day",  # 90 degrees apart
    "a3,b1,0,night",  # 65 degrees apart
    "a2,a3,0,night",  # 10 degrees, labelled as two people: a false match
]


def report_of(folder: Path, images: dict[str, str], rows: Sequence[str]) -> Report:
    return evaluate(read_pairs(folder_of(folder, images, rows)), system(), no_progress)


def test_errors_are_counted_at_the_systems_threshold(tmp_path: Path) -> None:
    """FMR and FNMR count the pairs on the wrong side, over all pairs of their kind."""
    report = report_of(tmp_path, FACES, ROWS)
    assert (report.threshold, report.is_threshold_overridden) == (0.36, False)
    assert report.model_id == MODEL
    assert (report.overall.genuine, report.overall.impostor) == (3, 3)
    rates = report.overall.rates
    assert (rates.fnmr.errors, rates.fnmr.trials) == (1, 3)
    assert (rates.fmr.errors, rates.fmr.trials) == (1, 3)
    # Of 9 rankings the impostor at 10 degrees upsets those against 15 and 25.
    assert rates.auc == pytest.approx(7 / 9)
    assert report.fte.images.errors == 0


def test_groups_are_measured_apart(tmp_path: Path) -> None:
    """Each group has the rates of its own pairs; together they are the whole."""
    report = report_of(tmp_path, FACES, ROWS)
    assert list(report.groups) == ["day", "night"]
    day, night = report.groups["day"], report.groups["night"]
    assert (day.rates.fnmr.errors, day.rates.fnmr.trials) == (0, 2)
    assert (day.rates.fmr.errors, day.rates.fmr.trials) == (0, 1)
    assert (night.rates.fnmr.errors, night.rates.fnmr.trials) == (1, 1)
    assert (night.rates.fmr.errors, night.rates.fmr.trials) == (1, 2)


def test_pairs_without_a_group_count_only_overall(tmp_path: Path) -> None:
    """An empty group cell names no group."""
    report = report_of(tmp_path, FACES, ["a1,a2,1,day", "b1,b2,1,"])
    assert list(report.groups) == ["day"]
    assert report.groups["day"].genuine == 1
    assert report.overall.genuine == 2


def test_an_overridden_threshold_is_used_and_flagged(tmp_path: Path) -> None:
    """Another threshold changes the counts and nothing else, and the report says so."""
    pairs = read_pairs(folder_of(tmp_path, FACES, ROWS))
    usual = evaluate(pairs, system(), no_progress)
    strict = evaluate(pairs, system(), no_progress, threshold=1.0)
    assert (strict.threshold, strict.is_threshold_overridden) == (1.0, True)
    assert strict.overall.rates.fnmr.errors == 3
    assert strict.overall.rates.fmr.errors == 0
    assert strict.overall.rates.det == usual.overall.rates.det


def test_the_systems_own_threshold_counts_as_overridden_when_given(tmp_path: Path) -> None:
    """The flag says that a user chose, even where they chose the same."""
    pairs = read_pairs(folder_of(tmp_path, FACES, ROWS))
    assert evaluate(pairs, system(), no_progress, threshold=0.36).is_threshold_overridden


@pytest.mark.parametrize("threshold", [math.nan, -0.1, 1.1, math.inf])
def test_a_threshold_that_is_no_similarity_is_refused(tmp_path: Path, threshold: float) -> None:
    """It is refused before any image is read, and never gives a flattering report."""
    pairs = read_pairs(folder_of(tmp_path, FACES, ROWS))
    faces = ToyFaces()
    with pytest.raises(PipelineError) as refused:
        evaluate(pairs, system(faces), no_progress, threshold=threshold)
    assert refused.value.code is Code.WRONG_SHAPE
    assert faces.batches == []


def test_every_image_is_embedded_once_in_bounded_batches(tmp_path: Path) -> None:
    """However many pairs share an image, and however it is written, it is embedded once."""
    names = [f"i{number}" for number in range(BATCH_IMAGES + 3)]
    images = {name: f"face {number}" for number, name in enumerate(names)}
    rows = [f"{a},./{b},0" for a, b in combinations(names, 2)]
    faces = ToyFaces()
    evaluate(read_pairs(folder_of(tmp_path, images, rows)), system(faces), no_progress)
    assert [len(batch) for batch in faces.batches] == [BATCH_IMAGES, 3]
    assert sorted(chain(*faces.batches)) == sorted(images.values())


def test_images_that_do_not_enrol_are_counted_by_reason(tmp_path: Path) -> None:
    """No face, several faces, broken and oversized files are failures to enrol, each by name."""
    images = {
        "good": "face 0",
        "none": "nobody",
        "unseen": "empty",
        "many": "crowd 0",
        "bad": "broken",
        "txt": "text",
        "big": "face 0" + " " * 95,
    }
    rows = [f"good,{name},1" for name in images if name != "good"]
    report = report_of(tmp_path, images, rows)
    assert (report.fte.images.errors, report.fte.images.trials) == (6, 7)
    assert report.fte.by_reason == {
        "face_not_found": 2,
        "multi_face": 1,
        "image_corrupt": 1,
        "not_an_image": 1,
        "image_too_large": 1,
    }
    assert report.overall.rates.fnmr.rate is None
    assert report.overall.rates.gfnmr.rate == 1.0


def test_pairs_of_a_failed_image_are_lost_not_counted_as_right(tmp_path: Path) -> None:
    """A lost pair is in no FMR or FNMR; the generalised rates count it as a non-match."""
    images = {**FACES, "x": "broken"}
    report = report_of(tmp_path, images, ["a1,a2,1", "a1,x,1", "a1,b1,0", "b1,x,0", "b2,x,0"])
    rates = report.overall.rates
    assert (report.overall.genuine, report.overall.impostor) == (2, 3)
    assert (rates.fnmr.errors, rates.fnmr.trials) == (0, 1)
    assert (rates.gfnmr.errors, rates.gfnmr.trials) == (1, 2)
    assert (rates.fmr.errors, rates.fmr.trials) == (0, 1)
    assert (rates.gfmr.errors, rates.gfmr.trials) == (0, 3)


def test_hints_do_not_keep_an_image_out(tmp_path: Path) -> None:
    """A blurred face with a template enrols; its hints are reported, a good image's ok is not."""
    report = report_of(tmp_path, {"a": "face 0", "b": "blurred 5"}, ["a,b,1"])
    assert report.fte.images.errors == 0
    assert report.overall.rates.fnmr.trials == 1
    assert report.feedback == {"blur_selfie": 1, "closed_eyes": 1}


def test_one_picture_under_two_names_is_pointed_out(tmp_path: Path) -> None:
    """Pairs of byte-identical files stay in the rates and are counted, so that one can ask why."""
    images = {"a": "face 0", "copy": "face 0", "b": "face 5", "x": "broken", "y": "broken"}
    images |= {"big": "face 0" + " " * 95, "large": "face 0" + " " * 95}
    report = report_of(tmp_path, images, ["a,copy,1", "a,b,1", "copy,b,1", "x,y,1", "big,large,1"])
    assert report.identical_pairs == 2  # a failed image counts too; one left unread cannot
    assert report.overall.rates.fnmr.trials == 3


@pytest.mark.parametrize(
    ("image", "code"), [("device", Code.DEVICE_ERROR), ("modelless", Code.PACK_MISSING)]
)
def test_a_broken_machine_is_not_a_failure_to_enrol(tmp_path: Path, image: str, code: Code) -> None:
    """Device and pack failures end the evaluation instead of passing for bad images."""
    with pytest.raises(PipelineError) as refused:
        report_of(tmp_path, {"a": "face 0", "b": image}, ["a,b,1"])
    assert refused.value.code is code


def test_an_image_that_vanishes_ends_the_evaluation(tmp_path: Path) -> None:
    """A file gone between reading the pairs and reading it is an error on its first line."""
    pairs = read_pairs(folder_of(tmp_path, FACES, ROWS))
    (tmp_path / "b1").unlink()
    with pytest.raises(PairsError) as refused:
        evaluate(pairs, system(), no_progress)
    assert refused.value.line == 4


def test_the_worst_pairs_are_those_nearest_to_the_other_label(tmp_path: Path) -> None:
    """Genuine pairs come least alike first, impostors most alike first, at most so many."""
    images = {f"i{angle}": f"face {angle}" for angle in range(12)}
    genuine = [f"i0,i{angle},1" for angle in range(1, 12)]
    impostor = [f"i11,i{angle},0" for angle in range(1, 11)]
    report = report_of(tmp_path, images, [*genuine, *impostor])
    worst = report.worst_genuine
    assert [pair.path_b for pair in worst] == [f"i{angle}" for angle in range(11, 1, -1)]
    assert (worst[0].line, worst[0].path_a) == (12, "i0")
    assert worst[0].similarity == pytest.approx(SCALE.similarity(math.cos(math.radians(11))))
    assert len(worst) == WORST_PAIRS_MAX
    assert [pair.path_b for pair in report.worst_impostor][:2] == ["i10", "i9"]


def test_progress_rises_to_the_end_of_each_stage(tmp_path: Path) -> None:
    """Images, then pairs: each from 0 to its total, never backwards."""
    told: list[tuple[str, int, int]] = []
    pairs = read_pairs(folder_of(tmp_path, FACES, ROWS))
    evaluate(pairs, system(), lambda stage, done, total: told.append((stage, done, total)))
    assert told == [("images", 0, 5), ("images", 5, 5), ("pairs", 0, 6), ("pairs", 6, 6)]


def test_the_json_document_has_the_published_shape(tmp_path: Path) -> None:
    """The keys are the contract of `--json`; the document survives strict JSON unchanged."""
    document = as_json(report_of(tmp_path, {**FACES, "x": "broken"}, [*ROWS, "a1,x,1,day"]))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    subset = {"pairs", "genuine", "impostor", "fmr", "fnmr", "gfmr", "gfnmr", "auc", "eer", "det"}
    assert document.keys() == subset | {
        "model_id", "threshold", "threshold_overridden", "fte", "feedback", "identical_pairs",
        "groups", "worst", "note",
    }  # fmt: skip
    assert document["groups"]["day"].keys() == subset
    assert document["fte"] | {"low": 0, "high": 0} == {
        "images": 6,
        "failed": 1,
        "rate": 1 / 6,
        "low": 0,
        "high": 0,
        "by_reason": {"image_corrupt": 1},
    }
    assert document["fmr"].keys() == {"errors", "trials", "rate", "low", "high"}
    assert document["det"][0].keys() == {"threshold", "fmr", "fnmr"}
    assert document["worst"]["impostor"][0].keys() == {"line", "path_a", "path_b", "similarity"}
    assert (document["pairs"], document["genuine"], document["impostor"]) == (7, 4, 3)
    assert "not a claim of accuracy" in document["note"]


def test_an_evaluation_in_which_nothing_enrols_is_still_a_report(tmp_path: Path) -> None:
    """Without a single comparison every rate is unknown and the document is still valid JSON."""
    document = as_json(report_of(tmp_path, {"a": "nobody", "b": "broken"}, ["a,b,1"]))
    assert document["fmr"] == {"errors": 0, "trials": 0, "rate": None, "low": 0.0, "high": 1.0}
    assert (document["auc"], document["eer"], document["det"]) == (None, None, [])
    assert document["worst"] == {"genuine": [], "impostor": []}
    assert json.dumps(document, allow_nan=False)
