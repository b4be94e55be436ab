"""What is told of a ring, against looking at every edge and member by itself."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.rings.edges import Edge, Ring, Rules
from index.rings.explain import explained, maximum_tree, ring_id
from tests.index.rings.cases import RULES, clique, ties

SCORES = st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9])


@st.composite
def connected(draw: st.DrawFn) -> tuple[Edge, ...]:
    """Edges that connect up to eight customers."""
    names = "abcdefgh"[: draw(st.integers(2, 8))]
    pairs = {(draw(st.sampled_from(names[:at])), name) for at, name in enumerate(names) if at}
    every = [(first, second) for first in names for second in names if first < second]
    pairs |= draw(st.sets(st.sampled_from(every), max_size=12))
    return tuple(Edge(*pair, draw(SCORES)) for pair in draw(st.permutations(sorted(pairs))))


def parts(members: Iterable[str], edges: Iterable[Edge]) -> list[set[str]]:
    """What edges make of members, by joining whatever one edge ties, again and again."""
    found = [{name} for name in members]
    for edge in edges:
        tied = [part for part in found if {edge.first, edge.second} & part]
        found = [part for part in found if part not in tied] + [set[str]().union(*tied)]
    return found


def tree_parts(ring: Ring, bar: float) -> list[set[str]]:
    """What the tree falls into, where only its edges of `bar` or more connect."""
    return parts(ring.members, [edge for edge in ring.tree if edge.score >= bar])


def without_edge(edges: tuple[Edge, ...], left_out: Edge) -> list[Edge]:
    return [edge for edge in edges if edge != left_out]


@given(connected())
def test_a_bridge_is_what_a_ring_falls_in_two_without(edges: tuple[Edge, ...]) -> None:
    """Bridges are those edges, best first, and no others."""
    ring = explained(edges, {}, RULES)
    expected = {edge for edge in edges if len(parts(ring.members, without_edge(edges, edge))) == 2}
    assert set(ring.bridges) == expected
    assert len(ring.bridges) == len(expected)
    assert list(ring.bridges) == sorted(ring.bridges, key=lambda edge: -edge.score)


@given(connected())
def test_members_without_whom_a_ring_falls_apart_are_told(edges: tuple[Edge, ...]) -> None:
    """`without` counts the parts that are left, where there is not just one."""
    ring = explained(edges, {}, RULES)
    expected = {}
    for name in ring.members:
        rest = [edge for edge in edges if name not in {edge.first, edge.second}]
        expected[name] = len(parts([other for other in ring.members if other != name], rest))
    assert ring.without == {name: count for name, count in expected.items() if count != 1}


@given(connected())
def test_the_tree_is_one_of_the_best_scores(edges: tuple[Edge, ...]) -> None:
    """It connects all, and at any bar its edges connect just what all edges do."""
    ring = explained(edges, {}, RULES)
    assert len(ring.tree) == len(ring.members) - 1
    assert set(ring.tree) <= set(edges)
    for bar in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        over = [edge for edge in edges if edge.score >= bar]
        expected = sorted(sorted(part) for part in parts(ring.members, over))
        assert sorted(sorted(part) for part in tree_parts(ring, bar)) == expected
    assert ring.weakest_link == max(
        bar for bar in (0.5, 0.6, 0.7, 0.8, 0.9) if len(tree_parts(ring, bar)) == 1
    )


@given(connected(), st.data())
def test_the_order_of_edges_changes_nothing(edges: tuple[Edge, ...], data: st.DataObject) -> None:
    """A ring is explained the same whatever order its edges come in."""
    other = data.draw(st.permutations(edges))
    assert explained(tuple(other), {}, RULES) == explained(edges, {}, RULES)


def told(*edges: tuple[Edge, ...], rules: Rules = RULES) -> Ring:
    return explained(tuple(edge for some in edges for edge in some), {}, rules)


def test_counts_and_density_are_those_of_the_edges() -> None:
    """Four members, three strong edges and two weak ones of six pairs."""
    ring = told(ties("ab ac bc", 0.8), ties("cd bd", 0.55))
    assert (ring.strong_edges, ring.weak_edges, ring.density) == (3, 2, 5 / 6)
    assert ring.weakest_link == 0.55
    assert (ring.bridges, dict(ring.without)) == ((), {})


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((ties("ab bc bd"),), "b"),
        ((ties("ab", 0.8), ties("bc", 0.9), ties("ac", 0.7)), "b"),
        ((clique("abc"),), "a"),
    ],
)
def test_the_medoid_is_most_like_the_others(edges: tuple[tuple[Edge, ...]], expected: str) -> None:
    """Most edges first, then the highest scores, then the first by name."""
    assert told(*edges).medoid == expected


def test_signals_of_two_members_are_shared() -> None:
    """What one gave alone, or somebody who is no member, is not."""
    signals = {
        "a": frozenset({"phone:1", "email:1"}),
        "b": frozenset({"phone:1", "email:2"}),
        "z": frozenset({"email:1"}),
    }
    assert explained(ties("ab"), signals, RULES).shared == ("phone:1",)


def test_expected_false_edges_follow_the_rate_that_is_known() -> None:
    """Pairs of members times the rate at the bar that the weakest link reaches, or nothing."""
    rules = Rules(0.6, 0.5, false_match_rate=1e-6, weak_false_match_rate=1e-4)
    assert told(clique("abcd"), rules=rules).expected_false_edges == pytest.approx(6e-6)
    assert told(clique("abc"), ties("cd", 0.5), rules=rules).expected_false_edges == pytest.approx(
        6e-4
    )
    assert told(clique("abc"), ties("cd", 0.4), rules=rules).expected_false_edges is None
    assert told(clique("abcd")).expected_false_edges is None


def test_the_id_is_made_of_the_first_member() -> None:
    """It stays while others come and go, and is 32 characters of a fixed kind."""
    assert told(ties("ab")).id == told(clique("abcxyz")).id == ring_id("a")
    assert ring_id("a") == "rng_" + "d3564be30da12364e99ec08bf44e"
    assert ring_id("b") != ring_id("a")


def test_a_long_chain_is_walked_without_recursion() -> None:
    """A ring of 20,000 in a row is explained: every edge is a bridge."""
    names = [f"{number:05d}" for number in range(20_000)]
    edges = [Edge(*pair, 0.6) for pair in pairwise(names)]
    ring = explained(edges, {}, RULES)
    assert len(ring.bridges) == len(maximum_tree(edges)) == 19_999
    assert len(ring.without) == 19_998
