"""Calls that come all at once, run one in each pass of the event loop.

A batch comes home with sixteen answers. Were all who wait for them to go on in the same pass of
the event loop, whoever asks for something small meanwhile would wait for all sixteen.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Runs calls in the order they came, one in each pass of the event loop."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._is_due = False  # the next one, in the next pass

    def put(self, call: Callable[[], None]) -> None:
        """Run `call` when those before it have had their turn."""
        self._calls.append(call)
        self._go_on()

    def hurry(self) -> None:
        """Run all that wait now."""
        while self._calls:
            self._calls.popleft()()

    def _go_on(self) -> None:
        if self._calls and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_due = False
        if self._calls:
            call = self._calls.popleft()
            self._go_on()
            call()
