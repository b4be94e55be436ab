"""Which members of a unit are one ring: groups that grow along ties, best first, and never where
fewer than half of the pairs between two groups are tied.

Connected components chain: once strangers tie at random, and each face is tied to one or more,
nearly all are one component. Here a random tie joins two who are alone, or a third to two, and
nothing else: between larger groups it is one tie of many pairs. What joins first is what chance
makes least: strong ties that a third member or a signal supports, then weak ones that are
supported, then strong ones that stand alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from index.rings.edges import Rules
from index.rings.unit import Tie, Unit

SHARE = 0.5
"""Of the pairs between two groups that become one, so many are tied."""

ROUNDS_MAX = 100
"""So often all ties that joined nothing are tried again, since others joined: more than needed."""

Group = list[int]
"""Members of a unit by place, in order."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What joins: see `Rules`. Where not `by_faces`, only ends that share a signal do; where not
    `by_company`, weak ties whose ends share none do not. Of the pairs between two groups those of
    `link` or more count as tied, and those who share a signal: where weak ties are common among
    strangers, half of the way from weak to strong.
    """

    strong: float
    weak: float
    link: float
    share: float
    by_faces: bool
    by_company: bool

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """The bar that rings are grown at."""
        by_chance = rules.gallery_size * (rules.false_match_rate or 0.0)
        company = rules.gallery_size * (rules.weak_false_match_rate or 0.0)
        strong, weak = rules.strong, min(rules.weak, rules.strong)
        by_company = company <= rules.company_max
        return cls(
            strong=strong,
            weak=weak,
            link=weak if by_company else (weak + strong) / 2,
            share=SHARE,
            by_faces=by_chance <= rules.chance_max,
            by_company=by_company,
        )

    def may_join(self, score: float, *, is_shared: bool, is_supported: bool) -> bool:
        """Whether a tie may make one group of two: its ends share a signal, or it is strong, or a
        third is tied to both ends.
        """
        if is_shared or not self.by_faces:
            return is_shared
        return score >= self.strong or (is_supported and self.by_company)


def split(unit: Unit, bar: Bar, size_max: int) -> Iterator[tuple[Group, bool]]:
    """The groups of two or more that are told as rings, in no order, and whether each is part of
    a larger one that the guard on sizes took apart.

    A group of more than `size_max` is grown again on its own under a higher bar, until no part is
    too large. One that holds under the highest, nine pairs of ten tied by strong edges, stays.
    """
    bars = [bar, *guards(bar)]
    waiting = [(group, 0, len(group)) for group in joined(unit, bar)]
    while waiting:
        places, level, whole = waiting.pop()
        if len(places) <= size_max or level + 1 == len(bars):
            yield places, len(places) < whole
            continue
        parts = joined(unit.part(places), bars[level + 1])
        waiting += [([places[place] for place in part], level + 1, whole) for part in parts]


def guards(bar: Bar) -> Iterator[Bar]:
    """Ever higher bars for what grew too large: more pairs tied, then by strong ties alone."""
    for share in (0.6, 0.75, 0.9):
        yield replace(bar, share=share)
    for share in (SHARE, 0.75, 0.9):
        yield replace(bar, weak=bar.strong, link=bar.strong, share=share)


def joined(unit: Unit, bar: Bar) -> list[Group]:
    """The groups of two or more that a bar makes of a unit. Ties of one kind and score go by the
    names of their ends, so they may come in any order.
    """
    clusters = _Clusters(unit, bar)
    waiting: list[Tie] = []
    for ties in _ranked(unit, bar):
        waiting += ties
        for _ in range(ROUNDS_MAX):
            before, waiting = len(waiting), [tie for tie in waiting if not clusters.join(tie)]
            if len(waiting) == before:
                break
    return clusters.groups()


def _ranked(unit: Unit, bar: Bar) -> tuple[list[Tie], list[Tie], list[Tie]]:
    """Ties that may join: strong ones with support, weak ones with support, and strong ones."""
    near: list[set[int]] = [set() for _ in unit.members]
    for first, second, score in unit.ties:
        if score >= bar.weak:
            near[first].add(second)
            near[second].add(first)
    ranks: tuple[list[Tie], list[Tie], list[Tie]] = ([], [], [])
    for tie in sorted(unit.ties, key=lambda tie: (-tie.score, tie.first, tie.second)):
        if tie.score < bar.weak:
            break
        is_shared = tie.pair in unit.shared
        is_supported = is_shared or not near[tie.first].isdisjoint(near[tie.second])
        if bar.may_join(tie.score, is_shared=is_shared, is_supported=is_supported):
            rank = 2 if not is_supported else 0 if tie.score >= bar.strong else 1
            ranks[rank].append(tie)
    return ranks


class _Clusters:
    """Groups that become one, how many pairs between any two of them are tied, and which hold
    two who are apart. A group goes by the place of one member, its root.
    """

    def __init__(self, unit: Unit, bar: Bar) -> None:
        self._share = bar.share
        self._roots = list(range(len(unit.members)))
        self._sizes = [1] * len(unit.members)
        self._links: list[dict[int, int]] = [{} for _ in unit.members]
        self._apart: list[set[int]] = [set() for _ in unit.members]
        for first, second in {tie.pair for tie in unit.ties if tie.score >= bar.link} | unit.shared:
            self._links[first][second] = self._links[second][first] = 1
        for first, second in unit.apart:
            self._apart[first].add(second)
            self._apart[second].add(first)

    def join(self, tie: Tie) -> bool:
        """Make one of the groups of the two ends, if they may be. Whether the ends are in one
        group now.
        """
        first, second = self._root(tie.first), self._root(tie.second)
        if first == second:
            return True
        if second in self._apart[first]:
            return False
        links = self._links[first].get(second, 0)
        if links < self._share * self._sizes[first] * self._sizes[second]:
            return False
        self._merge(first, second)
        return True

    def groups(self) -> list[Group]:
        """All groups of two or more."""
        groups: dict[int, Group] = {}
        for place in range(len(self._roots)):
            groups.setdefault(self._root(place), []).append(place)
        return [group for group in groups.values() if len(group) > 1]

    def _root(self, place: int) -> int:
        roots = self._roots
        while roots[place] != place:
            roots[place] = place = roots[roots[place]]
        return place

    def _merge(self, kept: int, gone: int) -> None:
        if len(self._links[kept]) + len(self._apart[kept]) < (
            len(self._links[gone]) + len(self._apart[gone])
        ):
            kept, gone = gone, kept
        self._roots[gone] = kept
        self._sizes[kept] += self._sizes[gone]
        del self._links[kept][gone]
        for other, count in self._links[gone].items():
            if other != kept:
                links = self._links[other]
                del links[gone]
                links[kept] = self._links[kept][other] = self._links[kept].get(other, 0) + count
        for other in self._apart[gone]:
            self._apart[other].discard(gone)
            self._apart[other].add(kept)
            self._apart[kept].add(other)
        self._links[gone], self._apart[gone] = {}, set()


def is_held_by_faces(unit: Unit, members: Sequence[int], bar: Bar) -> bool:
    """Whether the members would be one group had nobody given a second signal."""
    alone = unit.part(members).by_faces_alone()
    return bar.by_faces and [len(group) for group in joined(alone, bar)] == [len(members)]
