"""The arenas of some partitions, and how far the log of each partition has been followed."""

from collections.abc import Sequence
from typing import assert_never

from index.arena import Arena
from index.entry import START, Enrolled, Entry, Erased, Gallery, Hit, LogId, Vectors
from index.errors import VectorError


class Shard:
    """One thread writes (`hold`, `release`, `apply`); any number of threads read.

    `refused` counts entries whose vector is no template of their gallery: they are passed by, so
    that one bad entry does not stop the log.
    """

    def __init__(self) -> None:
        self._arenas: dict[Gallery, Arena] = {}
        self._applied: dict[int, LogId] = {}
        self._digests: dict[int, int] = {}
        self.refused = 0

    @property
    def applied(self) -> dict[int, LogId]:
        """How far each partition that is held has been followed; the caller's own copy."""
        return dict(self._applied)

    @property
    def live(self) -> int:
        """Faces that a search can find, over all galleries."""
        return sum(arena.live for arena in tuple(self._arenas.values()))

    @property
    def by_kind(self) -> dict[str, int]:
        """The same of each kind of gallery."""
        found: dict[str, int] = {}
        for gallery, arena in tuple(self._arenas.items()):
            found[gallery.kind] = found.get(gallery.kind, 0) + arena.live
        return found

    @property
    def dead(self) -> int:
        """Rows of faces that went, until they are swept out."""
        return sum(arena.rows - arena.live for arena in tuple(self._arenas.values()))

    @property
    def size_bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(arena.size_bytes for arena in tuple(self._arenas.values()))

    @property
    def galleries(self) -> int:
        """Galleries with at least one face."""
        return len(self._arenas)

    def digest(self, partition: int) -> int:
        """The sum over the partition's live faces of 64 bits of each id's BLAKE2b, modulo 2**64.

        Two shards at one place of a log agree on it, in whatever order they came there.
        """
        return self._digests.get(partition, 0)

    def size_of(self, gallery: Gallery, partitions: frozenset[int] | None = None) -> int:
        """Faces of a gallery that a search of these partitions can find; of all if None."""
        arena = self._arenas.get(gallery)
        return 0 if arena is None else arena.size_of(partitions)

    def hold(self, partition: int) -> None:
        """Begin to follow a partition, at START. One that is held already stays as it is."""
        self._applied.setdefault(partition, START)

    def release(self, partition: int) -> None:
        """Forget a partition, with all its faces."""
        if self._applied.pop(partition, None) is None:
            return
        for gallery, arena in tuple(self._arenas.items()):
            arena.drop(partition)
            self._sweep(gallery, arena)
        self._digests.pop(partition, None)

    def apply(self, partition: int, upto: LogId, entries: Sequence[Entry]) -> None:
        """Take in what the log of a partition says, up to and with `upto`.

        Entries are in the order of the log, and an owner's faces all come by one partition. What
        was applied before is passed by, and so is everything of a partition that is not held.
        """
        applied = self._applied.get(partition)
        if applied is None:
            return
        for entry in entries:
            if entry.log_id <= applied:
                continue
            if isinstance(entry, Enrolled):
                self._enrol(partition, entry)
            elif isinstance(entry, Erased):
                self._erase(partition, entry.owner)
            else:
                assert_never(entry)
            applied = self._applied[partition] = entry.log_id
        self._applied[partition] = max(applied, upto)

    def search(  # noqa: PLR0913, PLR0917 (a gallery, and the columns of a batch)
        self,
        gallery: Gallery,
        probes: Vectors,
        floors: Sequence[float],
        limits: Sequence[int],
        excludes: Sequence[str],
        partitions: frozenset[int] | None = None,
    ) -> list[list[Hit]]:
        """`Arena.search` of one gallery: nothing where it has no face. Raises VectorError."""
        arena = self._arenas.get(gallery)
        if arena is None:
            return [[] for _ in probes]
        return arena.search(probes, floors, limits, excludes, partitions)

    def _enrol(self, partition: int, entry: Enrolled) -> None:
        arena = self._arenas.get(entry.gallery) or Arena(entry.vector.shape[-1])
        before = arena.digest(partition)
        try:
            arena.add(entry.face, entry.owner, partition, entry.vector)
        except VectorError:
            self.refused += 1
            return
        self._arenas[entry.gallery] = arena
        self._note(partition, arena.digest(partition) - before)

    def _erase(self, partition: int, owner: str) -> None:
        for gallery, arena in tuple(self._arenas.items()):
            before = arena.digest(partition)
            if arena.erase(owner):
                self._note(partition, arena.digest(partition) - before)
                self._sweep(gallery, arena)

    def _note(self, partition: int, difference: int) -> None:
        self._digests[partition] = (self._digests.get(partition, 0) + difference) % 2**64

    def _sweep(self, gallery: Gallery, arena: Arena) -> None:
        if not arena.live:
            self._arenas.pop(gallery, None)
