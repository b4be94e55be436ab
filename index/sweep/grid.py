"""Which tiles a sweep is made of: every pair of blocks once, and a block with itself."""

from collections.abc import Iterator
from typing import NamedTuple


class Tile(NamedTuple):
    """Two blocks by number. `row` <= `column`; where they are the same, each pair of its faces is
    looked at once.
    """

    row: int
    column: int

    @property
    def is_diagonal(self) -> bool:
        """Whether it is a block with itself."""
        return self.row == self.column


def all_pairs(blocks: int, first_new: int = 0) -> Iterator[Tile]:
    """The upper triangle, column by column. Of blocks before `first_new` no two meet: they met
    in an earlier sweep.
    """
    for column in range(first_new, blocks):
        for row in range(column + 1):
            yield Tile(row, column)


def across(blocks: int, first_other: int) -> Iterator[Tile]:
    """Every block before `first_other` with every one from there on, and none among themselves."""
    for column in range(first_other, blocks):
        for row in range(first_other):
            yield Tile(row, column)
