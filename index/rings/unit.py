"""A unit: customers whom candidate ties connect, and all that decides what rings are among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

Pair = tuple[int, int]
"""Two members of a unit by place, the lower first."""


class Tie(NamedTuple):
    """A pair of members, the lower place first, and the best native score of their faces."""

    first: int
    second: int
    score: float

    @property
    def pair(self) -> Pair:
        """Whom it ties."""
        return self.first, self.second


@dataclass(frozen=True, slots=True)
class Unit:
    """Members in the order of their names, and what is known of pairs of them: `ties` of the weak
    bar or more, `shared` the pairs that share a second signal, `apart` those who are never one.
    No tie is `apart`.
    """

    members: tuple[str, ...]
    ties: tuple[Tie, ...]
    shared: frozenset[Pair]
    apart: frozenset[Pair]

    def part(self, places: Sequence[int]) -> "Unit":
        """What is known of some members alone, who keep their order."""
        kept = sorted(places)
        place = {old: new for new, old in enumerate(kept)}
        return Unit(
            tuple(self.members[old] for old in kept),
            tuple(
                Tie(place[tie.first], place[tie.second], tie.score)
                for tie in self.ties
                if tie.first in place and tie.second in place
            ),
            _renumbered(self.shared, place),
            _renumbered(self.apart, place),
        )

    def by_faces_alone(self) -> "Unit":
        """The same, as if nobody had given a second signal."""
        return Unit(self.members, self.ties, frozenset(), self.apart)


def _renumbered(pairs: frozenset[Pair], place: dict[int, int]) -> frozenset[Pair]:
    return frozenset(
        (place[first], place[second])
        for first, second in pairs
        if first in place and second in place
    )
