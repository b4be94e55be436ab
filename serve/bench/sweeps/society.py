"""A gallery in which it is known who is whom: rings of one person under many names, and all that
looks like one and is none.

    rings      one person, 2 to 25 accounts; every other ring gave one telephone number
    twins      two people as alike as photos of one; half of them known to a reviewer
    families   four people, each like one of them
    hubs       blurred templates: the mean of many people, like all of them
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors
from serve.bench.search.templates import People
from serve.bench.sweeps.crowd import Places, turned

RING_MAX = 25
FACES_PER_RING = 200
FACES_PER_TWINS = 400
FACES_PER_FAMILY = 400
FACES_PER_HUB = 2_000
TWINS, KIN = 0.965, 0.95  # how alike
FAMILY = 4
BLURRED = 30  # people whose mean a hub is

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Society:
    """`templates` (N, D), each of a customer of their own; `people` (N,) says whose face it is,
    `is_plain` (N,) that it is like no stranger's but by chance: no twin's, kin's, or hub. `apart`
    are rows that a reviewer called different people, `signals` what a row's customer gave.
    """

    templates: Vectors = field(repr=False)
    people: Rows = field(repr=False)
    is_plain: NDArray[np.bool_] = field(repr=False)
    apart: Places = field(repr=False)
    signals: Mapping[int, frozenset[str]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.templates)

    @property
    def largest(self) -> int:
        """Accounts of whoever has most."""
        return int(np.bincount(self.people).max())

    @property
    def mates(self) -> int:
        """Pairs of accounts of one person."""
        return pairs_within(np.bincount(self.people))


def society(faces: int, dimension: int, seed: int) -> Society:
    """So many faces, in random order; the same seed gives the same."""
    chance = np.random.default_rng(seed)
    made = People(dimension, seed)
    templates = made.templates(faces)
    people, is_plain = np.arange(faces), np.ones(faces, np.bool_)
    free = _Free(chance.permutation(faces))
    signals: dict[int, frozenset[str]] = {}
    sizes = chance.integers(2, RING_MAX + 1, max(1, faces // FACES_PER_RING))
    sizes[0] = RING_MAX
    for number, size in enumerate(sizes.tolist()):
        first, *others = members = free.take(size)
        templates[others] = made.mates(np.repeat(templates[[first]], size - 1, axis=0))
        people[members] = first
        if number % 2:
            signals |= dict.fromkeys(members, frozenset({f"phone:{number}"}))
    ringed = free.taken
    twins = np.array([free.take(2) for _ in range(max(1, faces // FACES_PER_TWINS))])
    templates[twins[:, 1]] = turned(templates[twins[:, 0]], templates[twins[:, 1]], TWINS)
    for _ in range(faces // FACES_PER_FAMILY):
        first, *others = free.take(FAMILY)
        like = np.repeat(templates[[first]], FAMILY - 1, axis=0)
        templates[others] = turned(like, templates[others], KIN)
    for (hub,) in (free.take(1) for _ in range(faces // FACES_PER_HUB)):
        mean = templates[chance.choice(faces, BLURRED, replace=False)].mean(axis=0)
        templates[hub] = mean / np.linalg.norm(mean)
    is_plain[free.all[ringed : free.taken]] = False
    return Society(templates, people, is_plain, np.sort(twins[::2], axis=1), signals)


def pairs_within(sizes: Sequence[int] | Rows) -> int:
    """Pairs in groups of these sizes."""
    wide = np.asarray(sizes, np.int64)
    return int((wide * (wide - 1) // 2).sum())


class _Free:
    """`all` rows in random order, of which the first `taken` are somebody's."""

    def __init__(self, rows: Rows) -> None:
        self.all = rows
        self.taken = 0

    def take(self, count: int) -> list[int]:
        """So many more."""
        rows: list[int] = self.all[self.taken : self.taken + count].tolist()
        self.taken += count
        assert len(rows) == count, "there are faces enough"
        return rows
