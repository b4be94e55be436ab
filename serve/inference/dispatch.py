"""From many callers to few calls: the images of all front doors go to the replicas in envelopes.

A call to a replica costs a millisecond or more whatever it carries, so only `width` envelopes
are on their way at once, and the next takes what has gathered meanwhile. No timer holds an image
back. All state belongs to the event loop, and every image gets exactly one answer: what a
replica said, byte for byte, or a lapse.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from types import TracebackType
from typing import Self

from serve.inference.batching import FairQueue, Pace, Waiting, retry_after_s
from serve.inference.parcels import Lapse, Parcel, Report, pack
from serve.observe import logs, metrics

ENVELOPE_ITEMS_MAX = 16
ENVELOPE_BYTES_MAX = 8 * 2**20

Call = Callable[[Sequence[Parcel]], Awaitable[tuple[Sequence[bytes], Report]]]
"""Carries an envelope to a replica and its packed answers back. Raises ReplicaLostError."""


class ReplicaLostError(Exception):
    """The replica died before it answered; another one may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `queue_max` images wait, and `width` envelopes are on their way.

    An image whose replica was lost is sent `attempts_max` times in all. What breaks a replica
    takes its neighbours along, so the last time it travels alone.
    """

    queue_max: int
    width: int
    envelope_items_max: int = ENVELOPE_ITEMS_MAX
    envelope_bytes_max: int = ENVELOPE_BYTES_MAX
    attempts_max: int = 3


_Homecoming = asyncio.Task[tuple[Sequence[bytes], Report]]


@dataclass(slots=True)
class _Image:
    """An image on its way: whoever waits for it waits on `answer`.

    `is_suspect`: an envelope with it failed, so it travels alone from now on.
    """

    parcel: Parcel
    answer: "asyncio.Future[bytes]"
    sent: int = 0
    is_suspect: bool = False
    call: _Homecoming | None = field(default=None, repr=False)


_Item = Waiting[_Image]


class Dispatcher:
    """One queue before all replicas; lives as long as its `async with`."""

    def __init__(self, call: Call, limits: Limits) -> None:
        self._call = call
        self._limits = limits
        self._width = limits.width
        self._numbers = count()
        self._queue: FairQueue[_Image] = FairQueue(limits.queue_max)
        self._suspects: dict[int, _Item] = {}  # at most what failed envelopes held, so bounded
        self._on_their_way: dict[_Homecoming, list[_Item]] = {}
        self._is_sending = False  # at the end of this pass of the event loop
        self._pace = Pace()
        self._full_since_s: float | None = None  # when the last envelope that may go went
        self._answered = 0  # images that came home since the last pass
        self._is_open = False

    @property
    def waiting(self) -> int:
        """Images that are in no envelope yet."""
        return len(self._queue) + len(self._suspects)

    @property
    def rate_per_s(self) -> float:
        """Images answered per second of late, while envelopes had to wait; 0 if none ever did."""
        return 1 / self._pace.image_s if self._pace.image_s else 0.0

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until what waits now is answered, at this rate."""
        return retry_after_s(self.waiting, 1, self._pace.image_s)

    @property
    def width(self) -> int:
        """How many envelopes may be on their way; follows the number of replicas."""
        return self._width

    @width.setter
    def width(self, width: int) -> None:
        """More are sent at once; fewer are on their way as they come home."""
        self._width = width
        self._wake()

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what waits, and await what is on its way: its deadline at the longest."""
        self._is_open = False
        for item in (*self._suspects.values(), *self._queue.take(self.waiting, -math.inf).batch):
            self._settle(item, Lapse.LOST)
        try:
            while self._on_their_way:
                await asyncio.wait(self._on_their_way)
        finally:
            for call in self._on_their_way:
                call.cancel()

    async def examine(self, parcel: Parcel) -> bytes:
        """The packed answer, a lapse among them: it never raises for what befalls an image.

        A caller that is cancelled takes its image along.
        """
        if not self._is_open or parcel.remaining_s <= 0:
            return _counted(Lapse.EXPIRED if self._is_open else Lapse.LOST)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + parcel.remaining_s
        image = _Image(parcel, loop.create_future())
        size_bytes = len(parcel.image)
        item = Waiting(next(self._numbers), parcel.tenant_id, deadline_s, image, size_bytes)
        timer = loop.call_at(deadline_s, self._settle, item, Lapse.EXPIRED)
        self._put(item)
        try:
            return await image.answer
        except asyncio.CancelledError:
            metrics.count_lapse(Lapse.CANCELED)
            raise
        finally:
            timer.cancel()
            self._leave(item)

    def _put(self, item: _Item) -> None:
        pushed_out = self._queue.offer(item)
        if pushed_out is not None:
            self._settle(pushed_out, Lapse.OVERLOADED)
        self._wake()

    def _settle(self, item: _Item, answer: bytes | Lapse) -> None:
        future = item.payload.answer
        if not future.done():
            future.set_result(_counted(answer) if isinstance(answer, Lapse) else answer)

    def _leave(self, item: _Item) -> None:
        """Nobody waits for this image any more; a call that nobody waits for is called off."""
        self._queue.withdraw(item.number)
        self._suspects.pop(item.number, None)
        metrics.set_queue(self.waiting)
        call = item.payload.call
        if call is not None and not call.done() and not _open(self._on_their_way[call]):
            call.cancel()

    def _wake(self) -> None:
        """Send when this pass of the event loop is over: who arrives in it travels together."""
        if not self._is_sending:
            self._is_sending = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._is_sending = False
        now_s = asyncio.get_running_loop().time()
        if self._answered and self._full_since_s is not None:
            self._pace.observe(self._answered, now_s - self._full_since_s)
            self._full_since_s = now_s
        self._answered = 0
        while len(self._on_their_way) < self._width and (items := self._gather(now_s)):
            again = sum(1 for item in items if item.payload.sent)
            metrics.observe_envelope(len(items), again)
            call = asyncio.create_task(self._carry(items, now_s))
            self._on_their_way[call] = items
            for item in items:
                item.payload.sent += 1
                item.payload.call = call
            call.add_done_callback(self._receive)
        if len(self._on_their_way) < self._width:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = now_s
        metrics.set_queue(self.waiting)

    def _gather(self, now_s: float) -> list[_Item]:
        """The next envelope: a suspect alone, or what waits; empty when nobody does.

        What has expired is left out; its timer answers it.
        """
        items_max, bytes_max = self._limits.envelope_items_max, self._limits.envelope_bytes_max
        while self.waiting:
            if self._suspects:
                batch: Sequence[_Item] = (self._suspects.pop(next(iter(self._suspects))),)
            else:
                batch = self._queue.take(items_max, now_s, bytes_max).batch
            if items := _open(batch):
                return items
        return []

    async def _carry(self, items: Sequence[_Item], now_s: float) -> tuple[Sequence[bytes], Report]:
        parcels = [
            replace(item.payload.parcel, remaining_s=item.deadline_s - now_s) for item in items
        ]
        answers, report = await self._call(parcels)
        if len(answers) != len(parcels):
            raise ValueError(f"{len(answers)} answers to {len(parcels)} images")
        return answers, report

    def _receive(self, call: _Homecoming) -> None:
        items = self._on_their_way.pop(call)
        self._wake()
        if call.cancelled():
            self._try_again(_open(items), None)
            return
        error = call.exception()
        if error is not None:
            self._try_again(_open(items), error)
            return
        answers, report = call.result()
        metrics.observe_batches(report.batches, report.cpu_s)
        for item, answer in zip(items, answers, strict=True):
            self._settle(item, answer)
        self._answered += len(items)

    def _try_again(self, items: Sequence[_Item], error: BaseException | None) -> None:
        """Images of a failed call. One of them may be why, so each goes on alone: at once where
        the replica lived, for the last attempt where it died.
        """
        is_lost = isinstance(error, ReplicaLostError)
        if is_lost:
            logs.write("a replica was lost", level=logging.WARNING, count=len(items))
        elif error is not None:
            logs.write_error("an envelope was not answered", error, count=len(items))
        for item in items:
            image = item.payload
            is_last = image.sent >= self._limits.attempts_max if is_lost else image.is_suspect
            if is_last or not self._is_open:
                self._settle(item, Lapse.LOST)
                continue
            image.is_suspect |= not is_lost or image.sent + 1 >= self._limits.attempts_max
            if image.is_suspect:
                self._suspects[item.number] = item
            else:
                self._put(item)


def _open(items: Sequence[_Item]) -> list[_Item]:
    """Those that somebody still waits for."""
    return [item for item in items if not item.payload.answer.done()]


def _counted(lapse: Lapse) -> bytes:
    metrics.count_lapse(lapse)
    return pack(lapse)
