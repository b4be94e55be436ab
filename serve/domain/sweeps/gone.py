"""Rings without those who have gone since."""

from collections import Counter
from dataclasses import replace

from index.rings.edges import Edge, Ring
from index.rings.explain import ring_id

SMALLEST = 2  # one alone is no ring


def ring_without(ring: Ring, gone: frozenset[str]) -> Ring | None:
    """The ring as it is told once `gone` are taken out: it is not grown anew, and what counts
    edges stays as it was found. Its id is that of its first member. None where fewer than two are
    left.
    """
    members = tuple(member for member in ring.members if member not in gone)
    if len(members) == len(ring.members):
        return ring
    if len(members) < SMALLEST:
        return None
    tree = _among(ring.tree, gone)
    degrees = Counter(end for edge in tree for end in (edge.first, edge.second))
    medoid = max(sorted(members), key=lambda member: degrees[member])
    return replace(
        ring,
        id=ring.id if members[0] == ring.members[0] else ring_id(members[0]),
        members=members,
        tree=tree,
        bridges=_among(ring.bridges, gone),
        medoid=medoid if ring.medoid in gone else ring.medoid,
        without={member: parts for member, parts in ring.without.items() if member not in gone},
    )


def _among(edges: tuple[Edge, ...], gone: frozenset[str]) -> tuple[Edge, ...]:
    return tuple(edge for edge in edges if edge.first not in gone and edge.second not in gone)
