"""How a sweep is cut: a gallery's log into blocks of faces, and the blocks into tiles.

A block is a run of faces in the order of the log, partition by partition, named by places alone:
whoever works on it reads it from the log, without those who have gone since. Faces that an
earlier sweep has seen stand in blocks of their own, before the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.entry import START, LogId
from index.sweep.grid import Tile, across, all_pairs
from serve.domain.sweeps.sweep import TAIL_MIN, BlockPlan, Segment, SweepPlan

BLOCK_MIN, BLOCK_MAX = 2_048, 65_536  # faces of a block, both powers of two
TILES_WANTED = 2_000  # beyond it larger blocks are cut, up to the largest
TILES_MAX = 4_096  # beyond it still larger ones: so many the ledger of tiles takes
TAIL_MAX = 250_000  # pairs kept below the threshold over all tiles, at most: some 400 MB
UNKNOWN_TAIL_MIN, UNKNOWN_TAIL_MAX = 200_000, 500_000  # where it is found at the end: 4 times more
SEQ_MAX = 2**63 - 1  # in the id of an entry: no stream comes so far


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Faces of one partition in the order of its log, (N,) each: the two numbers of their entries'
    ids, and the numbers of their customers.
    """

    partition: int
    ms: NDArray[np.int64]
    seq: NDArray[np.int64]
    owners: NDArray[np.int64]

    def up_to(self, place: LogId) -> int:
        """How many of them stand at `place` or before."""
        is_before = (self.ms < place.ms) | ((self.ms == place.ms) & (self.seq <= place.seq))
        return int(is_before.sum())

    def at(self, row: int) -> LogId:
        """Where one of them stands."""
        return LogId(int(self.ms[row]), int(self.seq[row]))


@dataclass(frozen=True, slots=True)
class Cut:
    """A plan, its tiles, and what they hold: pairs of different customers to compare, faces and
    customers.
    """

    plan: SweepPlan
    tiles: tuple[Tile, ...]
    faces: int
    customers: int
    to_compare: int


def owner_number(subject_key: str) -> int:
    """A customer's number in every block of every sweep: 63 bits of the digest that names them.
    That two of a million customers share one has odds of one in ten million.
    """
    return int(subject_key[:16], 16) >> 1


def entry_of_ms(ms: int) -> LogId:
    """Behind every entry that was written by then."""
    return LogId(ms, SEQ_MAX)


def cut(
    places: Sequence[Places],
    pin: Mapping[int, LogId],
    since: Mapping[int, LogId] | None = None,
    size: int = 0,
) -> Cut:
    """Everybody with everybody, but for pairs of faces that both stand at `since` or before.

    `places` are one for each partition that holds faces; blocks have `size` faces, or as many as
    `block_size` says.
    """
    olds = [0 if since is None else each.up_to(since.get(each.partition, START)) for each in places]
    total, old = sum(len(each.ms) for each in places), sum(olds)
    size = size or block_size(old, total - old)
    before = _blocks(places, [0] * len(places), olds, size)
    after = _blocks(places, olds, [len(each.ms) for each in places], size)
    plan = SweepPlan(blocks=(*before, *after), first_new=len(before), pin=_texts(pin))
    tiles = tuple(all_pairs(len(plan.blocks), plan.first_new))
    mates, customers = _mates(places, olds)
    to_compare = _pairs(total) - _pairs(old) - mates
    return Cut(plan, tiles, total, customers, to_compare)


def cut_across(
    places: Sequence[Places],
    blocked: Sequence[Places],
    pin: Mapping[int, LogId],
    since: Mapping[int, LogId] | None = None,
    size: int = 0,
) -> Cut:
    """The same of everybody with everybody on the blocklist. `first_new` of the plan is where the
    blocklist's blocks begin.
    """
    size = size or block_size(0, sum(len(each.ms) for each in (*places, *blocked)))
    blocks: list[BlockPlan] = []
    news: list[bool] = []
    faces: list[int] = []
    for group in (places, blocked):
        olds = [0 if since is None else each.up_to(since.get(each.partition, START))
                for each in group]  # fmt: skip
        ends = [len(each.ms) for each in group]
        old = _blocks(group, [0] * len(group), olds, size)
        new = _blocks(group, olds, ends, size)
        named = {"is_blocklist": group is blocked}
        blocks += [each.model_copy(update=named) for each in (*old, *new)]
        news += [False] * len(old) + [True] * len(new)
        faces += [sum(ends), sum(olds)]
    first = sum(not each.is_blocklist for each in blocks)
    tiles = tuple(
        tile for tile in across(len(blocks), first) if news[tile.row] or news[tile.column]
    )
    plan = SweepPlan(blocks=tuple(blocks), first_new=first, pin=_texts(pin))
    total, old_faces, listed, old_listed = faces
    _, customers = _mates(places, [0] * len(places))
    return Cut(plan, tiles, total, customers, total * listed - old_faces * old_listed)


def block_size(old: int, new: int) -> int:
    """Faces of a block, a power of two: as few as keep the tiles near `TILES_WANTED`."""
    size = BLOCK_MIN
    while _tiles(old, new, size) > (TILES_WANTED if size < BLOCK_MAX else TILES_MAX):
        size *= 2
    return size


def _tiles(old: int, new: int, size: int) -> int:
    before = -(-old // size)
    blocks = before - (-new // size)
    return blocks * (blocks + 1) // 2 - before * (before + 1) // 2


def keep_below(faces: int, tiles: int, *, is_known: bool) -> int:
    """How many of its best pairs below the threshold a tile keeps; more where the threshold is
    known at the end alone.
    """
    wanted = min(max(TAIL_MIN, faces), TAIL_MAX)
    if not is_known:
        wanted = min(max(UNKNOWN_TAIL_MIN, 4 * wanted), UNKNOWN_TAIL_MAX)
    return -(-wanted // max(1, tiles))


def _blocks(
    places: Sequence[Places], begins: Sequence[int], ends: Sequence[int], size: int
) -> list[BlockPlan]:
    """Rows from `begins` to `ends` of each partition, cut into blocks of `size` faces."""
    blocks: list[BlockPlan] = []
    segments: list[Segment] = []
    held = 0
    for each, begin, end in zip(places, begins, ends, strict=True):
        while begin < end:
            until = min(end, begin + size - held)
            after = each.at(begin - 1) if begin else START
            segments.append(
                Segment(partition=each.partition, after=str(after), upto=str(each.at(until - 1)))
            )
            held += until - begin
            begin = until  # noqa: PLW2901 (the next segment begins there)
            if held == size:
                blocks.append(BlockPlan(segments=tuple(segments), faces=held))
                segments, held = [], 0
    if segments:
        blocks.append(BlockPlan(segments=tuple(segments), faces=held))
    return blocks


def _mates(places: Sequence[Places], olds: Sequence[int]) -> tuple[int, int]:
    """Pairs of one customer's faces, but for those of two old ones; and how many customers."""
    if not places:
        return 0, 0
    every = np.concatenate([each.owners for each in places])
    old = np.concatenate([each.owners[:n] for each, n in zip(places, olds, strict=True)])
    _, counts = np.unique(every, return_counts=True)
    _, old_counts = np.unique(old, return_counts=True)
    return _pairs_of(counts) - _pairs_of(old_counts), len(counts)


def _pairs_of(counts: NDArray[np.int64]) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _pairs(number: int) -> int:
    return number * (number - 1) // 2


def _texts(pin: Mapping[int, LogId]) -> dict[int, str]:
    return {partition: str(place) for partition, place in pin.items()}
