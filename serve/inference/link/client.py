"""A front door's end of the link: the `Faces` port, looked at by the engine's process."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from serve.errors import Code, ServeError
from serve.inference.batching import ahead_of, expected, retry_after_s
from serve.inference.link import messages
from serve.inference.link.connection import Connection
from serve.inference.link.messages import Frame, Head, Kind, LinkBrokenError
from serve.inference.parcels import Answer, Lapse, Outcome, outcome_of, unpack
from serve.observe import logs, metrics
from serve.turns import Turns

BYTES_MAX = 2**28
"""Bytes of images that one door has with the engine at once; an image alone is always let in."""
LOST_RETRY_AFTER_S = 5
BACKOFF_FIRST_S = 0.05
BACKOFF_S_MAX = 0.25


class EngineLostError(ServeError):
    """`service_unavailable`: there is no engine to ask, or it went away while it was asked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an image may take in all, and how many bytes of them may be under way."""

    timeout_s: float
    bytes_max: int = BYTES_MAX


class LinkedFaces:
    """`serve.ports.Faces` over the engine at the socket `path`, while its `async with` lasts.

    It connects in the background, again and again for as long as there is no engine. One that
    runs another model than `model_id`, where that is given, is no engine of this door's.
    """

    def __init__(self, path: Path, limits: Limits, *, model_id: str = "") -> None:
        self._path = path
        self._limits = limits
        self._model_id = model_id
        self._numbers = count()
        self._tenants: Counter[str] = Counter()  # images under way
        self._bytes = 0
        self._engine: _Engine | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Images that the engine was asked about and has not answered."""
        return 0 if self._engine is None else len(self._engine.asked)

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
                await asyncio.wait(self._engine.asked.values(), timeout=self._limits.timeout_s)
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """See `serve.ports.Faces`. The queue is known as it was some milliseconds ago.

        When it is full, a tenant with less than a fair share of this door's images is let in.
        """
        engine = self._reached()
        self._check_bytes(1)
        coming = expected(let_in - len(engine.asked), engine.queue_max)
        if engine.waiting + coming < engine.queue_max:
            return
        own, others = self._tenants[tenant_id], self._tenants.keys() - {tenant_id}
        if own and own * (len(others) + 1) >= self._tenants.total():
            detail = f"{engine.waiting} images are waiting"
            raise ServeError(Code.OVERLOADED, detail, retry_after_s=engine.retry_after_s)

    def wait_s(self, tenant_id: str) -> float:
        """See `serve.ports.Faces`. Of the queue only its length is known here; it is taken to hold
        the tenants' images in the proportion in which this door has asked about them.
        """
        engine = self._engine
        if engine is None or not engine.is_usable or not self._tenants:
            return 0.0
        others = (number for name, number in self._tenants.items() if name != tenant_id)
        ahead = ahead_of(self._tenants.get(tenant_id, 0), others)
        return engine.waited_s(ahead * engine.waiting / self._tenants.total())

    async def examine(self, image: bytes, *, tenant_id: str, with_chip: bool = False) -> Outcome:
        """See `serve.ports.Faces`; a caller that is cancelled takes its image with it."""
        engine = self._reached()
        self._check_bytes(len(image))
        loop = asyncio.get_running_loop()
        arrived_s, timeout_s = loop.time(), self._limits.timeout_s
        number = next(self._numbers)
        parts = messages.examine(number, tenant_id, image, timeout_s, with_chip=with_chip)
        answer: Answer = Lapse.EXPIRED
        with self._counted(tenant_id, len(image)), suppress(TimeoutError):
            async with asyncio.timeout_at(arrived_s + timeout_s):
                answer = unpack(await engine.ask(number, parts))
        outcome = outcome_of(answer, engine.retry_after_s)
        metrics.observe_engine(loop.time() - arrived_s)
        return outcome

    def _reached(self) -> "_Engine":
        """The engine. Raises `service_unavailable`."""
        if self._keeper is None:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "the engine is closing", retry_after_s=1)
        engine = self._engine
        if engine is None or not engine.is_usable:
            raise _lost("no engine is connected")
        return engine

    def _check_bytes(self, size: int) -> None:
        if self._bytes and self._bytes + size > self._limits.bytes_max:
            detail = f"{self._bytes} bytes of images are under way"
            raise ServeError(Code.OVERLOADED, detail, retry_after_s=1)

    @contextmanager
    def _counted(self, tenant_id: str, size: int) -> Iterator[None]:
        """An image is under way."""
        self._tenants[tenant_id] += 1
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
            self._tenants[tenant_id] -= 1
            if not self._tenants[tenant_id]:
                del self._tenants[tenant_id]

    async def _keep_connected(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            self._engine = engine = _Engine(self._model_id)
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


class _Engine(Connection):
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
        """The answer to EXAMINE; when the caller gives up, the engine is told."""
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
