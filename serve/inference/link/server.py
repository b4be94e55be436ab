"""The engine's end of the link: every door's images go to the dispatcher and its searches to the
index, their answers back.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from serve.errors import Code, ServeError
from serve.inference.link import messages
from serve.inference.link.connection import Connection
from serve.inference.link.messages import Frame, Head, Kind, LinkBrokenError
from serve.inference.parcels import Flag, Lapse, Parcel, pack
from serve.inference.search.absent import AbsentIndex
from serve.inference.search.packing import (
    PackingError,
    pack_found,
    unpack_asked,
)
from serve.observe import logs
from serve.ports.search import Asked, Found

STATE_EVERY_S = 0.025
STATE_EVERY_S_WHEN_FULL = 0.005
STATE_STEPS = 16
"""Doors are told of the queue when it changed by such a part of its bound, and of every change
in the last such part.
"""
RATE_CHANGE = 0.1
BACKLOG = 256

_OVERLOADED, _LOST = pack(Lapse.OVERLOADED), pack(Lapse.LOST)


_INDEX_FULL = pack_found(ServeError(Code.OVERLOADED, "", retry_after_s=1))
_NOT_SEARCHED = pack_found(ServeError(Code.SERVICE_UNAVAILABLE, "", retry_after_s=1))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one door may have under way, in images and searches and in their bytes; one too many
    is answered `overloaded`, but an image that comes alone is always taken.

    `unsent_bytes_max` of answers may be left unread before the door is given up. `drain_s` are
    the seconds in which what is under way can still be answered when the engine closes.
    """

    items_max: int = 8_192
    bytes_max: int = 2**28
    unsent_bytes_max: int = 2**25
    drain_s: float = 5.0


DEFAULT_LIMITS = Limits()


class Dispatcher(Protocol):
    """Who has images looked at: one for all doors, with one queue."""

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        ...

    @property
    def rate_per_s(self) -> float:
        """Images finished in a second, as measured lately; 0 before there was any."""
        ...

    async def examine(self, parcel: Parcel, /) -> bytes:
        """The packed answer."""
        ...


class Searcher(Protocol):
    """Who searches: one for all doors."""

    async def search(self, asked: Asked, /) -> Found:
        """See `serve.ports.search.FaceIndex`."""
        ...


NO_INDEX = AbsentIndex()


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine does for its doors: `queue_max` is the bound of the dispatcher's queue."""

    dispatcher: Dispatcher
    model_id: str
    queue_max: int
    index: Searcher = NO_INDEX


@asynccontextmanager
async def serve_link(
    path: Path, work: Work, limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[None]:
    """Answer doors at the socket `path` until the block ends, and then what is under way. A
    socket that an earlier engine left there is replaced.
    """
    hall = _Hall(work, limits)
    with _listening(path) as listener:
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Door(hall), sock=listener, backlog=BACKLOG
        )
        try:
            yield
        finally:
            server.close()
            await hall.close(limits.drain_s)


class _Hall:
    """All doors, and what they have been told of the queue."""

    def __init__(self, work: Work, limits: Limits) -> None:
        self.dispatcher = work.dispatcher
        self.index = work.index
        self.limits = limits
        self.hello = messages.hello(work.model_id, work.queue_max)
        self.doors: set[_Door] = set()
        self.is_closing = False
        self._queue_max = work.queue_max
        self._told = (0, 0.0)
        self._next_look: asyncio.TimerHandle | None = None

    def enter(self, door: "_Door") -> None:
        """A door has connected."""
        self.doors.add(door)
        door.send(self.hello)
        door.send(messages.state(*self._told))

    def stir(self) -> None:
        """The queue may be changing: look at it, and on as long as there is work."""
        if self._next_look is None:
            loop = asyncio.get_running_loop()
            is_urgent = self._is_nearly_full(self.dispatcher.waiting)
            delay_s = STATE_EVERY_S_WHEN_FULL if is_urgent else STATE_EVERY_S
            self._next_look = loop.call_later(delay_s, self._look)

    async def close(self, drain_s: float) -> None:
        """Finish what doors wait for; what takes too long is given up."""
        self.is_closing = True
        if tasks := [task for door in self.doors for task in door.tasks.values()]:
            await asyncio.wait(tasks, timeout=drain_s)
        for door in list(self.doors):
            door.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._next_look is not None:
            self._next_look.cancel()

    def _look(self) -> None:
        self._next_look = None
        now = (self.dispatcher.waiting, self.dispatcher.rate_per_s)
        if self._differs(*now):
            self._told = now
            for door in self.doors:
                door.send(messages.state(*now))
        if any(door.tasks for door in self.doors):
            self.stir()

    def _is_nearly_full(self, waiting: int) -> bool:
        return (waiting + 1) * STATE_STEPS > self._queue_max * (STATE_STEPS - 1)

    def _differs(self, waiting: int, rate_per_s: float) -> bool:
        """Whether doors would decide otherwise if they knew."""
        told, told_rate = self._told
        return (
            (waiting >= self._queue_max) != (told >= self._queue_max)
            or (waiting == 0) != (told == 0)
            or (waiting != told and (self._is_nearly_full(waiting) or self._is_nearly_full(told)))
            or abs(waiting - told) * STATE_STEPS >= self._queue_max
            or abs(rate_per_s - told_rate) > told_rate * RATE_CHANGE
        )


