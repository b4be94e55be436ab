"""A hundred real faces on any machine: the tile grid of the npm package, and a portrait."""

import numpy as np
import pytest

from pipeline.evidence import FaceEvidence, Missing, Pixels, Template
from pipeline.image.decode import encode_png
from pipeline.models.load import LoadedPack

pytestmark = pytest.mark.models

# The man of the first row is also at the start of the second, some of them behind sunglasses.
HIS_TILES = {(0, column) for column in range(18)} | {(1, column) for column in range(4)}


@pytest.fixture(scope="module")
def found(pack: LoadedPack, tiles: list[list[Pixels]]) -> dict[tuple[int, int], Template]:
    """The template of every tile that a face was found in, by row and column."""
    places = [(row, column) for row in range(6) for column in range(18)]
    outcomes = pack.faces.run([encode_png(tiles[row][column]) for row, column in places])
    return {
        place: outcome.template
        for place, outcome in zip(places, outcomes, strict=True)
        if isinstance(outcome, FaceEvidence) and isinstance(outcome.template, Template)
    }


def test_most_tiles_hold_a_face(found: dict[tuple[int, int], Template]) -> None:
    """At least 100 of the 108 tiles of 106 px, sunglasses and captions and all, are enrolled."""
    print(f"{len(found)} of 108 tiles")
    assert len(found) >= 100


def test_the_man_of_the_first_row_is_one_man(
    pack: LoadedPack, found: dict[tuple[int, int], Template]
) -> None:
    """At least 12 of his tiles match the first one at the 1:1 threshold."""
    matches = [
        column
        for column in range(1, 18)
        if (0, column) in found and pack.scale.compare(found[0, 0], found[0, column]).is_match
    ]
    print(f"columns that match the first: {matches}")
    assert len(matches) + 1 >= 12


def test_nobody_of_another_row_is_taken_for_him(
    pack: LoadedPack, found: dict[tuple[int, int], Template]
) -> None:
    """No tile of anyone else matches his first tile: no woman of any row, nor any other man."""
    others = {place: template for place, template in found.items() if place not in HIS_TILES}
    matches = [
        place
        for place, template in others.items()
        if pack.scale.compare(found[0, 0], template).is_match
    ]
    closest = max(pack.scale.compare(found[0, 0], t).similarity for t in others.values())
    print(f"{len(others)} tiles of others, closest at {closest:.3f}")
    assert len(others) >= 80
    assert matches == []


def test_astronaut_is_found_and_matches_herself(pack: LoadedPack, astronaut: Pixels) -> None:
    """A portrait, its mirror image and a copy at half the size are one person; tiles are not."""
    pictures = [astronaut, np.ascontiguousarray(astronaut[:, ::-1]), astronaut[::2, ::2]]
    outcomes = pack.faces.run([encode_png(np.ascontiguousarray(each)) for each in pictures])
    templates = [o.template for o in outcomes if isinstance(o, FaceEvidence)]
    assert not any(isinstance(template, Missing) for template in templates)
    first, mirrored, halved = (t for t in templates if isinstance(t, Template))
    assert pack.scale.compare(first, mirrored).is_match
    assert pack.scale.compare(first, halved).is_match
