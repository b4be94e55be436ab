"""Rings kept up to date: only what a change touches is grown again, and the rings are those that
would grow out of all of it at once.

A *unit* is what ties that may join connect; rings lie within one. What a change can alter is told
by its neighbourhood: a new tie supports the ties of both ends with those whom both are tied to, and
can make hubs, or none, of its ends and whom they are tied to. The units of all these are taken
apart and grown again; all others stand.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Self

from index.rings.edges import Evidence, Grown, Ring, Rules
from index.rings.explain import explained
from index.rings.graph import Graph
from index.rings.join import is_held_by_faces, split


class Keeper:
    """Rings of what was added and not taken out since. Customers are named; a pair comes in any
    order. `grown` tells them; it alone takes long, the more was changed since it was last asked.
    """

    def __init__(self, rules: Rules) -> None:
        self._graph = Graph(rules)
        self._units: dict[str, frozenset[str]] = {}
        self._rings: dict[str, Ring] = {}  # by first member
        self._ring_of: dict[str, str] = {}
        self._touched: set[str] = set()  # whose ties, or whether these may join, have changed
        self._doubted: set[str] = set()  # who may be a hub, or none any more

    @classmethod
    def of(cls, evidence: Evidence, rules: Rules) -> Self:
        """One who knows all of this; of a pair's edges the best."""
        keeper = cls(rules)
        graph = keeper._graph
        for first, second in evidence.apart:
            graph.part(first, second)
        for name, signals in evidence.signals.items():
            graph.give(name, signals)
        for edge in evidence.edges:
            if edge.score > graph.score(edge.first, edge.second):
                graph.tie(edge.first, edge.second, edge.score)
        keeper._touched = {name for name, ends in graph.near.items() if ends}
        keeper._doubted = keeper._touched.copy()
        return keeper

    def tie(self, first: str, second: str, score: float) -> None:
        """Note the best score of two customers, in place of any that was noted before."""
        self._touch_pair(first, second)
        self._graph.tie(first, second, score)
        self._touch_pair(first, second)

    def untie(self, first: str, second: str) -> None:
        """Forget the score of two customers."""
        self._touch_pair(first, second)
        self._graph.untie(first, second)
        self._touch_pair(first, second)

    def part(self, first: str, second: str) -> None:
        """Note that two customers are different people."""
        self._touch_pair(first, second)
        self._graph.part(first, second)
        self._touch_pair(first, second)

    def rejoin(self, first: str, second: str) -> None:
        """Forget that two customers are different people."""
        self._touch_pair(first, second)
        self._graph.rejoin(first, second)
        self._touch_pair(first, second)

    def give(self, name: str, signals: Iterable[str]) -> None:
        """Note all the second signals of a customer, in place of those noted before."""
        before, after = self._graph.signals.get(name, frozenset()), frozenset(signals)
        told = {signal: self._graph.is_telling(signal) for signal in before ^ after}
        self._graph.give(name, after)
        self._touched |= {name} | self._graph.near[name].keys()
        for signal, was_telling in told.items():
            if self._graph.is_telling(signal) != was_telling:
                self._touched |= self._graph.givers(signal)

    def grown(self) -> Grown:
        """The rings of all that is noted now."""
        self._settle()
        rings = sorted(self._rings.values(), key=lambda ring: (-len(ring.members), ring.members))
        return Grown(
            rings=tuple(rings),
            quarantined=tuple(sorted(self._graph.hubs)),
            by_faces=self._graph.bar.by_faces,
        )

    def _touch_pair(self, first: str, second: str) -> None:
        """Mark whom a change of this pair's tie concerns; called before it and after it."""
        near = self._graph.near
        one, other = near[first], near[second]
        self._touched |= {first, second} | (one.keys() & other.keys())
        bar = self._graph.rules.hub_degree
        for name in (first, second, *one, *other):
            if len(near[name]) > bar or name in self._graph.hubs:
                self._doubted.add(name)

    def _settle(self) -> None:
        for hub in self._graph.look_again(self._doubted):
            self._touched |= {hub} | self._graph.near[hub].keys()
        self._doubted = set()
        loose = set(self._touched)
        for name in self._touched:
            loose |= self._units.get(name, frozenset())
        self._touched = set()
        for name in loose:
            self._units.pop(name, None)
            self._rings.pop(self._ring_of.pop(name, ""), None)
        for names in self._connected(loose - self._graph.hubs):
            self._grow(names)

    def _connected(self, loose: set[str]) -> Iterator[frozenset[str]]:
        """The units of customers whose ties with all others may not join."""
        joins: defaultdict[str, list[str]] = defaultdict(list)
        for name in loose:
            for other, score in self._graph.near[name].items():
                if name < other and other in loose and self._graph.may_join(name, other, score):
                    joins[name].append(other)
                    joins[other].append(name)
        met: set[str] = set()
        for name in joins:
            if name in met:
                continue
            unit, waiting = {name}, [name]
            while waiting:
                fresh = [other for other in joins[waiting.pop()] if other not in unit]
                unit.update(fresh)
                waiting += fresh
            met |= unit
            yield frozenset(unit)

    def _grow(self, names: frozenset[str]) -> None:
        rules, bar = self._graph.rules, self._graph.bar
        self._units.update(dict.fromkeys(names, names))
        unit = self._graph.unit(names)
        for group, was_parted in split(unit, bar, rules.size_max):
            members = [unit.members[place] for place in group]
            ring = explained(
                self._graph.edges(members),
                self._graph.signals,
                rules,
                held_by_faces=is_held_by_faces(unit, group, bar),
                was_parted=was_parted,
            )
            self._rings[ring.members[0]] = ring
            self._ring_of.update(dict.fromkeys(members, ring.members[0]))
