"""Who is next: a bounded queue that is fair between tenants and urgent first, without a clock.

Pure: time is an argument. `room`, `dispatch` and the simulations in the tests all wait in it.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """One item. `number` is its own in this queue; `deadline_s` is on the caller's clock."""

    number: int
    tenant_id: str
    deadline_s: float
    payload: T = field(repr=False)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What left the queue: to be worked on, and too late for that."""

    batch: tuple[Waiting[T], ...]
    expired: tuple[Waiting[T], ...]


class FairQueue(Generic[T]):
    """At most `items_max` items. The tenant that was served least comes first, and of one
    tenant's items the one with the nearest deadline.
    """

    def __init__(self, items_max: int) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def has_room(self, tenant_id: str) -> bool:
        """Whether an item of this tenant would stay if it were offered now."""
        raise NotImplementedError

    def offer(self, item: Waiting[T]) -> Waiting[T] | None:
        """Let `item` wait. Returns what had to go: None, or where the queue is full the item
        with the latest deadline of the tenant that has most in it, which may be `item` itself.
        """
        raise NotImplementedError

    def take(self, wanted: int, now_s: float, bytes_max: int | None = None) -> Taken[T]:
        """The next `wanted` items at most, and all expired ones met on the way; of several items
        no more than `bytes_max` bytes together.
        """
        raise NotImplementedError

    def withdraw(self, number: int) -> Waiting[T] | None:
        """Take out one item that nobody waits for any more; None if it is not there."""
        raise NotImplementedError
