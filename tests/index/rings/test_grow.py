"""Which rings grow, case by case."""

from dataclasses import replace

import pytest

from index.rings.edges import Rules
from tests.index.rings.cases import RULES, STRONG, WEAK, clique, grown, rings, ties


def test_strong_edges_make_a_ring_of_all_they_tie() -> None:
    """Customers who are all alike are one ring, and those beside them are another."""
    found = grown(clique("abcd"), clique("xyz"))
    assert rings(found) == ["abcd", "xyz"]
    assert found.by_faces


def test_one_strong_edge_ties_two_who_are_alone() -> None:
    """A pair whose faces are surely one person's is a ring; a third may hang on to one of them."""
    assert rings(grown(ties("ab"))) == ["ab"]
    assert rings(grown(ties("ab"), ties("bc", 0.7))) == ["abc"]


def test_a_pair_tied_by_a_weak_edge_alone_is_no_ring() -> None:
    """It may be chance between two strangers."""
    assert rings(grown(ties("ab", WEAK), clique("xyz"))) == ["xyz"]


def test_an_edge_below_the_weak_bar_is_nothing() -> None:
    """It neither joins nor supports."""
    found = grown(ties("ab bc", WEAK), ties("ac", 0.499), signals={"a": "d:1", "c": "d:1"})
    assert rings(found) == []


def test_one_edge_does_not_tie_two_groups() -> None:
    """However strong it is, one edge of sixteen pairs makes no ring of eight."""
    assert rings(grown(clique("abcd"), clique("stuv"), ties("ds", 0.99))) == ["abcd", "stuv"]


def test_a_chain_of_strong_edges_is_no_ring_of_all() -> None:
    """Where each is like the next alone, no more than three are told as one."""
    assert all(len(ring) <= 3 for ring in rings(grown(ties("ab bc cd de ef fg gh hi ij"))))


@pytest.mark.parametrize(("tied", "expected"), [("ax bx", ["abcdx"]), ("ax", ["abcd"])])
def test_a_weak_edge_joins_with_half_of_the_pairs(tied: str, expected: list[str]) -> None:
    """Two of four members let a customer in by weak edges; one of four does not."""
    assert rings(grown(clique("abcd"), ties(tied, WEAK))) == expected


def test_three_weak_edges_support_each_other() -> None:
    """A triangle is what chance alone hardly makes."""
    found = grown(clique("abc", WEAK))
    assert rings(found) == ["abc"]
    assert found.rings[0].weak_edges == 3


def test_a_weak_edge_joins_where_a_signal_is_shared() -> None:
    """The same document makes a ring of a pair that would be none, held together by the signal."""
    found = grown(ties("ab", WEAK), signals={"a": "document:1", "b": "document:1"})
    assert rings(found) == ["ab"]
    assert found.rings[0].held_together_by == "signals"
    assert found.rings[0].shared == ("document:1",)
    other = grown(ties("ab", WEAK), signals={"a": "document:1", "b": "document:2"})
    assert rings(other) == []


def test_a_ring_that_faces_alone_hold_says_so() -> None:
    """A signal that adds nothing is told as shared, and not as what holds the ring together."""
    found = grown(clique("abc"), signals={"a": "device:1", "b": "device:1"})
    assert found.rings[0].held_together_by == "faces"
    assert found.rings[0].shared == ("device:1",)


def test_signals_alone_are_no_ring() -> None:
    """Customers who share a device and do not look alike are not told."""
    found = grown((), signals=dict.fromkeys("abcde", "device:1"))
    assert found.rings == ()


def test_a_signal_of_too_many_is_none() -> None:
    """What a shop's customers all gave, as many as no ring may have, supports nothing."""
    rules = replace(RULES, size_max=4)
    for givers, expected in (("abcd", ["ab"]), ("abcde", [])):
        signals = dict.fromkeys(givers, "phone:1")
        assert rings(grown(ties("ab", WEAK), signals=signals, rules=rules)) == expected


def test_no_ring_holds_two_who_are_apart() -> None:
    """One reviewed pair takes a ring of four apart, whatever ties the rest."""
    assert rings(grown(clique("abcd"), ties("ab", 0.9), apart="ad")) == ["abc"]