class _Door(Connection):
    """One front door: its images and searches under way, each a task."""

    def __init__(self, hall: _Hall) -> None:
        super().__init__(messages.SAID_BY_DOORS)
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._hall = hall
        self._bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        super().connection_made(transport)
        self._hall.enter(self)

    def lost(self) -> None:
        """Nobody waits for what it asked any more."""
        self._hall.doors.discard(self)
        for task in self.tasks.values():
            task.cancel()

    def wants(self, head: Head) -> bool:
        """What is asked is refused, unreceived, where there is too much, or the engine closes."""
        if head.kind == Kind.EXAMINE:
            refuse, full, lost = messages.answer, _OVERLOADED, _LOST
        elif head.kind == Kind.SEARCH:
            refuse, full, lost = messages.found, _INDEX_FULL, _NOT_SEARCHED
        else:
            return True
        if self._hall.is_closing:
            self.send(refuse(head.number, lost))
            return False
        if self._is_full(head):
            self.send(refuse(head.number, full))
            return False
        return True

    def came(self, frame: Frame) -> None:
        """An image to be examined, a search, or one of them that is not wanted any more."""
        head = frame.head
        known = self.tasks.get(head.number)
        if head.kind == Kind.CANCEL:
            if known is not None:
                known.cancel()
            return
        if known is not None:
            raise LinkBrokenError("a number is used twice")
        if head.kind == Kind.SEARCH:
            answering = self._search(head, _unpacked(frame.body))
        else:
            parcel = Parcel(frame.body, frame.text, Flag(head.flags).plan, head.value)
            answering = self._examine(head.number, parcel)
            self._hall.stir()
        task = asyncio.get_running_loop().create_task(answering)
        self.tasks[head.number] = task
        self._bytes += head.body_size
        task.add_done_callback(partial(self._forget, head))

    def _is_full(self, head: Head) -> bool:
        limits = self._hall.limits
        is_image = head.kind == Kind.EXAMINE
        is_over = is_image and self._bytes > 0 and self._bytes + head.body_size > limits.bytes_max
        return is_over or len(self.tasks) >= limits.items_max

    async def _examine(self, number: int, parcel: Parcel) -> None:
        try:
            packed = await self._hall.dispatcher.examine(parcel)
        except Exception as error:  # noqa: BLE001 (a defect met by one image is that image's)
            logs.write_error("image lost", error)
            packed = _LOST
        self._answer(messages.answer(number, packed))

    async def _search(self, head: Head, asked: Asked) -> None:
        try:
            async with asyncio.timeout(head.value):
                packed = pack_found(await self._hall.index.search(asked))
        except TimeoutError:
            packed = _NOT_SEARCHED
        except ServeError as error:
            packed = pack_found(error)
        except Exception as error:  # noqa: BLE001 (a defect met by one search is that search's)
            logs.write_error("search lost", error)
            packed = _NOT_SEARCHED
        self._answer(messages.found(head.number, packed))

    def _answer(self, parts: Iterable[bytes]) -> None:
        self.send(parts)
        if self.unsent_bytes > self._hall.limits.unsent_bytes_max:
            self.abort()

    def _forget(self, head: Head, task: asyncio.Task[None]) -> None:
        del task
        del self.tasks[head.number]
        self._bytes -= head.body_size


def _unpacked(body: bytes) -> Asked:
    try:
        return unpack_asked(body)
    except PackingError as error:
        raise LinkBrokenError("a search is none") from error


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket at `path` that nobody but this user ever reaches; removed with the block."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.settimeout(0)
        made.bind(str(path))
        path.chmod(0o600)
        born = path.stat().st_ino
        try:
            yield made
        finally:
            if path.exists() and path.stat().st_ino == born:  # else another engine is there now
                path.unlink()
