"""A run of rows that never moves: written once, published by its count, read while it grows."""

import numpy as np

from index.entry import Vector


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

    def __getitem__(self, row: int) -> str:
        return self._blob[int(self._ends[row]) : int(self._ends[row + 1])].decode()


class Chunk:
    """`capacity` rows of `dimension` numbers. One writer; readers see rows below `count`."""

    def __init__(self, capacity: int, dimension: int) -> None:
        self.capacity = capacity
        self.count = 0
        self.vectors = np.zeros((capacity, dimension), np.float32)
        self.partitions = np.zeros(capacity, np.int16)
        self.alive = np.zeros(capacity, np.bool_)
        self.faces = Texts(capacity)
        self.owners = Texts(capacity)

    @property
    def is_full(self) -> bool:
        """Whether the next row needs another chunk."""
        return self.count == self.capacity

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, rows that are still empty included."""
        columns = self.vectors.nbytes + self.partitions.nbytes + self.alive.nbytes
        return columns + self.faces.size_bytes + self.owners.size_bytes

    def append(self, face: str, owner: str, partition: int, vector: Vector) -> int:
        """Write a row, then publish it. Returns its place."""
        row = self.count
        self.vectors[row] = vector
        self.partitions[row] = partition
        self.faces.put(row, face)
        self.owners.put(row, owner)
        self.alive[row] = True
        self.count = row + 1
        return row

    def bury(self, row: int) -> None:
        """Take a row from every search that ends from now on, then wipe its vector."""
        self.alive[row] = False
        self.vectors[row] = 0
