"""Which rows may be an owner's: a hash table of 64-bit slots, 11 to 22 bytes a row."""

import numpy as np
from numpy.typing import NDArray

SLOTS_MIN = 16
LOAD_MAX = 2 / 3
ROW_BITS = 32
ROW_MASK = (1 << ROW_BITS) - 1


class Owners:
    """Rows by the hash of their owner, open addressing. Rows are added and never taken out: who
    asks looks whether they are alive, and whether the owner is truly theirs.

    A slot holds 32 bits of the hash above the row's number plus one; 0 is empty. It is meant for
    owners of a few rows each: to add one more, all are walked.
    """

    def __init__(self) -> None:
        self._slots = np.zeros(SLOTS_MIN, np.uint64)
        self._view = self._slots.data
        self._used = 0

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return self._slots.nbytes

    def rows(self, owner: str) -> list[int]:
        """Rows that were added for an owner of the same hash."""
        tag, found = _tag(owner), []
        view, last = self._view, len(self._slots) - 1
        place = tag & last
        while slot := view[place]:
            if slot >> ROW_BITS == tag:
                found.append((slot & ROW_MASK) - 1)
            place = (place + 1) & last
        return found

    def add(self, owner: str, row: int) -> None:
        """Note that a row is an owner's."""
        if self._used + 1 > LOAD_MAX * len(self._slots):
            self._refill(self._slots[self._slots > 0], 2 * len(self._slots))
        view, last = self._view, len(self._slots) - 1
        tag = _tag(owner)
        place = tag & last
        while view[place]:
            place = (place + 1) & last
        view[place] = tag << ROW_BITS | row + 1
        self._used += 1

    def renumber(self, numbers: NDArray[np.int64]) -> None:
        """Give every row the number that stands at its place; forget it where that is negative."""
        entries = self._slots[self._slots > 0]
        fresh = numbers[(entries & np.uint64(ROW_MASK)).astype(np.int64) - 1]
        tags = entries[fresh >= 0] >> np.uint64(ROW_BITS)
        entries = tags << np.uint64(ROW_BITS) | (fresh[fresh >= 0] + 1).astype(np.uint64)
        slots = SLOTS_MIN
        while len(entries) + 1 > LOAD_MAX * slots:
            slots *= 2
        self._refill(entries, slots)

    def _refill(self, entries: NDArray[np.uint64], count: int) -> None:
        """Put all entries into a new table, round by round: each takes the first place from its
        own on that it finds empty, and goes one further when another was put there instead.
        """
        slots, last = np.zeros(count, np.uint64), np.uint64(count - 1)
        self._used = len(entries)
        places = entries >> np.uint64(ROW_BITS) & last
        while len(entries):
            free = slots[places] == 0
            slots[places[free]] = entries[free]
            waiting = slots[places] != entries
            entries, places = entries[waiting], places[waiting] + np.uint64(1) & last
        self._slots, self._view = slots, slots.data


def _tag(owner: str) -> int:
    return hash(owner) & ROW_MASK
