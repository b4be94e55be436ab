"""Who is next: a bounded queue that is fair between tenants and urgent first, without a clock.

Pure: time is an argument. `room`, `dispatch` and the simulations in the tests all wait in it.

Fair is round by round: in each round every tenant that waits is served once, and whoever begins
to wait joins the next round. So idleness earns no credit, a tenant with one image waits for two
of each other tenant's at most, and nothing need be remembered of tenants that do not wait.
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

PACE_WEIGHT = 0.2  # of the newest batch in the running mean of seconds an image takes
RETRY_AFTER_S_MAX = 60
COMING_PART = 16  # of a queue's places that uploads may hold
STALE_MAX = 16  # entries an order keeps for nothing, beside as many as are of use

T = TypeVar("T")
Name = TypeVar("Name", int, str)


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
        self._items_max = items_max
        self._items: dict[int, Waiting[T]] = {}
        self._lines: dict[str, _Line] = {}
        self._round = 0
        self._turns = _Order[str]()  # tenants by round, then by their nearest deadline
        self._longest = _Order[str]()

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, tenant_id: str, ahead: int = 0) -> bool:
        """Whether an item of this tenant would stay if it were offered after `ahead` others, with
        a deadline no nearer than those of the tenant's others.
        """
        return len(self) + ahead < self._items_max or self._fullest(tenant_id) != tenant_id

    def ahead(self, tenant_id: str) -> int:
        """How many items would be taken before the next of this tenant's; see `ahead_of`."""
        own = len(self._lines.get(tenant_id, ()))
        others = (len(line) for name, line in self._lines.items() if name != tenant_id)
        return ahead_of(own, others)

    def offer(self, item: Waiting[T]) -> Waiting[T] | None:
        """Let `item` wait. Returns what had to go: None, or where the queue is full the item
        with the latest deadline of the tenant that has most in it, which may be `item` itself.

        `item` counts, and of tenants with equally many its own gives way: nothing is pushed out
        for a tenant that would then have as many as the one it came from had.
        """
        assert item.number not in self._items
        out = None
        if len(self) >= self._items_max:
            line = self._lines.get(self._fullest(item.tenant_id))
            out = self._items[line.latest.first()] if line else item
            if out.tenant_id == item.tenant_id:
                out = max(out, item, key=_urgency)
            if out is item:
                return item
            self._remove(out)
        self._items[item.number] = item
        line = self._lines.get(item.tenant_id)
        if line is None:
            line = self._lines[item.tenant_id] = _Line(self._round + 1)
        line.soonest.put(item.number, _urgency(item))
        line.latest.put(item.number, (-item.deadline_s, -item.number))
        self._place(item.tenant_id, line)
        return out

    def take(self, wanted: int, now_s: float, bytes_max: int | None = None) -> Taken[T]:
        """The next `wanted` items at most, and all expired ones met on the way; of several items
        no more than `bytes_max` bytes together.
        """
        batch: list[Waiting[T]] = []
        expired: list[Waiting[T]] = []
        size_bytes = 0
        while self._items and len(batch) < wanted:
            line = self._lines[self._turns.first()]
            item = self._items[line.soonest.first()]
            if item.deadline_s <= now_s:
                expired.append(item)
            else:
                size_bytes += item.size_bytes
                if batch and bytes_max is not None and size_bytes > bytes_max:
                    break
                batch.append(item)
                self._round = line.turn
                line.turn += 1
            self._remove(item)
        return Taken(tuple(batch), tuple(expired))

    def withdraw(self, number: int) -> Waiting[T] | None:
        """Take out one item that nobody waits for any more; None if it is not there."""
        item = self._items.get(number)
        if item is not None:
            self._remove(item)
        return item

    def _fullest(self, tenant_id: str) -> str:
        """The tenant with most items, one more of `tenant_id` counted, and that one of equals."""
        own = self._lines.get(tenant_id, ())
        longest = self._longest.first() if self._items else tenant_id
        return tenant_id if len(own) + 1 >= len(self._lines.get(longest, ())) else longest

    def _remove(self, item: Waiting[T]) -> None:
        del self._items[item.number]
        line = self._lines[item.tenant_id]
        line.soonest.remove(item.number)
        line.latest.remove(item.number)
        if len(line):
            self._place(item.tenant_id, line)
        else:
            del self._lines[item.tenant_id]
            self._turns.remove(item.tenant_id)
            self._longest.remove(item.tenant_id)

    def _place(self, tenant_id: str, line: "_Line") -> None:
        first = self._items[line.soonest.first()]
        self._turns.put(tenant_id, (line.turn, *_urgency(first)))
        self._longest.put(tenant_id, (-len(line),))


def ahead_of(own: int, others: Iterable[int]) -> int:
    """How many items go before a tenant's next, where `own` of its own wait and so many of each
    other's: all its own, and of each other's as many, with the one of the round that is begun.
    """
    return own + sum(min(number, own + 1) for number in others)


def expected(coming: int, items_max: int) -> int:
    """How many of the items that are `coming` are taken to be there already.

    Some of them, or those that were let in to the last places would find them taken; few, or
    slow uploads would fill a queue in which nothing waits.
    """
    return max(0, min(coming, items_max // COMING_PART))


def share(waiting: int, slots: int, batch_max: int) -> int:
    """How many of the waiting items a slot that is free takes: its part, at most `batch_max`.

    The part is of all slots, the busy ones among them: who is free next finds work as well.
    """
    return min(batch_max, -(-waiting // slots))


def retry_after_s(waiting: int, slots: int, image_s: float) -> int:
    """Whole seconds until `waiting` images are done, one taking a slot `image_s`; 1 to 60."""
    return max(1, min(RETRY_AFTER_S_MAX, math.ceil(waiting * image_s / slots)))


class Pace:
    """How long an image takes a slot, of late: a running mean over batches."""

    def __init__(self) -> None:
        self._image_s: float | None = None

    @property
    def image_s(self) -> float:
        """Wall seconds of one image in a batch; 0 before the first."""
        return self._image_s or 0.0

    def observe(self, images: int, wall_s: float) -> None:
        """A batch of `images` took `wall_s`."""
        newest_s = wall_s / images
        before_s = newest_s if self._image_s is None else self._image_s
        self._image_s = before_s + PACE_WEIGHT * (newest_s - before_s)


class _Order(Generic[Name]):
    """Names in the order of their keys. A heap; what was moved or removed stays in it until it
    comes up, or until it outnumbers the rest.
    """

    def __init__(self) -> None:
        self._keys: dict[Name, tuple[float, ...]] = {}
        self._heap: list[tuple[tuple[float, ...], Name]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def first(self) -> Name:
        """The name with the least key."""
        while self._keys.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][1]

    def put(self, name: Name, key: tuple[float, ...]) -> None:
        """Put a name in, or move it."""
        if self._keys.get(name) == key:
            return
        self._keys[name] = key
        if len(self._heap) < 2 * len(self) + STALE_MAX:
            heapq.heappush(self._heap, (key, name))
        else:
            self._heap = [(key, name) for name, key in self._keys.items()]
            heapq.heapify(self._heap)

    def remove(self, name: Name) -> None:
        """Take a name out."""
        del self._keys[name]


class _Line:
    """One tenant's items, by number, and the round in which it is served next."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.soonest = _Order[int]()
        self.latest = _Order[int]()

    def __len__(self) -> int:
        return len(self.soonest)


def _urgency(item: Waiting[T]) -> tuple[float, int]:
    return item.deadline_s, item.number
