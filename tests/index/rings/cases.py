"""Evidence written by hand."""

from collections.abc import Iterable, Mapping

from index.rings.edges import Edge, Evidence, Grown, Rules
from index.rings.grow import grow

STRONG, WEAK = 0.6, 0.5
"""Scores on the bars that most cases are grown under."""

RULES = Rules(strong=STRONG, weak=WEAK)


def ties(text: str, score: float = STRONG) -> tuple[Edge, ...]:
    """Edges of one score: "ab bc" ties a to b, and b to c."""
    return tuple(Edge(min(pair), max(pair), score) for pair in text.split())


def clique(names: Iterable[str], score: float = STRONG) -> tuple[Edge, ...]:
    """Everybody tied to everybody."""
    known = sorted(names)
    return tuple(
        Edge(first, second, score)
        for place, first in enumerate(known)
        for second in known[place + 1 :]
    )


def grown(
    *edges: tuple[Edge, ...],
    signals: Mapping[str, str] | None = None,
    apart: str = "",
    rules: Rules = RULES,
) -> Grown:
    """What grows out of the edges, one signal a customer, and pairs apart as in `ties`."""
    given = {name: frozenset({signal}) for name, signal in (signals or {}).items()}
    parted = frozenset((edge.first, edge.second) for edge in ties(apart))
    return grow(Evidence(tuple(edge for some in edges for edge in some), given, parted), rules)


def rings(grown: Grown) -> list[str]:
    """The members of each ring, one letter each, in order."""
    return ["".join(ring.members) for ring in grown.rings]
