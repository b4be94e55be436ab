"""Who waits to be searched for, in one line for each gallery. Pure: it knows no clock or thread.

A thread that is free takes the whole line of the gallery whose turn it is: one scan answers all
of them. Galleries take turns, so that one with many probes keeps another waiting for one batch.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


class Lines(Generic[Key, T]):
    """Items, each in the line of its key; how many is the caller's to bound."""

    def __init__(self) -> None:
        self._lines: dict[Key, deque[T]] = {}  # in the order of their turns

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, key: Key, item: T) -> None:
        """Let `item` wait at the end of its line; a line that begins has its turn last."""
        self._lines.setdefault(key, deque()).append(item)

    def take(self, most: int, is_wanted: Callable[[T], bool]) -> tuple[Key, list[T]] | None:
        """The first `most` of the line whose turn it is; what is not wanted any more is dropped.

        None when nothing that is wanted waits.
        """
        while self._lines:
            key = next(iter(self._lines))
            line = self._lines.pop(key)
            taken: list[T] = []
            while line and len(taken) < most:
                item = line.popleft()
                if is_wanted(item):
                    taken.append(item)
            if line:
                self._lines[key] = line
            if taken:
                return key, taken
        return None
