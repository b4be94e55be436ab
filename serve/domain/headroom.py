"""Whether the store of records has room for something new, or only for what has begun.

A Redis whose every write is synced ends when its disk is full, and one at its `maxmemory` refuses
every write. So new work is refused well before: what is left is for sessions that are open, for
erasures, and for the rewrite of the append-only file, which erasures need and which needs as much
room again as the file has now.
"""

from dataclasses import dataclass
from enum import StrEnum


class Shortage(StrEnum):
    """What the store is short of."""

    DISK = "disk"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Marks:
    """Where shedding begins: bytes free on the disk, and the used share of `maxmemory`."""

    disk_free_min_bytes: int
    memory_share_max: float


@dataclass(frozen=True, slots=True)
class Room:
    """What there is. `disk_free_bytes` is None where the disk is not ours to watch.

    `log_bytes` is the size of the append-only file, `rewritten_bytes` what a rewrite under way has
    written of it anew. A `memory_max_bytes` of 0 means that Redis has no limit.
    """

    disk_free_bytes: int | None = None
    log_bytes: int = 0
    rewritten_bytes: int = 0
    memory_bytes: int = 0
    memory_max_bytes: int = 0

    def disk_spare_bytes(self, marks: Marks) -> int | None:
        """Bytes on the disk above the mark; negative below it."""
        if self.disk_free_bytes is None:
            return None
        rewrite_bytes = max(0, self.log_bytes - self.rewritten_bytes)
        return self.disk_free_bytes - marks.disk_free_min_bytes - rewrite_bytes

    @property
    def memory_share(self) -> float:
        """The used share of `maxmemory`; 0 where there is none."""
        return self.memory_bytes / self.memory_max_bytes if self.memory_max_bytes else 0.0


def shortage(room: Room, marks: Marks) -> Shortage | None:
    """What there is too little of for something new, or None."""
    spare_bytes = room.disk_spare_bytes(marks)
    if spare_bytes is not None and spare_bytes < 0:
        return Shortage.DISK
    return Shortage.MEMORY if room.memory_share > marks.memory_share_max else None
