"""The faces of the demonstration are who the story says they are."""

from itertools import product

import pytest

from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.models.load import LoadedPack
from serve.demo.tiles import (
    ENROLLED,
    SAME_MAN,
    STRANGER,
    Place,
    make_blank,
    make_selfie,
)

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def found(pack: LoadedPack, tiles: list[list[Pixels]]) -> dict[Place, FaceEvidence]:
    """What the pipeline sees in every selfie of the story."""
    places = [*ENROLLED, SAME_MAN, *STRANGER]
    outcomes = pack.faces.run([make_selfie(tiles[row][column]) for row, column in places])
    return {
        place: outcome
        for place, outcome in zip(places, outcomes, strict=True)
        if isinstance(outcome, FaceEvidence)
    }


def is_match(pack: LoadedPack, one: FaceEvidence, other: FaceEvidence) -> bool:
    """Whether two selfies show one person."""
    assert isinstance(one.template, Template)
    assert isinstance(other.template, Template)
    return pack.scale.compare(one.template, other.template).is_match


def test_every_selfie_is_fit(found: dict[Place, FaceEvidence]) -> None:
    """Each of them may be enrolled or judged: one face, no hint to the person."""
    assert [place for place, evidence in found.items() if not evidence.is_fit] == []
    assert len(found) == len(ENROLLED) + 1 + len(STRANGER)


def test_the_customer_is_one_man_and_the_stranger_another(
    pack: LoadedPack, found: dict[Place, FaceEvidence]
) -> None:
    """The customer's selfies match his references, the stranger's match each other only."""
    assert all(is_match(pack, found[SAME_MAN], found[place]) for place in ENROLLED)
    assert is_match(pack, found[STRANGER[0]], found[STRANGER[1]])
    assert not any(
        is_match(pack, found[one], found[other])
        for one, other in product(STRANGER, (*ENROLLED, SAME_MAN))
    )


def test_a_blank_capture_has_no_face(pack: LoadedPack) -> None:
    """The wall that the demonstration holds up for a face is one that nobody is found on."""
    (outcome,) = pack.faces.run([make_blank()])
    assert isinstance(outcome, FaceEvidence)
    assert outcome.feedback == ("face_not_found",)
    assert outcome.detections == ()
