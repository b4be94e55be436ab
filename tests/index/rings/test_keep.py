"""Rings kept up to date, against rings grown at once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from index.rings import keep
from index.rings.edges import Edge, Evidence, Rules
from index.rings.grow import grow
from index.rings.join import Bar, Group, split
from index.rings.keep import Keeper
from index.rings.unit import Unit
from tests.index.rings.cases import RULES, clique, ties
from tests.index.rings.test_properties import PAIRS, SCORES, SIGNALS
from tests.index.rings.test_properties import RULES as ANY_RULES

WHO = st.sampled_from(PAIRS)


class KeeperMachine(RuleBasedStateMachine):
    """Ties, signals and pairs apart come and go; hubs and rings that are too large are common."""

    @initialize(rules=ANY_RULES)
    def start(self, rules: Rules) -> None:
        self.under = rules
        self.keeper = Keeper(rules)
        self.edges: dict[tuple[str, str], float] = {}
        self.signals: dict[str, frozenset[str]] = {}
        self.apart: set[tuple[str, str]] = set()

    @rule(pairs=st.sets(WHO, max_size=12), score=SCORES)
    def tie(self, pairs: set[tuple[str, str]], score: float) -> None:
        for pair in sorted(pairs):
            self.keeper.tie(*pair, score)
            self.edges[pair] = score

    @rule(pairs=st.sets(WHO, max_size=3))
    def untie(self, pairs: set[tuple[str, str]]) -> None:
        for first, second in sorted(pairs):
            self.keeper.untie(second, first)
            self.edges.pop((first, second), None)

    @rule(pair=WHO)
    def part(self, pair: tuple[str, str]) -> None:
        self.keeper.part(*pair)
        self.apart.add(pair)

    @rule(pair=WHO)
    def rejoin(self, pair: tuple[str, str]) -> None:
        self.keeper.rejoin(*pair)
        self.apart.discard(pair)

    @rule(name=st.sampled_from("abcdefghij"), signals=SIGNALS)
    def give(self, name: str, signals: frozenset[str]) -> None:
        self.keeper.give(name, signals)
        self.signals[name] = signals

    @rule()
    def what_is_kept_is_what_grows(self) -> None:
        edges = tuple(Edge(*pair, score) for pair, score in self.edges.items())
        known = Evidence(edges, self.signals, frozenset(self.apart))
        assert self.keeper.grown() == grow(known, self.under)


TestKeeper = KeeperMachine.TestCase
TestKeeper.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_what_a_change_does_not_touch_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand rings, a new edge in one has this one grown again, and no other."""
    keeper, looked_at = kept(1_000), list[int]()
    keeper.grown()

    def counted(unit: Unit, bar: Bar, size_max: int) -> Iterator[tuple[Group, bool]]:
        looked_at.append(len(unit.members))
        return split(unit, bar, size_max)

    monkeypatch.setattr(keep, "split", counted)
    keeper.tie("0007a", "0007d", 0.7)
    keeper.tie("0007b", "0007d", 0.7)
    assert [len(ring.members) for ring in keeper.grown().rings[:2]] == [4, 3]
    assert looked_at == [4]
    keeper.tie("0001a", "0002a", 0.7)  # strong, so these two may be one: both are looked at
    assert len(keeper.grown().rings) == 1_000
    assert looked_at == [4, 6]


def kept(count: int) -> Keeper:
    """Rings of three, by number."""
    keeper = Keeper(RULES)
    for number in range(count):
        for edge in clique(f"{number:04d}{letter}" for letter in "abc"):
            keeper.tie(edge.first, edge.second, edge.score)
    return keeper


def test_an_edge_comes_back_with_its_pair() -> None:
    """Who was apart by mistake is tied again as before, however often that was said."""
    keeper = Keeper(RULES)
    keeper.tie("a", "b", 0.9)
    for _ in range(2):
        keeper.part("b", "a")
    assert keeper.grown().rings == ()
    keeper.rejoin("a", "b")
    assert keeper.grown() == grow(Evidence(ties("ab", 0.9), {}, frozenset()), RULES)


def test_a_hub_that_calms_down_is_let_in_again() -> None:
    """Once its false ties are gone, it joins those whom it is truly like."""
    keeper = Keeper(replace(RULES, hub_degree=5))
    for edge in (*clique("abc"), *ties("ad bd cd de df dg dh di dj")):
        keeper.tie(edge.first, edge.second, edge.score)
    assert keeper.grown().quarantined == ("d",)
    for end in "efghij":
        keeper.untie(end, "d")
    assert [ring.members for ring in keeper.grown().rings] == [tuple("abcd")]
    assert keeper.grown().quarantined == ()
