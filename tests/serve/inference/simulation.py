"""Virtual time: an event loop whose clock jumps to the next timer as soon as nobody can go on.

Hours pass in milliseconds, the same way each time, and a test in which everybody waits for
somebody else ends with an error. Nothing here waits for a thread, a process or a socket.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOMENT_S = 1e-6


class _Clock(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, moves the clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
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
    """Until every task has gone as far as it can without a timer: virtual time stands till then."""
    await asyncio.sleep(MOMENT_S)
