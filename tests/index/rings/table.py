"""Rings of a society against plain connected components, bar by bar.

python -m tests.index.rings.table 100000
"""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from index.rings.edges import Edge, Grown, Rules
from index.rings.grow import grow
from tests.index.rings.society import Society, society

FLOOR = 0.7
CHANCES = (4.0, 2.0, 1.0, 0.3, 0.1, 0.05, 0.02, 0.01, 1e-3)
"""Strangers that chance ties to a face at the weak bar. The product chooses one of 0.05 or less;
above 1 nearly everybody is connected.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What one pair of bars comes to. Pairs are pairs of customers, counted."""

    chance: float
    rules: Rules
    edges: int
    largest_component: int
    grown: Grown
    right: int
    told: int
    cpu_s: float

    @property
    def largest(self) -> int:
        """Members of the largest ring."""
        return max((len(ring.members) for ring in self.grown.rings), default=0)


def row(people: Society, chance: float, *, with_hubs: bool, with_signals: bool = True) -> Row:
    """Grow the rings of a society where chance ties so many strangers to a face."""
    rules = people.rules(chance, with_hubs=with_hubs)
    known = people.evidence(rules.weak, with_signals=with_signals)
    started = time.process_time()
    grown = grow(known, rules)
    cpu_s = time.process_time() - started
    right, told = people.right_and_told(grown)
    component = largest_component(known.edges)
    return Row(chance, rules, len(known.edges), component, grown, right, told, cpu_s)


def largest_component(edges: Iterable[Edge]) -> int:
    """How many customers the largest of the plain connected components has."""
    roots: dict[str, str] = {}
    sizes: dict[str, int] = {}

    def root(name: str) -> str:
        while (above := roots.setdefault(name, name)) != name:
            roots[name] = name = roots[above]
        return name

    for edge in edges:
        first, second = root(edge.first), root(edge.second)
        if first != second:
            roots[first] = second
            sizes[second] = sizes.pop(first, 1) + sizes.get(second, 1)
    return max(sizes.values(), default=1)


def lines(people: Society) -> Iterator[str]:
    """The table, line by line."""
    yield (
        f"{len(people.names)} faces, {people.true_pairs} pairs of one person, largest ring "
        f"{people.largest}, {len(people.hubs)} hubs"
    )
    yield (
        "N x FMR | hubs counted | weak | strong | edges | largest component | largest ring | rings"
        " | pairs told | right | precision | recall | quarantined | CPU s"
    )
    for with_hubs in (False, True):
        for chance in CHANCES:
            found = row(people, chance, with_hubs=with_hubs)
            yield " | ".join(
                (
                    f"{chance:g}",
                    "yes" if with_hubs else "no",
                    f"{found.rules.weak:.3f}",
                    f"{found.rules.strong:.3f}",
                    str(found.edges),
                    str(found.largest_component),
                    str(found.largest),
                    str(len(found.grown.rings)),
                    str(found.told),
                    str(found.right),
                    f"{found.right / max(1, found.told):.4f}",
                    f"{found.right / people.true_pairs:.4f}",
                    str(len(found.grown.quarantined)),
                    f"{found.cpu_s:.1f}",
                )
            )


def main() -> None:
    """Write the table of a society of as many faces as the first argument says."""
    for line in lines(society(int(sys.argv[1]), FLOOR)):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
