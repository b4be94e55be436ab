"""Rings of real faces on any machine: the tile grid of the npm package, each tile a customer."""

from itertools import combinations

import pytest

from index.rings.edges import Edge, Evidence, Grown, Rules
from index.rings.grow import grow
from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.image.decode import encode_png
from pipeline.models.load import LoadedPack
from tests.index.rings.table import largest_component

pytestmark = pytest.mark.models

# The man of the first row is also at the start of the second, some of them behind sunglasses.
HIS = {f"0:{column:02d}" for column in range(18)} | {f"1:{column:02d}" for column in range(4)}


@pytest.fixture(scope="module")
def edges(pack: LoadedPack, tiles: list[list[Pixels]]) -> tuple[Edge, ...]:
    """All pairs of tiles, named row:column, that a face was found in."""
    pictures = {
        f"{row}:{column:02d}": encode_png(tile)
        for row, line in enumerate(tiles)
        for column, tile in enumerate(line)
    }
    found = zip(pictures, pack.faces.run(list(pictures.values())), strict=True)
    templates = {
        name: outcome.template
        for name, outcome in found
        if isinstance(outcome, FaceEvidence) and isinstance(outcome.template, Template)
    }
    return tuple(
        Edge(first, second, pack.scale.compare(templates[first], templates[second]).native)
        for first, second in combinations(sorted(templates), 2)
    )


@pytest.mark.parametrize("weak_by", [0.0, 0.005])
def test_the_man_of_the_first_row_is_one_ring(
    pack: LoadedPack, edges: tuple[Edge, ...], weak_by: float
) -> None:
    """At the pack's threshold, and with weak edges a little below it: 12 of his tiles or more are
    in one ring, and nobody else is with him.
    """
    bar = pack.scale.verify_threshold
    found = grow(Evidence(edges, {}, frozenset()), Rules(bar, bar - weak_by))
    his = ring_of("0:00", found)
    assert len(his) >= 12
    assert his <= HIS


def ring_of(name: str, found: Grown) -> set[str]:
    return {member for ring in found.rings if name in ring.members for member in ring.members}


def test_connected_components_chain_the_man_to_strangers(
    pack: LoadedPack, edges: tuple[Edge, ...]
) -> None:
    """At the same threshold, plain connected components are larger than he has tiles."""
    alike = [edge for edge in edges if edge.score >= pack.scale.verify_threshold]
    assert largest_component(alike) > len(HIS)
