"""Everybody and their ties: who is a hub, and which ties may join their ends."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import nsmallest
from math import inf

from index.rings.edges import Edge, Rules
from index.rings.join import Bar
from index.rings.unit import Tie, Unit

WEAK_TIMES = 3
"""Times `hub_degree` that a customer may have ties of any strength before they are looked at; and
as many more for each stranger whom chance ties to everybody, where that is known.
"""

LOOKED_AT = 64
"""So many ends of a hub are looked at, the first by name, where there are more."""


class Graph:
    """Ties of the weak bar or more between customers who are not apart, and what they share.

    It is told of one change at a time; `hubs` are as `look_again` last left them.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.bar = Bar.of(rules)
        self.near: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self.hubs: set[str] = set()
        strangers = rules.gallery_size * (rules.weak_false_match_rate or 0.0)
        self._ends_max = WEAK_TIMES * rules.hub_degree * (1 + strangers)
        self._strong: defaultdict[str, int] = defaultdict(int)
        self._withheld: dict[tuple[str, str], float] = {}
        self._apart: defaultdict[str, set[str]] = defaultdict(set)
        self._signals: dict[str, frozenset[str]] = {}
        self._givers: defaultdict[str, set[str]] = defaultdict(set)

    def tie(self, first: str, second: str, score: float) -> None:
        """Note the best score of two customers; one below the bar is as good as none."""
        self.untie(first, second)
        if score < self.bar.weak:
            return
        if second in self._apart[first]:
            self._withheld[_ordered(first, second)] = score
            return
        self.near[first][second] = self.near[second][first] = score
        if score >= self.rules.strong:
            self._strong[first] += 1
            self._strong[second] += 1

    def score(self, first: str, second: str) -> float:
        """The best score that was noted of two; minus infinity if none was."""
        withheld = self._withheld.get(_ordered(first, second), -inf)
        return self.near[first].get(second, withheld)

    def untie(self, first: str, second: str) -> None:
        """Forget the score of two customers."""
        self._withheld.pop(_ordered(first, second), None)
        score = self.near[first].pop(second, None)
        self.near[second].pop(first, None)
        if score is not None and score >= self.rules.strong:
            self._strong[first] -= 1
            self._strong[second] -= 1

    def part(self, first: str, second: str) -> None:
        """Note that two are different people: whatever their score, it is no tie."""
        score = self.score(first, second)
        self.untie(first, second)
        self._apart[first].add(second)
        self._apart[second].add(first)
        if score >= self.bar.weak:
            self._withheld[_ordered(first, second)] = score

    def rejoin(self, first: str, second: str) -> None:
        """Forget that two are different people."""
        self._apart[first].discard(second)
        self._apart[second].discard(first)
        score = self._withheld.pop(_ordered(first, second), None)
        if score is not None:
            self.tie(first, second, score)

    def give(self, name: str, signals: frozenset[str]) -> None:
        """Note all the signals that a customer gave."""
        for signal in self._signals.pop(name, frozenset()):
            self._givers[signal].discard(name)
        for signal in signals:
            self._givers[signal].add(name)
        if signals:
            self._signals[name] = signals

    @property
    def signals(self) -> Mapping[str, frozenset[str]]:
        """What each customer gave."""
        return self._signals

    def givers(self, signal: str) -> frozenset[str]:
        """Who gave a signal."""
        return frozenset(self._givers[signal])

    def look_again(self, names: Iterable[str]) -> set[str]:
        """See which of them are hubs now, and return those of whom that has changed."""
        changed = {name for name in names if (name in self.hubs) != self._is_hub(name)}
        self.hubs ^= changed
        return changed

    def may_join(self, first: str, second: str, score: float) -> bool:
        """Whether a tie of two who are no hubs may ever make one group of two."""
        return self.bar.may_join(
            score,
            is_shared=self._is_shared(first, second),
            is_supported=score < self.bar.strong and self._is_supported(first, second),
        )

    def unit(self, names: Iterable[str]) -> Unit:
        """What is known of these customers."""
        members = tuple(sorted(names))
        place = {name: number for number, name in enumerate(members)}
        ties = [
            Tie(number, place[other], score)
            for name, number in place.items()
            for other, score in self.near[name].items()
            if place.get(other, -1) > number
        ]
        apart = {
            (number, place[other])
            for name, number in place.items()
            for other in self._apart.get(name, ())
            if place.get(other, -1) > number
        }
        return Unit(members, tuple(ties), self._shared(place), frozenset(apart))

    def edges(self, names: Iterable[str]) -> list[Edge]:
        """All ties among these customers."""
        names = set(names)
        return [
            Edge(name, other, score)
            for name in names
            for other, score in self.near[name].items()
            if name < other and other in names
        ]

    def _is_hub(self, name: str) -> bool:
        ends, bar = self.near[name], self.rules.hub_degree
        if len(ends) <= bar:
            return False
        if self._strong[name] > bar:
            own, strong = self._strong[name], self.rules.strong
            some = (end for end, score in ends.items() if score >= strong)
            if self._are_untied([end for end in some if self._strong[end] <= own]):
                return True
        own = len(ends)
        return own > self._ends_max and self._are_untied(
            [end for end in ends if len(self.near[end]) <= own]
        )

    def _are_untied(self, ends: list[str]) -> bool:
        """Whether most pairs of the ends of a possible hub are not tied.

        Only ends that have no more ties than it has itself are looked at: those of a ring that
        greater hubs are tied to are judged by each other, and by nobody's hubs.
        """
        if len(ends) <= self.rules.hub_degree // 2:
            return False
        some = set(nsmallest(LOOKED_AT, ends))
        tied = sum(len(some & self.near[end].keys()) for end in some)
        return tied < len(some) * (len(some) - 1) / 2

    def _is_supported(self, first: str, second: str) -> bool:
        """Whether a third customer, who is no hub, is tied to both."""
        fewer, more = self.near[first], self.near[second]
        if len(fewer) > len(more):
            fewer, more = more, fewer
        if fewer.keys().isdisjoint(more):
            return False
        return any(end in more and end not in self.hubs for end in fewer)

    def _is_shared(self, first: str, second: str) -> bool:
        both = self._signals.get(first, frozenset()) & self._signals.get(second, frozenset())
        return any(self.is_telling(signal) for signal in both)

    def is_telling(self, signal: str) -> bool:
        """Whether so few gave a signal that it says something of two who did."""
        return len(self._givers[signal]) <= self.rules.size_max

    def _shared(self, place: Mapping[str, int]) -> frozenset[tuple[int, int]]:
        given: defaultdict[str, list[int]] = defaultdict(list)
        for name, number in place.items():
            for signal in self._signals.get(name, ()):
                if self.is_telling(signal):
                    given[signal].append(number)
        return frozenset(
            (first, second)
            for numbers in given.values()
            for at, first in enumerate(numbers)
            for second in numbers[at + 1 :]
        )


def _ordered(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first < second else (second, first)
