"""Searches on their way to one shard: what is asked while a call is away goes with the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from serve.errors import Code, ServeError

SEARCHES_MAX = 64
"""Of one call. A call costs the engine 0.7 CPU-ms alone, and 0.05 for each of sixteen searches."""
CALLS_MAX = 2
"""On their way to one shard, but for those that take longer than `YOUNG_S`: they wait for the log,
and hold nobody back.
"""
YOUNG_S = 0.05

Call = Callable[[Sequence[bytes]], Awaitable[Sequence[bytes]]]
"""Carries searches to the shard, and an answer to each back."""

_Search = tuple[bytes, "asyncio.Future[bytes]"]


@dataclass(eq=False, slots=True)
class _Away:
    """A call on its way, young until it has been away for long."""

    searches: Sequence[_Search] = field(repr=False)
    is_young: bool = True


class Carrier:
    """One shard's. No timer holds a search back. All belongs to one event loop."""

    def __init__(self, call: Call, queue_max: int) -> None:
        """At most `queue_max` searches wait here."""
        self._call = call
        self._queue_max = queue_max
        self._waiting: deque[_Search] = deque()
        self._away: dict[asyncio.Task[None], _Away] = {}
        self._is_sending = False  # at the end of this pass of the event loop

    async def carry(self, packed: bytes) -> bytes:
        """The answer to a search. Raises `overloaded`, and what the call has raised."""
        if len(self._waiting) >= self._queue_max:
            detail = f"{len(self._waiting)} searches are waiting"
            raise ServeError(Code.OVERLOADED, detail, retry_after_s=1)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((packed, answered))
        if not self._is_sending:
            self._is_sending = True
            loop.call_soon(self._send)
        return await answered

    def _send(self) -> None:
        self._is_sending = False
        loop = asyncio.get_running_loop()
        while self._waiting and sum(away.is_young for away in self._away.values()) < CALLS_MAX:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), SEARCHES_MAX))]
            wanted = [search for search in taken if not search[1].done()]  # not given up yet
            if wanted:
                away = _Away(wanted)
                task = loop.create_task(self._go(away))
                self._away[task] = away
                task.add_done_callback(self._come_back)
                loop.call_later(YOUNG_S, self._age, away)

    async def _go(self, away: _Away) -> None:
        try:
            answers = await self._call([packed for packed, _ in away.searches])
            for (_, answered), answer in zip(away.searches, answers, strict=True):
                if not answered.done():
                    answered.set_result(answer)
        except Exception as error:  # noqa: BLE001 (it is theirs)
            for _, answered in away.searches:
                if not answered.done():
                    answered.set_exception(error)

    def _age(self, away: _Away) -> None:
        away.is_young = False
        self._send()

    def _come_back(self, task: "asyncio.Task[None]") -> None:
        del self._away[task]
        self._send()
