"""Rings of any evidence: what holds whatever is drawn."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from index.rings.edges import Edge, Evidence, Grown, Rules
from index.rings.grow import grow

NAMES = "abcdefghij"
PAIRS = [(first, second) for first in NAMES for second in NAMES if first < second]
SCORES = st.sampled_from([0.4, 0.5, 0.55, 0.6, 0.7, 0.9])
SIGNALS = st.frozensets(st.sampled_from(["device:1", "phone:1", "phone:2"]), max_size=2)
RULES = st.builds(
    Rules,
    strong=st.sampled_from([0.5, 0.6, 0.7]),
    weak=st.sampled_from([0.5, 0.55, 0.6]),
    hub_degree=st.sampled_from([2, 3, 20]),
    size_max=st.sampled_from([3, 5, 50]),
    gallery_size=st.sampled_from([0, 1_000]),
    false_match_rate=st.sampled_from([None, 1e-6, 1e-3]),
    weak_false_match_rate=st.sampled_from([None, 1e-4, 1e-2]),
)


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    """Up to ten customers, tied loosely or densely."""
    tied = draw(st.sets(st.sampled_from(PAIRS), max_size=45))
    edges = tuple(Edge(*pair, draw(SCORES)) for pair in sorted(tied))
    signals = draw(st.dictionaries(st.sampled_from(NAMES), SIGNALS, max_size=6))
    return Evidence(edges, signals, draw(st.frozensets(st.sampled_from(PAIRS), max_size=4)))


@given(evidence(), RULES, st.data())
def test_the_order_of_evidence_changes_nothing(
    known: Evidence, rules: Rules, data: st.DataObject
) -> None:
    """Whatever order edges and signals come in, what grows is the same to the last field."""
    edges = tuple(data.draw(st.permutations(known.edges)))
    signals = dict(data.draw(st.permutations(list(known.signals.items()))))
    assert grow(Evidence(edges, signals, known.apart), rules) == grow(known, rules)


@given(evidence(), RULES)
def test_no_ring_ever_holds_two_who_are_apart(known: Evidence, rules: Rules) -> None:
    """A reviewer's word is stronger than any score, signal or number of ties."""
    for ring in grow(known, rules).rings:
        assert not [pair for pair in known.apart if set(pair) <= set(ring.members)]


@given(evidence(), RULES)
def test_a_ring_counts_every_edge_of_its_members(known: Evidence, rules: Rules) -> None:
    """All that reach the bar, and none that leads out of it."""
    found = grow(known, rules)
    weak = min(rules.weak, rules.strong)
    ring_of = {name: ring.id for ring in found.rings for name in ring.members}
    inside = Counter(
        ring_of[edge.first]
        for edge in known.edges
        if edge.score >= weak and ring_of.get(edge.first, "") == ring_of.get(edge.second)
    )
    assert inside == {ring.id: ring.strong_edges + ring.weak_edges for ring in found.rings}


@given(evidence(), RULES)
def test_rings_are_apart_from_each_other(known: Evidence, rules: Rules) -> None:
    """Nobody is in two rings or in a ring and quarantined, and a ring is two or more."""
    found = grow(known, rules)
    members = [name for ring in found.rings for name in ring.members]
    assert len(members) == len(set(members))
    assert not set(members) & set(found.quarantined)
    assert all(len(ring.members) > 1 for ring in found.rings)
    assert [len(ring.members) for ring in found.rings] == sorted(
        (len(ring.members) for ring in found.rings), reverse=True
    )


@given(evidence(), RULES)
def test_members_are_held_by_more_than_a_thread(known: Evidence, rules: Rules) -> None:
    """A ring of n is tied, by faces or signals, in at least half of n squared over four pairs."""
    for ring in grow(known, rules).rings:
        size = len(ring.members)
        tied = {
            (first, second)
            for first, second in PAIRS
            if {first, second} <= set(ring.members)
            and known.signals.get(first, frozenset()) & known.signals.get(second, frozenset())
        }
        tied |= {
            (edge.first, edge.second)
            for edge in known.edges
            if {edge.first, edge.second} <= set(ring.members)
            and edge.score >= min(rules.weak, rules.strong)
        }
        assert len(tied) >= size * (size - 1) / 4


def members(found: Grown) -> set[tuple[str, ...]]:
    return {ring.members for ring in found.rings}


@given(evidence(), RULES)
def test_a_ring_apart_from_all_others_changes_none(known: Evidence, rules: Rules) -> None:
    """Customers whom nothing ties to the rest grow the rings that they would grow alone."""
    others = tuple(Edge("x" + edge.first, "x" + edge.second, edge.score) for edge in known.edges)
    both = Evidence(known.edges + others, known.signals, known.apart)
    alone = members(grow(Evidence(others, {}, frozenset()), rules))
    assert members(grow(both, rules)) == members(grow(known, rules)) | alone
