"""The models inside this process: one bounded queue, and workers that pull from it when free.

A worker takes what is waiting the moment it is free, so batches form under load only and no
image ever waits for a timer. All state belongs to the event loop; threads see only the batch
they were given.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import TracebackType
from typing import Protocol, Self

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.steps import Plan
from serve.errors import Code, ServeError
from serve.observe import metrics

BATCH_MAX = 16  # images one worker takes at once: the embedder gains nothing beyond
RATE_WEIGHT = 0.2  # of the newest batch in the running mean of seconds an image takes
RETRY_AFTER_S_MAX = 60

Outcome = FaceEvidence | Failure


class Runner(Protocol):
    """The pipeline: a batch of encoded images to one outcome each, in order."""

    def run(self, images: Sequence[bytes], plan: Plan, /) -> list[Outcome]:
        """Evidence or failure for each image."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait, and how long: `queue_max` images, each `timeout_s` seconds in all."""

    workers: int
    queue_max: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class _Item:
    image: bytes = field(repr=False)
    plan: Plan
    deadline_s: float
    future: "asyncio.Future[Outcome]"


@dataclass(frozen=True, slots=True)
class _Done:
    """What a worker brings back: an outcome for each item, or the defect that item met.

    `cpu_s` is what its thread spent on the processor, `wall_s` what the clock says.
    """

    outcomes: list[Outcome | Exception]
    cpu_s: float
    wall_s: float


def share(waiting: int, workers: int) -> int:
    """How many of the waiting images a worker that is free takes: its part, at most BATCH_MAX.

    The part is of all workers, the busy ones among them: who is free next finds work as well.
    """
    return min(BATCH_MAX, -(-waiting // workers))


def retry_after_s(waiting: int, workers: int, image_s: float) -> int:
    """Whole seconds until `waiting` images are done, one taking a worker `image_s`; 1 to 60."""
    return max(1, min(RETRY_AFTER_S_MAX, math.ceil(waiting * image_s / workers)))


class LocalFaces:
    """`serve.ports.Faces` over a pipeline in this process; lives as long as its `async with`."""

    def __init__(self, runner: Runner, limits: Limits) -> None:
        self._runner = runner
        self._limits = limits
        self._numbers = count()
        self._waiting: OrderedDict[int, _Item] = OrderedDict()  # oldest, so most urgent, first
        self._busy: set[asyncio.Future[_Done]] = set()
        self._image_s = 0.0
        self._threads: ThreadPoolExecutor | None = None

    @property
    def waiting(self) -> int:
        """Images that no worker has taken yet."""
        return len(self._waiting)

    async def __aenter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self._limits.workers, "limen-faces")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take nothing more and finish what was taken: within `timeout_s` nothing waits."""
        threads, self._threads = self._threads, None
        assert threads is not None
        try:
            while self._busy:  # each batch that ends starts the next
                await asyncio.wait(self._busy)
        finally:
            threads.shutdown(wait=not self._busy)

    def admit(self, tenant_id: str) -> None:
        """See `serve.ports.Faces`."""
        del tenant_id

    async def examine(self, image: bytes, *, tenant_id: str, with_chip: bool = False) -> Outcome:
        """See `serve.ports.Faces`; a caller that is cancelled takes its image with it."""
        del tenant_id
        threads = self._threads
        if threads is None:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "the engine is closing")
        if self.waiting >= self._limits.queue_max:
            wait_s = retry_after_s(self.waiting, self._limits.workers, self._image_s)
            raise ServeError(
                Code.OVERLOADED, f"{self.waiting} images are waiting", retry_after_s=wait_s
            )
        loop = asyncio.get_running_loop()
        arrived_s = loop.time()
        deadline_s = arrived_s + self._limits.timeout_s
        plan = Plan(template=True, passive_liveness=True, age=False, chip=with_chip)
        item = _Item(image, plan, deadline_s, loop.create_future())
        number = next(self._numbers)
        self._waiting[number] = item
        self._dispatch(threads)
        try:
            async with asyncio.timeout_at(deadline_s):
                outcome = await item.future
        except TimeoutError as error:
            detail = f"no answer within {self._limits.timeout_s:g} s"
            raise ServeError(Code.SERVICE_UNAVAILABLE, detail) from error
        finally:
            self._waiting.pop(number, None)
            metrics.set_queue(self.waiting)
        metrics.observe_engine(loop.time() - arrived_s)
        return outcome

    def _dispatch(self, threads: ThreadPoolExecutor) -> None:
        """Give every free worker its share of what waits."""
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._busy) < self._limits.workers:
            batch = self._take(share(self.waiting, self._limits.workers), loop.time())
            if not batch:
                continue  # those were all given up
            work = threads.submit(_run, self._runner, [(item.image, item.plan) for item in batch])
            done = asyncio.wrap_future(work)
            self._busy.add(done)
            done.add_done_callback(partial(self._settle, batch, threads))
        metrics.set_queue(self.waiting)

    def _take(self, wanted: int, now_s: float) -> list[_Item]:
        """The oldest `wanted` items that somebody still waits for."""
        batch: list[_Item] = []
        while self._waiting and len(batch) < wanted:
            _, item = self._waiting.popitem(last=False)
            if not item.future.done() and now_s < item.deadline_s:
                batch.append(item)
        return batch

    def _settle(
        self, batch: Sequence[_Item], threads: ThreadPoolExecutor, done: "asyncio.Future[_Done]"
    ) -> None:
        self._busy.discard(done)
        self._dispatch(threads)
        found = done.result()
        for item, outcome in zip(batch, found.outcomes, strict=True):
            if item.future.done():
                continue
            if isinstance(outcome, Exception):
                item.future.set_exception(outcome)
            else:
                item.future.set_result(outcome)
        metrics.observe_batch(len(batch), found.cpu_s)
        image_s = found.wall_s / len(batch)
        self._image_s += (RATE_WEIGHT if self._image_s else 1.0) * (image_s - self._image_s)


def _run(runner: Runner, batch: Sequence[tuple[bytes, Plan]]) -> _Done:
    """The batch, on a worker thread; images of one plan run together."""
    wall_s, cpu_s = time.perf_counter(), time.thread_time()
    outcomes: dict[int, Outcome | Exception] = {}
    for wanted in dict.fromkeys(plan for _, plan in batch):
        places = [place for place, (_, plan) in enumerate(batch) if plan == wanted]
        found = _run_alike(runner, [batch[place][0] for place in places], wanted)
        outcomes.update(zip(places, found, strict=True))
    return _Done(
        [outcomes[place] for place in range(len(batch))],
        time.thread_time() - cpu_s,
        time.perf_counter() - wall_s,
    )


def _run_alike(runner: Runner, images: Sequence[bytes], plan: Plan) -> list[Outcome | Exception]:
    """Outcomes of one plan. Where the pipeline itself breaks, the batch is halved until the
    image that broke it stands alone.
    """
    try:
        return [*runner.run(images, plan)]
    except Exception as defect:  # noqa: BLE001 (a defect met by one image is that image's)
        if len(images) == 1:
            return [defect]
        half = len(images) // 2
        return _run_alike(runner, images[:half], plan) + _run_alike(runner, images[half:], plan)
