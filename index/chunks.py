"""A run of rows that never moves: written once, published by its count, read while it grows."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index import scan
from index.codes import Codes
from index.entry import Vector, Vectors

ROWS_MIN = 1_024
ROWS_MAX = 65_536

Rows = NDArray[np.intp]


class Texts:
    """Short texts, one a row, end to end in one buffer."""

    def __init__(self, capacity: int) -> None:
        self._ends = np.zeros(capacity + 1, np.uint32)
        self._blob = bytearray()

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return self._ends.nbytes + len(self._blob)

    def put(self, row: int, text: str) -> None:
        """Write `row`; rows come in order."""
        self._blob += text.encode()
        self._ends[row + 1] = len(self._blob)

    def put_all(self, row: int, blob: bytes, lengths: NDArray[np.int64]) -> None:
        """Write rows from `row` on, whose texts stand end to end in `blob`."""
        self._ends[row + 1 : row + 1 + len(lengths)] = len(self._blob) + np.cumsum(lengths)
        self._blob += blob

    def gathered(self, rows: Rows) -> tuple[bytes, NDArray[np.int64]]:
        """The texts of some rows end to end, and how long each is."""
        begins = self._ends[rows].astype(np.int64)
        lengths = self._ends[rows + 1] - begins
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1]) + np.repeat(begins - (ends - lengths), lengths)
        return np.frombuffer(bytes(self._blob), np.uint8)[places].tobytes(), lengths

    def __getitem__(self, row: int) -> str:
        return self._blob[int(self._ends[row]) : int(self._ends[row + 1])].decode()


class Chunk:
    """`capacity` rows of `dimension` numbers. One writer; readers see rows below `count`.

    `base` is the number of its first row in the arena.
    """

    def __init__(self, base: int, capacity: int, dimension: int) -> None:
        self.base = base
        self.capacity = capacity
        self.count = 0
        self.vectors = aligned(capacity, dimension)
        self.partitions = np.zeros(capacity, np.int16)
        self.alive = np.zeros(capacity, np.bool_)
        self.faces = Texts(capacity)
        self.owners = Texts(capacity)
        self.codes: Codes | None = None

    @property
    def room(self) -> int:
        """How many rows are still free."""
        return self.capacity - self.count

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, rows that are still free included."""
        columns = self.vectors.nbytes + self.partitions.nbytes + self.alive.nbytes
        if self.codes is not None:
            columns += self.codes.size_bytes
        return columns + self.faces.size_bytes + self.owners.size_bytes

    def append(self, face: str, owner: str, partition: int, vector: Vector) -> int:
        """Write a row, then publish it. Returns its number in the arena."""
        row = self.count
        self.vectors[row] = vector
        self.partitions[row] = partition
        self.faces.put(row, face)
        self.owners.put(row, owner)
        self.alive[row] = True
        self.count = row + 1
        return self.base + row

    def take(self, chunk: "Chunk", rows: Rows) -> None:
        """Write and publish rows of another chunk; there is room for them."""
        start, stop = self.count, self.count + len(rows)
        self.vectors[start:stop] = chunk.vectors[rows]
        self.partitions[start:stop] = chunk.partitions[rows]
        self.faces.put_all(start, *chunk.faces.gathered(rows))
        self.owners.put_all(start, *chunk.owners.gathered(rows))
        self.alive[start:stop] = True
        self.count = stop

    def seal(self) -> None:
        """Note that nothing will be added: a chunk of full size is given codes."""
        if self.capacity >= ROWS_MAX:
            self.codes = Codes(self.vectors, scan.margin(self.vectors.shape[1]))

    def rows_of(self, partition: int) -> Rows:
        """The live rows of a partition."""
        live = self.alive[: self.count] & (self.partitions[: self.count] == partition)
        return np.flatnonzero(live)

    def bury(self, rows: Rows) -> None:
        """Take rows from every search that ends from now on, then wipe their vectors."""
        self.alive[rows] = False
        self.vectors[rows] = 0
        if self.codes is not None:
            self.codes.wipe(rows)


def aligned(rows: int, dimension: int) -> Vectors:
    """Zeros, (rows, dimension), from a boundary of 64 bytes on: scans are a tenth faster."""
    spare = 64 // np.dtype(np.float32).itemsize
    buffer = np.zeros(rows * dimension + spare, np.float32)
    start = -buffer.ctypes.data % 64 // buffer.itemsize
    return buffer[start : start + rows * dimension].reshape(rows, dimension)


def grown(chunks: tuple[Chunk, ...], dimension: int) -> tuple[Chunk, ...]:
    """With one more chunk, twice as large as the last, within bounds."""
    if not chunks:
        return (Chunk(0, ROWS_MIN, dimension),)
    last = chunks[-1]
    capacity = min(2 * last.capacity, ROWS_MAX)
    return (*chunks, Chunk(last.base + last.capacity, capacity, dimension))


def located(chunks: Sequence[Chunk], number: int) -> tuple[Chunk, int]:
    """The chunk that holds row `number` of the arena, and its place there."""
    place = bisect_right(chunks, number, key=lambda chunk: chunk.base) - 1
    return chunks[place], number - chunks[place].base
