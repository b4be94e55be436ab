"""Where images meet the models: slots that take what waits when they are free, and only then.

A batch closed by a timer while the device is busy stays as small as the timer made it; one that
is formed when a slot is free is as large as what has gathered, and no image ever waits for a
timer. Images are dropped at three points: when they arrive too late, when a batch is formed,
and when it comes back after their deadline. All state belongs to the event loop; threads see
only what they were given.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Protocol, Self

from pipeline.errors import Code as PipelineCode
from pipeline.errors import Failure
from pipeline.face.steps import Plan
from serve.inference.batching import FairQueue, Pace, Waiting, expected, share
from serve.inference.parcels import Answer, Lapse, Outcome, Parcel, Report
from serve.observe import logs
from serve.turns import Turns

BATCH_MAX = 16
DEVICE_FAILURES_MAX = 3  # batches in a row of which nothing came back: the device is gone


class Runner(Protocol):
    """The pipeline in two halves, each a list to a list of the same length and order."""

    def prepare(self, images: Sequence[bytes], /) -> list[Any]:
        """Host work: each image decoded, or why it cannot be."""
        ...

    def complete(self, prepared: Sequence[Any], plans: Sequence[Plan], /) -> list[Outcome]:
        """Device work: what `prepare` made, turned into evidence or failure by the plan of each."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Threads and bounds. `decoders` threads decode ahead of the `slots`, a batch for each at
    most; with none of them a slot decodes its own batch, which is best where slots are cores.
    """

    slots: int
    queue_max: int
    batch_max: int = BATCH_MAX
    decoders: int = 0


@dataclass(slots=True)
class _Work:
    """One image: whoever waits for it waits on `answer`."""

    image: bytes = field(repr=False)
    plan: Plan
    answer: "asyncio.Future[Answer]"
    prepared: Any = field(default=None, repr=False)

    def settle(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


_Item = Waiting[_Work]


@dataclass(frozen=True, slots=True)
class _Done:
    """What a slot brings back, an answer for each item, and what it cost its thread."""

    answers: list[Answer]
    cpu_s: float
    wall_s: float


class Room:
    """A pipeline with a queue before it; lives as long as its `async with`."""

    def __init__(self, runner: Runner, layout: Layout) -> None:
        self._runner = runner
        self._layout = layout
        self._numbers = count()
        self._arrived: FairQueue[_Work] = FairQueue(layout.queue_max)
        self._decoded: FairQueue[_Work] = FairQueue(max(1, layout.slots * layout.batch_max))
        self._decoding = 0
        self._busy: set[asyncio.Future[Any]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._pace = Pace()
        self._batches: list[int] = []
        self._cpu_s = 0.0
        self._failed_in_a_row = 0
        self._is_dispatching = False
        self._answers = Turns()

    @property
    def waiting(self) -> int:
        """Images that no slot has taken yet."""
        return len(self._arrived) + len(self._decoded) + self._decoding

    @property
    def image_s(self) -> float:
        """Wall seconds that an image takes one slot, of late; 0 before the first."""
        return self._pace.image_s

    @property
    def slots(self) -> int:
        """How many batches run at once."""
        return self._layout.slots

    @property
    def is_healthy(self) -> bool:
        """False when batch after batch fails whole on the device: a new process may mend it."""
        return self._failed_in_a_row < DEVICE_FAILURES_MAX

    def has_room(self, tenant_id: str, coming: int = 0) -> bool:
        """Whether an image of this tenant would be taken in, were it there; `coming` others are
        on their way.
        """
        ahead = expected(coming, self._layout.queue_max)
        return self._is_open and self._arrived.has_room(tenant_id, ahead)

    def wait_s(self, tenant_id: str) -> float:
        """Seconds that an image of this tenant would wait; 0 before the first batch."""
        taken_up = len(self._decoded) + self._decoding
        return (self._arrived.ahead(tenant_id) + taken_up) * self.image_s / self.slots

    def report(self) -> Report:
        """What was done since the last report."""
        done, self._batches = tuple(self._batches), []
        cpu_s, self._cpu_s = self._cpu_s, 0.0
        return Report(done, cpu_s, self.waiting, self.image_s, self.slots)

    async def __aenter__(self) -> Self:
        threads = self._layout.slots + self._layout.decoders
        self._threads = ThreadPoolExecutor(threads, "limen-faces")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take nothing more and finish what was taken in: no item waits beyond its deadline."""
        threads = self._threads
        assert threads is not None
        self._layout = Layout(self.slots, 0, self._layout.batch_max, self._layout.decoders)
        self._dispatch()  # who came in this very moment
        try:
            while self._busy:  # what ends starts the next
                await asyncio.wait(self._busy)
        finally:
            self._answers.hurry()
            self._threads = None
            threads.shutdown(wait=not self._busy)

    async def examine(self, parcel: Parcel) -> Answer:
        """Evidence, failure, or why it was not looked at. A caller that is cancelled takes its
        image along.
        """
        if not self._is_open:
            return Lapse.LOST
        if parcel.remaining_s <= 0:
            return Lapse.EXPIRED
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + parcel.remaining_s
        work = _Work(parcel.image, parcel.plan, loop.create_future())
        number = next(self._numbers)
        pushed_out = self._arrived.offer(Waiting(number, parcel.tenant_id, deadline_s, work))
        if pushed_out is not None:
            pushed_out.payload.settle(Lapse.OVERLOADED)
        self._dispatch_soon()
        try:
            async with asyncio.timeout_at(deadline_s):
                return await work.answer
        except TimeoutError:
            return Lapse.EXPIRED
        finally:
            self._arrived.withdraw(number)
            self._decoded.withdraw(number)

    @property
    def _is_open(self) -> bool:
        return self._threads is not None and self._layout.queue_max > 0

    def _dispatch_soon(self) -> None:
        """Once everybody who is about to ask has asked: an envelope's images come together."""
        if not self._is_dispatching:
            self._is_dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Give every free slot its share of what is ready, and decoders what is next."""
        self._is_dispatching = False
        if self._layout.decoders:
            self._decode_ahead()
        ready = self._decoded if self._layout.decoders else self._arrived
        while len(ready) and len(self._busy) - self._decoding < self.slots:
            wanted = share(len(ready), self.slots, self._layout.batch_max)
            batch = self._take(ready, wanted)
            if batch:
                self._start(partial(_run, self._runner, [item.payload for item in batch]),
                            partial(self._settle, batch))  # fmt: skip

    def _decode_ahead(self) -> None:
        room = self.slots * self._layout.batch_max
        while (
            len(self._arrived)
            and self._decoding < self._layout.decoders
            and self._decoding + len(self._decoded) < room
        ):
            for item in self._take(self._arrived, 1):
                self._decoding += 1
                self._start(partial(_decode, self._runner, item.payload),
                            partial(self._put_decoded, item))  # fmt: skip

    def _take(self, queue: FairQueue[_Work], wanted: int) -> list[_Item]:
        """The next items of `queue` that somebody still waits for."""
        taken = queue.take(wanted, asyncio.get_running_loop().time())
        for item in taken.expired:
            item.payload.settle(Lapse.EXPIRED)
        return [item for item in taken.batch if not item.payload.answer.done()]

    def _start(
        self, work: Callable[[], Any], settle: Callable[["asyncio.Future[Any]"], None]
    ) -> None:
        assert self._threads is not None
        done = asyncio.wrap_future(self._threads.submit(work))
        self._busy.add(done)
        done.add_done_callback(settle)

    def _put_decoded(self, item: _Item, done: "asyncio.Future[float]") -> None:
        self._busy.discard(done)
        self._decoding -= 1
        self._cpu_s += done.result()
        if not item.payload.answer.done():
            self._decoded.offer(item)  # there is room: it was kept when decoding began
        self._dispatch()

    def _settle(self, batch: Sequence[_Item], done: "asyncio.Future[_Done]") -> None:
        self._busy.discard(done)
        self._dispatch()
        found = done.result()
        now_s = asyncio.get_running_loop().time()
        for item, answer in zip(batch, found.answers, strict=True):
            in_time = answer if now_s < item.deadline_s else Lapse.EXPIRED
            self._answers.put(partial(item.payload.settle, in_time))
        self._batches.append(len(batch))
        self._cpu_s += found.cpu_s
        self._pace.observe(len(batch), found.wall_s)
        self._failed_in_a_row = self._failed_in_a_row + 1 if _is_dead(found.answers) else 0


def _is_dead(answers: Sequence[Answer]) -> bool:
    """Whether the device failed every image of a batch."""
    return all(
        isinstance(answer, Failure) and answer.code is PipelineCode.DEVICE_ERROR
        for answer in answers
    )


def _decode(runner: Runner, work: _Work) -> float:
    """One image, on a decoder's thread; the processor seconds it took."""
    start_s = time.thread_time()
    try:
        (work.prepared,) = runner.prepare([work.image])
    except Exception as defect:  # noqa: BLE001 (one image's defect is that image's)
        logs.write_error("an image broke the decoder", defect)
        work.prepared = Lapse.LOST
    return time.thread_time() - start_s


