"""Why a ring is one: its tree, its bridges and weakest link, and what it is without each member."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from index.rings.edges import Edge, Ring, Rules

ID_BYTES = 14


def ring_id(first: str) -> str:
    """The id of the ring whose first member by name is `first`: `rng_` and 28 digits of its
    BLAKE2b. It stays while this member is in it and nobody before them joins.
    """
    return "rng_" + hashlib.blake2b(first.encode(), digest_size=ID_BYTES).hexdigest()


def explained(
    edges: Sequence[Edge],
    signals: Mapping[str, frozenset[str]],
    rules: Rules,
    *,
    held_by_faces: bool = True,
    was_parted: bool = False,
) -> Ring:
    """The ring of all ends of `edges`, which connect them."""
    members = tuple(sorted({name for edge in edges for name in (edge.first, edge.second)}))
    tree = maximum_tree(edges)
    assert len(tree) == len(members) - 1, "edges of a ring connect its members"
    bridges, without = cuts(edges)
    weakest = min(edge.score for edge in tree)
    strong = sum(edge.score >= rules.strong for edge in edges)
    pairs = len(members) * (len(members) - 1) // 2
    given = Counter(signal for name in members for signal in signals.get(name, ()))
    return Ring(
        id=ring_id(members[0]),
        members=members,
        strong_edges=strong,
        weak_edges=len(edges) - strong,
        weakest_link=weakest,
        tree=tree,
        bridges=bridges,
        expected_false_edges=expected_false_edges(pairs, weakest, rules),
        density=len(edges) / pairs,
        medoid=medoid(edges),
        shared=tuple(sorted(signal for signal, times in given.items() if times > 1)),
        without=without,
        held_together_by="faces" if held_by_faces else "signals",
        was_parted=was_parted,
    )


def expected_false_edges(pairs: int, weakest: float, rules: Rules) -> float | None:
    """How many of so many pairs of strangers would score `weakest`, or more than that if it lies
    above the bar whose rate is known; None where no rate is.
    """
    rates = rules.false_match_rate, rules.weak_false_match_rate
    rate = rates[0] if weakest >= rules.strong else rates[1] if weakest >= rules.weak else None
    return None if rate is None else pairs * rate


def maximum_tree(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """The tree of the best scores that connects what the edges connect, best first; of equal
    scores the first by name.
    """
    roots: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := roots.setdefault(name, name)) != name:
            roots[name] = name = roots[above]
        return name

    tree = []
    for edge in sorted(edges, key=best_first):
        first, second = root(edge.first), root(edge.second)
        if first != second:
            roots[first] = second
            tree.append(edge)
    return tuple(tree)


def best_first(edge: Edge) -> tuple[float, str, str]:
    """The order in which edges are told: by score, the best first, then by name."""
    return -edge.score, edge.first, edge.second


def medoid(edges: Sequence[Edge]) -> str:
    """The end that is most like the others: with the most edges, and of those the one with the
    highest scores together; the first by name among equals.
    """
    scores: dict[str, list[float]] = {}
    for edge in sorted(edges):
        scores.setdefault(edge.first, []).append(edge.score)
        scores.setdefault(edge.second, []).append(edge.score)
    return min(scores, key=lambda name: (-len(scores[name]), -sum(scores[name]), name))


def cuts(edges: Sequence[Edge]) -> tuple[tuple[Edge, ...], dict[str, int]]:
    """Edges without which the rest falls in two, best first; and how many parts are left without
    a member, for those where that is not one. The edges connect all their ends.
    """
    walk = _Walk(edges)
    bridges, parts = [], Counter[str]()
    for name, above in reversed(walk.above.items()):
        if above is None:
            parts[name] -= 1  # nothing lies above the first: its parts are those below alone
            continue
        if walk.lowest[name] >= walk.number[above]:
            parts[above] += 1
        if walk.lowest[name] == walk.number[name]:
            bridges.append(walk.edge(name, above))
    # One part lies above each, and so many below whom nothing ties to what is above.
    without = {name: 1 + parts[name] for name in sorted(walk.above) if parts[name] != 0}
    return tuple(sorted(bridges, key=best_first)), without


class _Walk:
    """A walk in depth (Tarjan's) along all edges, without recursion: `number` of each member as it
    was met, `above` whom it was met from, in that order, and `lowest`, the lowest number that is
    reached from it or below by one edge that the walk did not take.
    """

    def __init__(self, edges: Sequence[Edge]) -> None:
        self._scores: dict[str, dict[str, float]] = {}
        for edge in sorted(edges):
            self._scores.setdefault(edge.first, {})[edge.second] = edge.score
            self._scores.setdefault(edge.second, {})[edge.first] = edge.score
        self.above: dict[str, str | None] = {}
        self.number: dict[str, int] = {}
        self.lowest: dict[str, int] = {}
        self._numbers = count()
        self._meet(min(self._scores), None)

    def edge(self, name: str, other: str) -> Edge:
        """The edge between two."""
        return Edge(min(name, other), max(name, other), self._scores[name][other])

    def _meet(self, name: str, above: str | None) -> None:
        path = [(name, self._entered(name, above))]
        while path:
            name, others = path[-1]
            other = next(others, None)
            if other is None:
                path.pop()
                if (back := self.above[name]) is not None:
                    self.lowest[back] = min(self.lowest[back], self.lowest[name])
            elif other not in self.number:
                path.append((other, self._entered(other, name)))
            elif other != self.above[name]:
                self.lowest[name] = min(self.lowest[name], self.number[other])

    def _entered(self, name: str, above: str | None) -> Iterator[str]:
        self.above[name] = above
        self.number[name] = self.lowest[name] = next(self._numbers)
        return iter(self._scores[name])
