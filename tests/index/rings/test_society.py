"""Rings among strangers, hubs, twins and families, at every bar that may come to be chosen."""

from dataclasses import replace

import numpy as np
import pytest

from index.rings.edges import Evidence
from index.rings.grow import grow
from tests.index.rings.society import Society, society
from tests.index.rings.table import CHANCES, FLOOR, Row, row

SMALL, LARGE = 10_000, 100_000
BARS = ((1.0, False), (0.3, True), (0.05, False), (0.05, True), (0.01, False))


@pytest.fixture(scope="module", params=[0, 1])
def town(request: pytest.FixtureRequest) -> Society:
    """Ten thousand faces, drawn twice."""
    return society(SMALL, FLOOR - 0.02, request.param)


@pytest.fixture(scope="module")
def city() -> Society:
    """A hundred thousand faces."""
    return society(LARGE, FLOOR)


@pytest.fixture(scope="module")
def rows(city: Society) -> dict[tuple[float, bool], Row]:
    """What becomes of it, by how many strangers chance ties to a face and whether hubs count."""
    return {(chance, hubs): row(city, chance, with_hubs=hubs) for chance, hubs in BARS}


def counts(found: Row, people: Society) -> str:
    return (
        f"N x FMR {found.chance}: ring {found.largest}, component {found.largest_component}, "
        f"told {found.told}, right {found.right} of {people.true_pairs}"
    )


@pytest.mark.parametrize("with_hubs", [False, True])
@pytest.mark.parametrize("chance", CHANCES)
def test_no_ring_of_a_town_is_larger_than_a_true_one(
    town: Society, chance: float, *, with_hubs: bool
) -> None:
    """At no bar is anybody told to have more than one account too many."""
    found = row(town, chance, with_hubs=with_hubs)
    assert found.largest <= town.largest + 1, counts(found, town)
    assert found.right >= 0.97 * found.told, counts(found, town)


@pytest.mark.parametrize(("chance", "with_hubs"), BARS)
def test_no_ring_of_a_city_is_larger_than_a_true_one(
    city: Society, rows: dict[tuple[float, bool], Row], chance: float, *, with_hubs: bool
) -> None:
    """Nor among a hundred thousand faces, whatever chance ties."""
    found = rows[chance, with_hubs]
    assert found.largest <= city.largest + 1, counts(found, city)
    assert found.right >= 0.98 * found.told, counts(found, city)
    assert found.right >= 0.9 * city.true_pairs, counts(found, city)


def test_connected_components_chain_a_city(rows: dict[tuple[float, bool], Row]) -> None:
    """Of the same edges they make one ring of tens of thousands where chance ties each face to
    one, and of thousands at the very bar of the product, where it ties one in twenty.
    """
    assert rows[1.0, False].largest_component > 20_000
    assert rows[0.3, True].largest_component > 5_000
    assert rows[0.05, False].largest_component > 1_000


def test_hubs_are_quarantined_and_hardly_anybody_else(
    city: Society, rows: dict[tuple[float, bool], Row]
) -> None:
    """Bad crops that look like thousands are told as such; true rings lose nobody to that."""
    hubs = {city.names[place] for place in city.hubs}
    for chance, others_max in ((0.05, 2), (1.0, 100)):
        quarantined = set(rows[chance, False].grown.quarantined)
        assert hubs <= quarantined
        assert len(quarantined - hubs) <= others_max


def test_reviewed_twins_are_in_no_ring_together(town: Society) -> None:
    """Twins look like one person, and are told as one until a reviewer said otherwise."""
    rules = town.rules(0.05, with_hubs=False)
    known = town.evidence(rules.weak)
    ring_of = {name: ring.id for ring in grow(known, rules).rings for name in ring.members}
    together = [pair for pair in known.apart if is_together(ring_of, pair)]
    before = grow(Evidence(known.edges, known.signals, frozenset()), rules)
    ring_of = {name: ring.id for ring in before.rings for name in ring.members}
    assert together == []
    assert sum(is_together(ring_of, pair) for pair in known.apart) >= 3


def is_together(ring_of: dict[str, str], pair: tuple[str, str]) -> bool:
    return pair[0] in ring_of and ring_of[pair[0]] == ring_of.get(pair[1])


def test_signals_find_accounts_that_faces_leave_open(town: Society) -> None:
    """In a gallery too large for faces alone, most true pairs that share a device are told."""
    rules = replace(town.rules(0.3, with_hubs=False), gallery_size=100_000_000)
    known = town.evidence(rules.weak)
    found = grow(known, rules)
    right, told = town.right_and_told(found)
    assert not found.by_faces
    assert {ring.held_together_by for ring in found.rings} == {"signals"}
    assert right >= 0.97 * told
    assert right >= 0.1 * town.true_pairs
    assert len(found.rings[0].members) <= town.largest + 1
    assert grow(Evidence(known.edges, {}, known.apart), rules).rings == ()


def test_the_order_of_a_towns_edges_changes_nothing(town: Society) -> None:
    """Shuffled, the same edges grow the same rings to the last field."""
    rules = town.rules(1.0, with_hubs=False)
    known = town.evidence(rules.weak)
    order = np.random.default_rng(1).permutation(len(known.edges))
    shuffled = Evidence(tuple(known.edges[place] for place in order), known.signals, known.apart)
    assert grow(shuffled, rules) == grow(known, rules)
