"""Which shard holds which partition: an immutable table, and the fewest moves to a better one.

Where a partition may choose, it goes by rendezvous hashing over the names of the shards, so the
same names give the same first table on every host. Shards hold as many partitions as each other,
or one more: a search is as fast as its slowest shard.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from serve.domain.ids import PARTITIONS

NOBODY = ""


class Move(NamedTuple):
    """A partition goes from one shard, or from NOBODY, to another."""

    partition: int
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Table:
    """The shard of each partition, NOBODY where there is none; `version` counts the changes."""

    version: int = 0
    owners: tuple[str, ...] = (NOBODY,) * PARTITIONS

    def moved(self, *moves: Move) -> Self:
        """The next version, with these moves made."""
        owners = list(self.owners)
        for move in moves:
            owners[move.partition] = move.target
        return type(self)(self.version + 1, tuple(owners))

    def of(self, shard: str) -> frozenset[int]:
        """The partitions of a shard."""
        return frozenset(place for place, owner in enumerate(self.owners) if owner == shard)

    def by_shard(self) -> Mapping[str, frozenset[int]]:
        """Every shard that holds something, with what it holds."""
        return {shard: self.of(shard) for shard in sorted(set(self.owners) - {NOBODY})}


def moves_towards(table: Table, shards: Collection[str]) -> tuple[Move, ...]:
    """The moves after which exactly `shards` hold everything, evenly, in order of partition.

    As few as there can be: one shard more takes its share and nothing else moves; one shard less
    leaves its share and nothing else moves. Raises ValueError without a shard.
    """
    if not shards:
        raise ValueError("no shard to hold anything")
    held = {shard: table.of(shard) for shard in shards}
    shares = _shares(held)
    loose = {
        place
        for shard, places in held.items()
        for place in sorted(places, key=lambda place: (-weight(shard, place), place))[
            shares[shard] :
        ]
    }
    loose |= {place for place, owner in enumerate(table.owners) if owner not in held}
    room = {shard: shares[shard] - len(places - loose) for shard, places in held.items()}
    moves = []
    for place in sorted(loose):
        free = [shard for shard, left in room.items() if left]
        target = max(free, key=lambda shard: (weight(shard, place), shard))
        room[target] -= 1
        moves.append(Move(place, table.owners[place], target))
    return tuple(moves)


def weight(shard: str, partition: int) -> int:
    """How much a partition is drawn to a shard."""
    data = f"{partition:02d}|{shard}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _shares(held: Mapping[str, frozenset[int]]) -> dict[str, int]:
    """How many partitions each shard is to hold: one more for those that hold most already."""
    least, over = divmod(PARTITIONS, len(held))
    ranked = sorted(held, key=lambda shard: (-len(held[shard]), shard))
    return {shard: least + (place < over) for place, shard in enumerate(ranked)}
