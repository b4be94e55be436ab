"""Virtual time: an event loop whose clock jumps to the next timer as soon as nobody can go on.

Hours pass in milliseconds, the same way each time, and a test in which everybody waits for
somebody else ends with an error. Nothing here waits for a thread, a process or a socket.

Below it, a model that takes virtual time for each batch, and callers who come at random.
"""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PASS_S = 1e-9  # what a pass of the loop takes: a clock that stands still makes some wait for ever
MOMENT_S = 1e-5


class _Clock(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, moves the clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        self.now_s += PASS_S
        if timeout is None and not ready:
            raise RuntimeError("everybody waits, and no timer runs")
        if not ready:
            self.now_s += max(0.0, timeout or 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0."""

    def __init__(self) -> None:
        self._virtual = _Clock()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The same test, run to its end by a loop in virtual time; fails on an error in a callback."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        defects = list[dict[str, Any]]()
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.get_loop().set_exception_handler(lambda _, defect: defects.append(defect))
            result = runner.run(test(*args, **kwargs))
        assert defects == []
        return result

    return run


async def everybody_waits() -> None:
    """Until every task has gone as far as it can without a timer."""
    await asyncio.sleep(MOMENT_S)


@dataclass(slots=True)
class Device:
    """A model that takes `batch_s` for each batch and `image_s` more for each image in it."""

    batch_s: float = 0.020
    image_s: float = 0.0003
    batches: list[int] = field(default_factory=list)

    async def run(self, images: Sequence[bytes]) -> list[bytes]:
        """As a replica sees it that runs its model in a thread: the event loop is free."""
        self.batches.append(len(images))
        await asyncio.sleep(self.batch_s + self.image_s * len(images))
        return list(images)

    def batch_for(self, rate_per_s: float) -> float:
        """The mean batch that this rate needs."""
        return self.batch_s * rate_per_s / (1 - self.image_s * rate_per_s)


@dataclass(frozen=True, slots=True)
class Result:
    """Images offered and answered within the time, and the mean batch."""

    offered: int
    done: int
    mean_batch: float


async def offer(
    examine: Callable[[bytes], Awaitable[bytes]], device: Device, rate_per_s: float, seconds: float
) -> Result:
    """Callers at random moments, `rate_per_s` on average, each with an image of its own."""
    loop, rng = asyncio.get_running_loop(), random.Random(7)  # noqa: S311 (the same each time)
    done, tasks = list[bytes](), set[asyncio.Task[None]]()

    async def caller(image: bytes) -> None:
        if await examine(image) == image:
            done.append(image)

    end_s, offered = loop.time() + seconds, 0
    while (pause_s := rng.expovariate(rate_per_s)) < end_s - loop.time():
        await asyncio.sleep(pause_s)
        tasks.add(asyncio.create_task(caller(b"%d" % offered)))
        offered += 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Result(offered, len(done), sum(device.batches) / len(device.batches))
