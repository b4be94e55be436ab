"""One gallery of one model: templates that are searched exactly, while they come and go.

One thread writes; any number of threads search. What a search returns is what float64
arithmetic over all faces would have found at some instant between its start and its end.

Rows stand in chunks that never move. A new row is written before the chunk's count takes it in;
a row that goes is marked dead before its vector is wiped, and its place is not used again. A
search takes the chunks and their counts, scans, and looks at the marks last. Did anything go
meanwhile (`_changes` moved), then it scans the rows that came since and looks again: what it
returns holds for the instant at which it took the counts for the last time.
"""

import math
import threading
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from index import scan, vector
from index.chunk import Chunk
from index.entry import Hit, Vector, Vectors

CHUNK_ROWS_MIN = 1_024
CHUNK_ROWS_MAX = 65_536
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
        self._rows_of: dict[str, list[tuple[Chunk, int]]] = {}
        self._digests: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._live = 0
        self._changes = 0  # odd while rows are going
        self._writing = threading.Lock()

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
        """Bytes of all buffers, rows that are still empty included."""
        return sum(chunk.size_bytes for chunk in self._chunks)

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
        rows = self._rows_of.get(owner, [])
        if any(chunk.faces[row] == face for chunk, row in rows):
            return False
        if not self._chunks or self._chunks[-1].is_full:
            last = self._chunks[-1].capacity if self._chunks else CHUNK_ROWS_MIN // 2
            chunk = Chunk(min(2 * last, CHUNK_ROWS_MAX), self.dimension)
            self._chunks = (*self._chunks, chunk)
        chunk = self._chunks[-1]
        row = chunk.append(face, owner, partition, template)
        self._rows_of.setdefault(owner, []).append((chunk, row))
        self._count(face, partition, 1)
        return True

    def erase(self, owner: str) -> int:
        """Let an owner go with all their faces. Returns how many went."""
        return self._bury(self._rows_of.pop(owner, []))

    def drop(self, partition: int) -> int:
        """Let all faces of a partition go. Returns how many went."""
        going = []
        for owner, rows in list(self._rows_of.items()):
            if rows[0][0].partitions[rows[0][1]] == partition:
                going += self._rows_of.pop(owner)
        return self._bury(going)

    def search(
        self,
        probes: Vectors,
        floors: Sequence[float],
        limits: Sequence[int],
        excludes: Sequence[str],
        partitions: frozenset[int] | None = None,
    ) -> list[list[Hit]]:
        """For each probe the owners with a face that scores `floor` or more: the `limit` best,
        each once, by their best face, best first, ties by owner; without the owner excluded.

        Safe in any thread. Exact: scores are float64, and nobody is missed. Raises VectorError.
        """
        probes = vector.checked_rows(probes, self.dimension)
        asked = list(zip(probes, floors, limits, excludes, strict=True))
        return [self._search_one(*one, partitions) for one in asked]

    def _search_one(
        self,
        probe: Vector,
        floor: float,
        limit: int,
        exclude: str,
        partitions: frozenset[int] | None,
    ) -> list[Hit]:
        for attempt in range(TRIES_MAX + 1):
            if attempt == TRIES_MAX:
                with self._writing:
                    return self._scan(probe, floor, limit, exclude, partitions)
            changes = self._changes
            hits = self._scan(probe, floor, limit, exclude, partitions)
            if changes % 2 == 0 and changes == self._changes:
                return hits
        raise AssertionError

    def _scan(
        self,
        probe: Vector,
        floor: float,
        limit: int,
        exclude: str,
        partitions: frozenset[int] | None,
    ) -> list[Hit]:
        best: dict[str, Hit] = {}
        captured = [(chunk, chunk.count) for chunk in self._chunks]
        margin = scan.margin(self.dimension)
        for chunk, count in captured:
            scores = scan.scores(probe, chunk.vectors[:count])
            for row in np.flatnonzero(scores >= np.float32(floor - 2 * margin)).tolist():
                partition = int(chunk.partitions[row])
                owner = chunk.owners[row]
                taken = partitions is None or partition in partitions
                if not chunk.alive[row] or owner == exclude or not taken:
                    continue
                wide = chunk.vectors[row].astype(np.float64) * probe.astype(np.float64)
                score = math.fsum(wide.tolist())
                hit = Hit(chunk.faces[row], owner, partition, score)
                had = best.get(owner)
                if score >= floor and (had is None or (-score, hit.face) < (-had.score, had.face)):
                    best[owner] = hit
        ranked = sorted(best.values(), key=lambda hit: (-hit.score, hit.owner))
        return ranked[: max(limit, 0)]

    def _bury(self, rows: list[tuple[Chunk, int]]) -> int:
        if not rows:
            return 0
        with self._writing:
            self._changes += 1
            for chunk, row in rows:
                chunk.bury(row)
                self._count(chunk.faces[row], int(chunk.partitions[row]), -1)
            self._changes += 1
        if self.rows - self._live > max(DEAD_ROWS_MIN, DEAD_SHARE_MAX * self.rows):
            self._compact()
        return len(rows)

    def _compact(self) -> None:
        """Write what is alive anew, aside, and put it in the place of what there was."""
        fresh: list[Chunk] = []
        rows_of: dict[str, list[tuple[Chunk, int]]] = {}
        for old in self._chunks:
            for row in np.flatnonzero(old.alive[: old.count]).tolist():
                if not fresh or fresh[-1].is_full:
                    last = fresh[-1].capacity if fresh else CHUNK_ROWS_MIN // 2
                    fresh.append(Chunk(min(2 * last, CHUNK_ROWS_MAX), self.dimension))
                owner = old.owners[row]
                place = fresh[-1].append(
                    old.faces[row], owner, int(old.partitions[row]), old.vectors[row]
                )
                rows_of.setdefault(owner, []).append((fresh[-1], place))
        self._chunks = tuple(fresh)
        self._rows_of = rows_of

    def _count(self, face: str, partition: int, faces: int) -> None:
        digest = self._digests.get(partition, 0) + faces * fingerprint(face)
        self._digests[partition] = digest % 2**64
        self._sizes[partition] = self._sizes.get(partition, 0) + faces
        self._live += faces