def test_who_is_apart_goes_with_the_better_edges() -> None:
    """Twins, told apart, each keep the accounts that are more like them."""
    people = clique("abc", 0.9), clique("xyz", 0.9)
    twins = [ties(f"{first}{second}", 0.7) for first in "abc" for second in "xyz"]
    assert rings(grown(*people, *twins)) == ["abcxyz"]
    assert rings(grown(*people, *twins, apart="ax")) == ["abc", "xyz"]


def test_a_hub_is_quarantined() -> None:
    """A face that is like everybody joins nobody; the others are judged as if it were not there."""
    rules = replace(RULES, hub_degree=5)
    hub = [ties(f"h{end}", 0.9) for end in "abcdefg"]
    found = grown(*hub, ties("ab"), rules=rules)
    assert found.quarantined == ("h",)
    assert rings(found) == ["ab"]


def test_members_of_a_large_ring_are_no_hubs() -> None:
    """Many strong edges are no fault where their ends are like each other as well."""
    found = grown(clique("abcdefghij"), rules=replace(RULES, hub_degree=5))
    assert found.quarantined == ()
    assert rings(found) == ["abcdefghij"]


def test_too_large_a_ring_is_told_in_denser_parts() -> None:
    """Two groups that half of the pairs tie are one ring while it is small enough, else two."""
    across = [ties(f"{a}{x}", WEAK) for a in "abcd" for x in "wxyz" if (a, x) not in LEFT_OUT]
    edges = clique("abcd", 0.9), clique("wxyz", 0.9), *across
    whole = grown(*edges)
    assert rings(whole) == ["abcdwxyz"]
    assert not whole.rings[0].was_parted
    parted = grown(*edges, rules=replace(RULES, size_max=7))
    assert rings(parted) == ["abcd", "wxyz"]
    assert all(ring.was_parted for ring in parted.rings)


LEFT_OUT = {("a", "w"), ("a", "x"), ("b", "w"), ("b", "x"), ("c", "y"), ("c", "z"), ("d", "z")}


def test_a_large_ring_that_strong_edges_hold_is_told_whole() -> None:
    """Where all pairs are strong there is no denser part, and no reason to hide any."""
    found = grown(clique("abcdefgh"), rules=replace(RULES, size_max=5))
    assert rings(found) == ["abcdefgh"]
    assert not found.rings[0].was_parted


def test_faces_join_nobody_where_chance_ties_too_many() -> None:
    """In a gallery too large for faces, pairs with a second signal join, and no others."""
    rules = Rules(STRONG, WEAK, gallery_size=10_000, false_match_rate=1e-5)
    signals = {"a": "device:1", "b": "device:1"}
    found = grown(clique("abc"), clique("xyz"), signals=signals, rules=rules)
    assert not found.by_faces
    assert rings(found) == ["ab"]
    assert found.rings[0].held_together_by == "signals"
    assert grown(clique("abc"), rules=replace(rules, gallery_size=5_000)).by_faces


def test_weak_edges_join_nobody_where_they_are_common() -> None:
    """Where strangers look like all of somebody's accounts, weak edges join by a signal alone;
    they still tell whether a strong edge is one of many, half of the way to it.
    """
    rules = Rules(STRONG, WEAK, gallery_size=10_000, weak_false_match_rate=1e-4)
    ring, weak, fair = clique("abcd"), ties("ax bx cx", WEAK), ties("ax bx cx", 0.57)
    assert rings(grown(ring, fair, rules=rules)) == ["abcd"]
    assert rings(grown(ring, weak, ties("dx"), rules=rules)) == ["abcd"]
    assert rings(grown(ring, fair, ties("dx"), rules=rules)) == ["abcdx"]
    signals = dict.fromkeys("abcdx", "device:1")
    assert rings(grown(ring, weak, signals=signals, rules=rules)) == ["abcdx"]
    assert rings(grown(ring, weak, rules=replace(rules, gallery_size=1_000))) == ["abcdx"]


def test_the_best_of_the_edges_of_a_pair_counts() -> None:
    """A pair may come more than once, in any order."""
    for edges in ((ties("ab", 0.5), ties("ab", 0.9)), (ties("ab", 0.9), ties("ab", 0.5))):
        assert grown(*edges).rings[0].weakest_link == 0.9


def test_rings_come_largest_first_then_by_name() -> None:
    """The order is the same whatever order the edges came in."""
    assert rings(grown(ties("yz"), ties("ab"), clique("mno"))) == ["mno", "ab", "yz"]
