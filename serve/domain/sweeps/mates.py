"""Who is presumed to be one person, so that their likeness does not count as an error of chance.

A pair of customers alike is either one person twice or two strangers by chance, and its score
does not say which: to take off the best pairs would take off the errors that are looked for. What
tells them apart is company. Chance ties strangers in pairs: where it ties a customer to m others
on average, far below one, three tied to each other come about m times as seldom as two. So

    a group is three or more, each joined by a third who is like both, and by at least half of the
    pairs between the sides; of at most 50, and of half of all: a template that is like
    everybody is no person
    its members are presumed one person only from scores on at which so little is left outside
    of groups that chance ties a person to 0.05 others at most, and in no case below the pack's
    threshold
    a pair alone stays an error until a reviewer says what it is

For rings, which a person looks at, a small gallery may go lower: while chance makes three groups in
all. It ties N customers to m others each by N m²/2 paths over a second to a third, of which three
in ten close.

Where true pairs that nobody has reviewed are many, no group is presumed and too many errors are
counted, never too few. What is left outside rises and falls with falling scores: the first pair of
a group is alone until the third is seen. The last score at which it is little enough is taken.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Pair = tuple[str, str]

CHANCE_MAX = 0.05
BY_CHANCE_MAX = 3  # groups in all, in a gallery so small that 0.05 is hardly a pair
CLOSING = 0.3  # how often two who are like a third are like each other, as photos of faces show
SMALL_MAX = 0.5  # and however small
HOPELESS = 0.75  # near 1 everybody is tied to everybody, and groups hold all that was left outside
GROUP_MAX = 50
SHARE_MAX = 2
PERSON_MIN = 3  # two alike may be chance
NEVER = 2.0  # no cosine is so high
SHARED_MAX = 20  # customers with one signal: the device of a shop tells nothing


@dataclass(frozen=True, slots=True)
class Marks:
    """What is known of customers beside their faces, each by subject key.

    `confirmed` are pairs, in order, that a reviewer called one person, `apart` those that one
    called different people. `signals` maps a customer to digests of what they gave, each as
    "kind:digest".
    """

    confirmed: frozenset[Pair] = frozenset()
    apart: frozenset[Pair] = frozenset()
    signals: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Presumed(NamedTuple):
    """`persons` has the number of the person that a customer is presumed or confirmed to be, for
    those who are not alone. `since` is the score from which on company tells, and `rings_since`
    that from which on it is worth a look, both above 1 where there is none; `rings_left` counts
    the persons who are alike there and in no group.
    """

    persons: dict[str, int]
    since: float
    rings_since: float
    rings_left: int


def presumed(
    scores: Mapping[Pair, float], marks: Marks, customers: int, match_min: float
) -> Presumed:
    """Who is one person, by the best native scores of pairs of customers, in order; `customers`
    counts all of them. `match_min` is the pack's threshold. The same pairs in any order give the
    same.
    """
    alike = (item for item in scores.items() if item[1] >= match_min)
    edges = sorted(alike, key=lambda item: (-item[1], item[0]))
    few = math.sqrt(2 * BY_CHANCE_MAX / CLOSING / max(1, customers))
    chances = CHANCE_MAX, max(CHANCE_MAX, min(SMALL_MAX, few))
    certain, worth = _enough(edges, _Groups(marks, customers), chances)
    groups = _Groups(marks, customers)
    for pair, _ in edges[: certain.pairs]:
        groups.tie(*pair)
    since, rings_since = (
        edges[each.pairs - 1][1] if each.pairs else NEVER for each in (certain, worth)
    )
    return Presumed(groups.found(), since, rings_since, worth.left)


class _Enough(NamedTuple):
    """How many of the pairs, best first, may make groups, and what these leave."""

    pairs: int = 0
    left: int = 0


def _enough(
    edges: list[tuple[Pair, float]], groups: "_Groups", chances: tuple[float, float]
) -> tuple[_Enough, _Enough]:
    """How many may where chance ties a person to so many others at most."""
    certain, worth = _Enough(), _Enough()
    for place, (pair, score) in enumerate(edges, start=1):
        groups.tie(*pair)
        if groups.chance > HOPELESS:
            break
        is_last = place == len(edges) or edges[place][1] < score
        if is_last and groups.chance <= chances[0]:
            certain = _Enough(place, groups.left)
        if is_last and groups.chance <= chances[1]:
            worth = _Enough(place, groups.left)
    return certain, worth


class _Groups:
    """Groups as pairs come, best first; a customer alone is one. `left` counts the pairs of groups
    that anything ties.
    """

    def __init__(self, marks: Marks, customers: int) -> None:
        self.left = 0
        self._count = customers
        self._size_max = min(GROUP_MAX, max(PERSON_MIN, customers // SHARE_MAX))
        self._apart: dict[str, set[str]] = defaultdict(set)
        for one, other in marks.apart:
            self._apart[one].add(other)
            self._apart[other].add(one)
        self._group: dict[str, int] = {}
        self._members: list[list[str]] = []
        self._near: list[dict[int, int]] = []  # how many pairs there are with other groups
        self._alike: dict[str, set[str]] = defaultdict(set)
        for one, other in sorted(marks.confirmed):
            first, second = self._number(one), self._number(other)
            if first != second and not self._are_apart(first, second):
                self._unite(first, second)
        self._confirmed = {one for pair in marks.confirmed for one in pair}

    @property
    def chance(self) -> float:
        """To how many others a person is tied who are not in the group. A stranger who is like one
        of ten accounts is like the others too: that is one chance.
        """
        return 2 * self.left / max(1, self._count)

    def tie(self, one: str, other: str) -> None:
        """Two customers are alike, who were not yet."""
        thirds = sorted(self._alike[one] & self._alike[other])
        self._alike[one].add(other)
        self._alike[other].add(one)
        first, second = self._number(one), self._number(other)
        if first != second:
            self.left += second not in self._near[first]
            self._near[first][second] = self._near[first].get(second, 0) + 1
            self._near[second][first] = self._near[second].get(first, 0) + 1
        for third in thirds:
            self._join(one, other)
            self._join(one, third)
            self._join(other, third)

    def found(self) -> dict[str, int]:
        """The group of everybody in one of three, or of two that were confirmed."""
        return {
            customer: group
            for customer, group in self._group.items()
            if len(self._members[group]) >= PERSON_MIN
            or (len(self._members[group]) > 1 and customer in self._confirmed)
        }

    def _join(self, one: str, other: str) -> None:
        """Make one group of two customers', whom a third is like, if enough else ties them."""
        first, second = self._group[one], self._group[other]
        if first == second:
            return
        sizes = len(self._members[first]), len(self._members[second])
        is_dense = 2 * self._near[first].get(second, 0) >= sizes[0] * sizes[1]
        if is_dense and sum(sizes) <= self._size_max and not self._are_apart(first, second):
            self._unite(first, second)

    def _unite(self, first: int, second: int) -> None:
        if len(self._members[first]) < len(self._members[second]):
            first, second = second, first
        self.left -= second in self._near[first]
        self._near[first].pop(second, None)
        self._near[second].pop(first, None)
        for other, count in self._near[second].items():
            self.left -= other in self._near[first]  # two persons less, and one chance less
            self._near[first][other] = self._near[first].get(other, 0) + count
            del self._near[other][second]
            self._near[other][first] = self._near[first][other]
        self._count -= 1
        for customer in self._members[second]:
            self._group[customer] = first
        self._members[first] += self._members[second]
        self._members[second], self._near[second] = [], {}

    def _are_apart(self, first: int, second: int) -> bool:
        others = set(self._members[second])
        return any(
            not others.isdisjoint(self._apart[customer])
            for customer in self._members[first]
            if customer in self._apart
        )

    def _number(self, customer: str) -> int:
        """The group of a customer, a new one of their own if they have none."""
        if customer not in self._group:
            self._group[customer] = len(self._members)
            self._members.append([customer])
            self._near.append({})
        return self._group[customer]


def best_scores(pairs: Iterable[tuple[Pair, float]]) -> dict[Pair, float]:
    """The best score of each pair of customers, of those of their faces."""
    best: dict[Pair, float] = {}
    for pair, score in pairs:
        if score > best.get(pair, -2.0):
            best[pair] = score
    return best


def telling_signals(marks: Marks) -> dict[str, frozenset[str]]:
    """Of each customer the signals that few enough share."""
    holders = Counter(signal for given in marks.signals.values() for signal in given)
    return {
        customer: frozenset(signal for signal in given if holders[signal] <= SHARED_MAX)
        for customer, given in marks.signals.items()
    }


def is_tied(one: str, other: str, telling: Mapping[str, frozenset[str]]) -> bool:
    """Whether two customers gave the same document, device, phone or e-mail address."""
    return not telling.get(one, frozenset()).isdisjoint(telling.get(other, frozenset()))