def _run(runner: Runner, batch: Sequence[_Work]) -> _Done:
    """The batch, on a slot's thread."""
    wall_s, cpu_s = time.perf_counter(), time.thread_time()
    answers: dict[int, Answer] = {
        place: work.prepared for place, work in enumerate(batch) if isinstance(work.prepared, Lapse)
    }
    places = [place for place in range(len(batch)) if place not in answers]
    found = _run_whole(runner, [batch[place] for place in places])
    answers.update(zip(places, found, strict=True))
    return _Done(
        [answers[place] for place in range(len(batch))],
        time.thread_time() - cpu_s,
        time.perf_counter() - wall_s,
    )


def _run_whole(runner: Runner, batch: Sequence[_Work]) -> list[Answer]:
    """Answers in order. Where the pipeline itself breaks, the batch is halved until the image that
    broke it stands alone.
    """
    if not batch:
        return []
    try:
        return _look_at(runner, batch)
    except Exception as defect:  # noqa: BLE001 (as above)
        if len(batch) == 1:
            logs.write_error("an image broke the pipeline", defect)
            return [Lapse.LOST]
        half = len(batch) // 2
        return _run_whole(runner, batch[:half]) + _run_whole(runner, batch[half:])


def _look_at(runner: Runner, batch: Sequence[_Work]) -> list[Answer]:
    new = iter(runner.prepare([work.image for work in batch if work.prepared is None]))
    prepared = [next(new) if work.prepared is None else work.prepared for work in batch]
    answers = runner.complete(prepared, [work.plan for work in batch])
    if len(answers) != len(batch):
        raise ValueError(f"{len(answers)} answers to {len(batch)} images")
    return [*answers]
