"""A society of faces as a real model scores them: most are strangers, some have many accounts, and
some are not who they look like.

All lie about a common face, so strangers score alike on average, with a tail that ties everybody to
everybody once a bar is low enough. One in five is of a people whose faces have more in common.
Photos of one person differ, some much more than others. *Hubs* are bad crops, close to the common
face: thousands are as like them as photos of one person are. *Twins* score nearly what one person
does, *families* a good deal more than strangers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors
from index.rings.edges import Edge, Evidence, Grown, Rules
from tests.index.templates import unit

DIMENSION = 64  # as many directions as real templates of 128 or 512 numbers make use of
PEOPLE_ALIKE = 0.1  # cosine between two faces of the smaller people, common face apart
TWIN, SIBLING = 0.9, 0.4  # the same between kin
HUB_OWN = 0.25  # of a hub's norm, what is its own
SPREAD, SPREAD_OF_SPREADS = 0.45, 0.35  # of photos about their person, median and log deviation
RING_MAX = 25
ROWS, COLUMNS = 2_048, 8_192  # of a tile

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Society:
    """N faces, one a customer. `people` (N,) says whose each is; `hubs` which are no good.
    `first`, `second` and `scores` are all pairs at or above the floor it was made with.
    """

    names: tuple[str, ...]
    people: Numbers
    hubs: Numbers
    signals: dict[str, frozenset[str]]
    apart: frozenset[tuple[str, str]]
    first: Numbers
    second: Numbers
    scores: Scores

    @property
    def largest(self) -> int:
        """Accounts of the person who has most."""
        return int(np.bincount(self.people).max())

    @property
    def true_pairs(self) -> int:
        """Pairs of accounts of one person."""
        sizes = np.bincount(self.people)
        return int((sizes * (sizes - 1) // 2).sum())

    def evidence(self, floor: float, *, with_signals: bool = True) -> Evidence:
        """All pairs from a score on."""
        found = np.flatnonzero(self.scores >= floor)
        rows = zip(
            self.first[found].tolist(),
            self.second[found].tolist(),
            self.scores[found].tolist(),
            strict=True,
        )
        edges = tuple(
            Edge(*sorted_pair(self.names[first], self.names[second]), score)
            for first, second, score in rows
        )
        return Evidence(edges, self.signals if with_signals else {}, self.apart)

    def impostors(self, *, with_hubs: bool) -> Scores:
        """Scores of pairs of different people, highest first."""
        strangers = self.people[self.first] != self.people[self.second]
        if not with_hubs:
            strangers &= ~np.isin(self.first, self.hubs) & ~np.isin(self.second, self.hubs)
        return -np.sort(-self.scores[strangers])

    def rules(self, weak_chance: float, strong_chance: float = 0.01, *, with_hubs: bool) -> Rules:
        """The bars at which chance ties so many strangers to a face, on average; told apart, or
        not, from what hubs do.
        """
        impostors = self.impostors(with_hubs=with_hubs)
        places = [round(chance * len(self.names) / 2) for chance in (strong_chance, weak_chance)]
        assert max(places) < len(impostors), "the floor is too high to tell"
        strong, weak = (float(impostors[place]) for place in places)
        rates = [2 * (place + 1) / len(self.names) ** 2 for place in places]
        return Rules(
            strong=max(strong, weak),
            weak=weak,
            gallery_size=len(self.names),
            false_match_rate=min(rates),
            weak_false_match_rate=rates[1],
        )

    def right_and_told(self, grown: Grown) -> tuple[int, int]:
        """Of the pairs that rings tell to be one person, those who are; and all of them."""
        place = {name: number for number, name in enumerate(self.names)}
        right = told = 0
        for ring in grown.rings:
            sizes = np.bincount(self.people[[place[name] for name in ring.members]])
            right += int((sizes * (sizes - 1) // 2).sum())
            told += len(ring.members) * (len(ring.members) - 1) // 2
        return right, told


def sorted_pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def society(faces: int, floor: float, seed: int = 0) -> Society:
    """A society of so many faces: one in eight is of a ring, one in twelve has kin."""
    maker = _Maker(faces, seed)
    templates, people = maker.photos()
    first, second, scores = _pairs(templates, floor)
    return Society(
        names=maker.names,
        people=people,
        hubs=maker.hubs,
        signals=maker.signals(),
        apart=maker.apart(),
        first=first,
        second=second,
        scores=scores,
    )


class _Maker:
    """Draws a society. Faces are in the order of their people; names say nothing of it."""

    def __init__(self, faces: int, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        sizes = self._chance.geometric(0.15, faces // 50) + 1
        sizes = np.clip(sizes, 2, RING_MAX)
        sizes[: max(1, faces // 2_500)] = RING_MAX
        singles = faces - int(sizes.sum())
        assert singles > faces // 2
        self.sizes = self._chance.permutation(np.concatenate((sizes, np.ones(singles, np.int64))))
        self.people = np.repeat(np.arange(len(self.sizes)), self.sizes)
        hubs = max(2, faces // 8_000)
        lone = np.flatnonzero(self.sizes[self.people] == 1)
        self.hubs = self._chance.choice(lone, hubs, replace=False)
        digits = self._chance.permutation(faces)
        self.names = tuple(f"{number * 2_654_435_761 % 2**32:08x}" for number in digits.tolist())
        persons = self._chance.permutation(len(self.sizes))
        self.twins = persons[: faces // 200].reshape(-1, 2)
        self.families = persons[faces // 200 :][: 4 * (faces // 60)].reshape(-1, 4)

    def photos(self) -> tuple[Vectors, Numbers]:
        """(N, D) templates, and (N,) whose they are."""
        count = len(self.sizes)
        faces = self._noise(count)
        minority = self._chance.random(count) < 0.2
        faces[minority] = _mixed(self._noise(1), faces[minority], PEOPLE_ALIKE)
        faces[self.twins[:, 1]] = _mixed(faces[self.twins[:, 0]], faces[self.twins[:, 1]], TWIN**2)
        parents = np.repeat(self._noise(len(self.families)), 4, axis=0)
        kin = self.families.ravel()
        faces[kin] = _mixed(parents, faces[kin], SIBLING)
        deviations = self._chance.standard_normal(len(self.people))
        spreads = SPREAD * np.exp(SPREAD_OF_SPREADS * deviations)
        noise = spreads[:, None].astype(np.float32) * self._noise(len(self.people))
        photos: Vectors = faces[self.people] + noise
        photos[self.hubs] = HUB_OWN * self._noise(len(self.hubs))
        return unit(self._noise(1) + photos), self.people

    def signals(self) -> dict[str, frozenset[str]]:
        """Half of those with many accounts use one device for most of them; a family shares a
        telephone; and a kiosk's device is given by thousands.
        """
        given: dict[str, set[str]] = {}
        many = self._chance.random(len(self.sizes)) < 0.5
        used = self._chance.random(len(self.people)) < 0.7
        for face in np.flatnonzero(
            (self.sizes > 1)[self.people] & many[self.people] & used
        ).tolist():
            given.setdefault(self.names[face], set()).add(f"device:{self.people[face]}")
        family_of = {
            person: number
            for number, family in enumerate(self.families.tolist())
            for person in family
        }
        for face, person in enumerate(self.people.tolist()):
            if person in family_of and self._chance.random() < 0.3:
                given.setdefault(self.names[face], set()).add(f"phone:{family_of[person]}")
        for face in np.flatnonzero(self._chance.random(len(self.people)) < 0.05).tolist():
            given.setdefault(self.names[face], set()).add("device:kiosk")
        return {name: frozenset(signals) for name, signals in given.items()}

    def apart(self) -> frozenset[tuple[str, str]]:
        """A reviewer met one in three pairs of twins and told one account of each apart."""
        starts = np.cumsum(self.sizes) - self.sizes
        return frozenset(
            sorted_pair(self.names[starts[one]], self.names[starts[other]])
            for one, other in self.twins[::3].tolist()
        )

    def _noise(self, count: int) -> Vectors:
        return unit(self._chance.standard_normal((count, DIMENSION), dtype=np.float32))


def _mixed(common: Vectors, own: Vectors, share: float) -> Vectors:
    """Faces of norm 1 that have `share` of it in common: their cosine."""
    mixed: Vectors = np.float32(share**0.5) * common + np.float32((1 - share) ** 0.5) * own
    return unit(mixed)


def _pairs(templates: Vectors, floor: float) -> tuple[Numbers, Numbers, Scores]:
    """Every pair that scores at least the floor: places, the lower first, and scores."""
    count = len(templates)
    firsts, seconds, scores = [], [], []
    for row in range(0, count, ROWS):
        for column in range(row // COLUMNS * COLUMNS, count, COLUMNS):
            tile = templates[row : row + ROWS] @ templates[column : column + COLUMNS].T
            found = np.flatnonzero(tile.ravel() >= floor)
            first, second = np.divmod(found, tile.shape[1])
            upper = first + row < second + column
            firsts.append(first[upper] + row)
            seconds.append(second[upper] + column)
            scores.append(tile.ravel()[found[upper]])
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(scores)
