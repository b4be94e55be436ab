"""How far the log of each partition has been followed, and who waits for it to go further.

All of it belongs to the event loop. Nothing polls: whoever waits is woken by the entry they wait
for.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from index.entry import START, LogId
from serve.ports.search import Tails


@dataclass(eq=False, slots=True)
class _Waiter:
    """One search, and the partitions that have not come as far as it needs."""

    behind: set[int]
    come: "asyncio.Future[None]"

    def cross_off(self, partition: int) -> None:
        self.behind.discard(partition)
        if not self.behind and not self.come.done():
            self.come.set_result(None)


class Places:
    """Partitions and how far each was followed."""

    def __init__(self) -> None:
        self._reached: dict[int, LogId] = {}
        self._waiting: dict[int, dict[_Waiter, LogId]] = {}

    def __contains__(self, partition: int) -> bool:
        """Whether it is followed at all."""
        return partition in self._reached

    @property
    def reached(self) -> dict[int, LogId]:
        """How far each partition was followed: a copy."""
        return dict(self._reached)

    def advance(self, partition: int, place: LogId) -> None:
        """The log of `partition` was followed as far as `place`."""
        self._reached[partition] = place
        if waiting := self._waiting.get(partition):
            for waiter in [who for who, wanted in waiting.items() if wanted <= place]:
                del waiting[waiter]
                waiter.cross_off(partition)

    def forget(self, partition: int) -> None:
        """It is not followed any more; who waits for it waits on: it may come back in time."""
        self._reached.pop(partition, None)

    async def until(self, after: Tails, partitions: Collection[int], wait_s: float) -> set[int]:
        """Wait until every one of `partitions` has come as far as `after` says, `wait_s` seconds
        at most; those that have not.
        """
        wanted = {partition: after.get(partition, START) for partition in partitions}
        behind = {each for each, place in wanted.items() if not self._is_at(each, place)}
        if not behind:
            return behind
        waiter = _Waiter(behind, asyncio.get_running_loop().create_future())
        for partition in behind:
            self._waiting.setdefault(partition, {})[waiter] = wanted[partition]
        try:
            async with asyncio.timeout(wait_s):
                await waiter.come
        except TimeoutError:
            pass
        finally:
            for partition in waiter.behind:
                self._waiting[partition].pop(waiter, None)
        return waiter.behind

    def _is_at(self, partition: int, place: LogId) -> bool:
        reached = self._reached.get(partition)
        return reached is not None and reached >= place
