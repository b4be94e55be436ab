"""A front door's one connection to the engine, and all that goes over it."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from serve.errors import Code, ServeError
from serve.inference.batching import retry_after_s
from serve.inference.link import messages
from serve.inference.link.connection import Connection
from serve.inference.link.messages import Frame, Head, Kind, LinkBrokenError
from serve.observe import logs
from serve.turns import Turns

LOST_RETRY_AFTER_S = 5
BACKOFF_FIRST_S = 0.05
BACKOFF_S_MAX = 0.25


class EngineLostError(ServeError):
    """`service_unavailable`: there is no engine to ask, or it went away while it was asked."""


class Reach:
    """The engine at the socket `path`, connected to while the `async with` lasts.

    It connects in the background, again and again for as long as there is no engine. One that
    runs another model than `model_id`, where that is given, is no engine of this door's.
    `drain_s` are the seconds that what is under way is waited for at the end.
    """

    def __init__(self, path: Path, drain_s: float, *, model_id: str = "") -> None:
        self._path = path
        self._drain_s = drain_s
        self._model_id = model_id
        self._numbers = count()
        self._engine: Engine | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Images and searches that the engine was asked about and has not answered."""
        return 0 if self._engine is None else len(self._engine.asked)

    @property
    def engine(self) -> "Engine | None":
        """The engine, if there is one to ask."""
        engine = self._engine
        return engine if engine is not None and engine.is_usable else None

    async def until_connected(self) -> None:
        """Wait for an engine."""
        await self._connected.wait()

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep_connected())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take nothing more and wait for what is under way: each has its time limit."""
        keeper, self._keeper = self._keeper, None
        assert keeper is not None
        try:
            if self._engine is not None and self._engine.asked:
                await asyncio.wait(self._engine.asked.values(), timeout=self._drain_s)
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    def reached(self) -> "Engine":
        """The engine. Raises `service_unavailable`."""
        if self._keeper is None:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "the engine is closing", retry_after_s=1)
        engine = self.engine
        if engine is None:
            raise _lost("no engine is connected")
        return engine

    def next_number(self) -> int:
        """Of an image or a search: no two have the same."""
        return next(self._numbers)

    async def _keep_connected(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            self._engine = engine = Engine(self._model_id)
            try:
                await engine.connect(self._path)
                if await engine.greeting:
                    backoff_s = BACKOFF_FIRST_S
                    self._connected.set()
                    logs.write("engine connected")
                    await engine.gone.wait()
                    logs.write("engine lost")
            except OSError:
                pass  # nobody listens: not yet, or not any more
            finally:
                self._connected.clear()
                engine.abort()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)


class Engine(Connection):
    """One connection to an engine, usable from its greeting to its end.

    `greeting` is False if the end comes first.
    """

    def __init__(self, model_id: str) -> None:
        super().__init__(messages.SAID_BY_ENGINES)
        self.asked: dict[int, asyncio.Future[bytes]] = {}
        self.is_usable = False
        self.gone = asyncio.Event()
        self.queue_max = 0
        self.waiting = 0
        self._model_id = model_id
        self._rate_per_s = 0.0
        self._answers = Turns()
        self.greeting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until what waits is done, at the rate that was told."""
        return retry_after_s(self.waiting, 1, self.waited_s(1))

    def waited_s(self, images: float) -> float:
        """Seconds until so many images are done, at that rate; 0 where none was told."""
        return images / self._rate_per_s if self._rate_per_s else 0.0

    async def connect(self, path: Path) -> None:
        """Connect, once. Raises OSError."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, str(path))

    async def ask(self, number: int, parts: Iterable[bytes]) -> bytes:
        """The answer to EXAMINE or SEARCH; when the caller gives up, the engine is told."""
        asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.asked[number] = asked
        self.send(parts)
        try:
            return await asked
        except asyncio.CancelledError:
            self.send(messages.cancel(number))
            raise
        finally:
            del self.asked[number]

    def came(self, frame: Frame) -> None:
        """An answer, or how the engine stands."""
        head = frame.head
        if head.kind == Kind.HELLO:
            self._greet(head, frame.text)
        elif not self.is_usable:
            raise LinkBrokenError("the engine did not say who it is")
        elif head.kind == Kind.STATE:
            self.waiting, self._rate_per_s = head.number, head.value
        elif (asked := self.asked.get(head.number)) is not None:
            self._answers.put(partial(_settle, asked, frame.body))

    def lost(self) -> None:
        """What was asked is not answered any more."""
        self.is_usable = False
        self.gone.set()
        self._answers.hurry()
        if not self.greeting.done():
            self.greeting.set_result(False)
        for asked in self.asked.values():
            if not asked.done():
                asked.set_exception(_lost("the engine went away"))

    def _greet(self, head: Head, model_id: str) -> None:
        if head.flags != messages.VERSION:
            raise LinkBrokenError(f"the engine speaks version {head.flags}")
        if self._model_id not in {"", model_id}:
            raise LinkBrokenError("the engine runs another model")
        if self.greeting.done():
            raise LinkBrokenError("the engine greets twice")
        self.queue_max, self.is_usable = head.number, True
        self.greeting.set_result(True)


def _settle(asked: "asyncio.Future[bytes]", answer: bytes) -> None:
    if not asked.done():
        asked.set_result(answer)


def _lost(detail: str) -> EngineLostError:
    return EngineLostError(Code.SERVICE_UNAVAILABLE, detail, retry_after_s=LOST_RETRY_AFTER_S)
