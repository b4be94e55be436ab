"""One gallery of one model: templates that are searched exactly, while they come and go.

One thread writes; any number of threads search. What a search returns is what float64
arithmetic over all faces would have found at some instant between its start and its end.

Rows stand in chunks that never move. A new row is written before its chunk's count takes it in.
A row that goes is marked dead, then wiped, and its place is never used again. A search takes
the chunks and their counts, scans them, and looks last at who is alive. If nobody went between
these two looks, what it found holds for the first. If somebody did (`_erasures` has moved), it
takes the counts again, scans what came since, and looks again. After some tries it holds off
the next erasure for the short time that a look takes. A search that began before a compaction
goes on with the old chunks, unless somebody goes meanwhile: then it takes the new ones.
"""

import threading
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from index import vector
from index.chunks import Chunk, Rows, grown, located
from index.entry import Hit, Vector, Vectors
from index.owners import Owners
from index.search import Captured, Query, Search

DEAD_ROWS_MIN = 1_024
DEAD_SHARE_MAX = 0.25
TRIES_MAX = 8


def fingerprint(face: str) -> int:
    """A face's share of the digest of its partition: 64 bits of its id's BLAKE2b."""
    return int.from_bytes(blake2b(face.encode(), digest_size=8).digest())


class Arena:
    """Templates of `dimension` numbers."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._chunks: tuple[Chunk, ...] = ()
        self._owners = Owners()
        self._sizes: dict[int, int] = {}
        self._digests: dict[int, int] = {}
        self._live = 0
        self._erasures = 0  # odd while rows are going
        self._erasing = threading.Lock()

    @property
    def rows(self) -> int:
        """Rows in use, dead ones included."""
        return sum(chunk.count for chunk in self._chunks)

    @property
    def live(self) -> int:
        """Faces that a search can find."""
        return self._live

    @property
    def size_bytes(self) -> int:
        """Bytes of all buffers, rows that are still free included."""
        return self._owners.size_bytes + sum(chunk.size_bytes for chunk in self._chunks)

    def size_of(self, partitions: frozenset[int] | None = None) -> int:
        """Faces that a search of these partitions can find; of all where none are named."""
        if partitions is None:
            return self._live
        return sum(self._sizes.get(partition, 0) for partition in partitions)

    def digest(self, partition: int) -> int:
        """The sum of the fingerprints of the partition's live faces, modulo 2**64."""
        return self._digests.get(partition, 0)

    def add(self, face: str, owner: str, partition: int, template: Vector) -> bool:
        """Take in a face. False: its owner has it already. Raises VectorError."""
        template = vector.checked(template, self.dimension)
        if any(chunk.faces[row] == face for chunk, row in self._rows_of(owner)):
            return False
        if not self._chunks or not self._chunks[-1].room:
            self._chunks = grown(self._chunks, self.dimension)
        chunk = self._chunks[-1]
        self._owners.add(owner, chunk.append(face, owner, partition, template))
        if not chunk.room:
            chunk.seal()
        self._count(face, partition, 1)
        return True

    def erase(self, owner: str) -> int:
        """Let an owner go with all their faces. Returns how many went."""
        return self._bury([(chunk, np.array([row])) for chunk, row in self._rows_of(owner)])

    def drop(self, partition: int) -> int:
        """Let all faces of a partition go. Returns how many went."""
        chunks = self._chunks
        return self._bury([(chunk, chunk.rows_of(partition)) for chunk in chunks])

    def search(
        self,
        probes: Vectors,
        floors: Sequence[float],
        limits: Sequence[int],
        excludes: Sequence[str],
        partitions: frozenset[int] | None = None,
    ) -> list[list[Hit]]:
        """For each probe the owners with a face that scores its floor or more: the `limit` best,
        each once, by their best face, best first, ties by owner; without the excluded owner, and
        of the named partitions only.

        Safe in any thread. Exact: scores are true to float64, and nobody is missed. All answers
        of a batch hold for instants between its start and its end. Raises VectorError.
        """
        probes = vector.checked_rows(probes, self.dimension)
        if not len(probes) == len(floors) == len(limits) == len(excludes):
            raise ValueError("a floor, a limit and an exclusion for each probe")
        search = Search(Query(probes, floors, limits, excludes, partitions))
        hits: list[list[Hit]] = []
        for _ in range(TRIES_MAX):
            erasures, captured = self._captured()
            search.scan(captured)
            while len(hits) < len(probes):
                found = search.hits(len(hits))
                if self._erasures != erasures:
                    break
                hits.append(found)
            else:
                return hits
        with self._erasing:
            search.scan(self._counts())
            return hits + [search.hits(number) for number in range(len(hits), len(probes))]

    def _captured(self) -> tuple[int, Captured]:
        """What there is to search, and how often anybody had gone by then."""
        erasures = self._erasures
        if erasures % 2 == 0:
            return erasures, self._counts()
        with self._erasing:
            return self._erasures, self._counts()

    def _counts(self) -> Captured:
        return tuple((chunk, chunk.count) for chunk in self._chunks)

    def _rows_of(self, owner: str) -> list[tuple[Chunk, int]]:
        """The live rows of an owner. For the writer."""
        rows = []
        for number in self._owners.rows(owner):
            chunk, row = located(self._chunks, number)
            if chunk.alive[row] and chunk.owners[row] == owner:
                rows.append((chunk, row))
        return rows

    def _bury(self, going: list[tuple[Chunk, Rows]]) -> int:
        count = sum(len(rows) for _, rows in going)
        if not count:
            return 0
        with self._erasing:
            self._erasures += 1
            for chunk, rows in going:
                chunk.bury(rows)
            self._erasures += 1
        for chunk, rows in going:
            for row in rows.tolist():
                self._count(chunk.faces[row], int(chunk.partitions[row]), -1)
        if self.rows - self._live > max(DEAD_ROWS_MIN, DEAD_SHARE_MAX * self.rows):
            self._compact()
        return count

    def _compact(self) -> None:
        """Write who is alive anew, aside, and put them in the place of what there was."""
        fresh: tuple[Chunk, ...] = ()
        numbers = []
        for old in self._chunks:
            rows = np.flatnonzero(old.alive[: old.count])
            places = np.full(old.capacity, -1, np.int64)
            while len(rows):
                if not fresh or not fresh[-1].room:
                    fresh = grown(fresh, self.dimension)
                last = fresh[-1]
                taken, rows = rows[: last.room], rows[last.room :]
                places[taken] = last.base + last.count + np.arange(len(taken))
                last.take(old, taken)
                if not last.room:
                    last.seal()
            numbers.append(places)
        self._owners.renumber(np.concatenate(numbers))
        self._chunks = fresh

    def _count(self, face: str, partition: int, faces: int) -> None:
        digest = self._digests.get(partition, 0) + faces * fingerprint(face)
        self._digests[partition] = digest % 2**64
        self._sizes[partition] = self._sizes.get(partition, 0) + faces
        self._live += faces
