"""A stream while frames come: each is examined beside those of everybody else, in its order.

At most `EXAMINED_MAX` are examined and `WAITING_MAX` wait; the oldest of these makes room for one
that comes. Nothing is dropped any more once the clip is being settled.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Feedback
from pipeline.liveness.observation import observe
from serve.domain.liveness.credits import EXAMINED_MAX, WAITING_MAX, Credits
from serve.domain.liveness.sight import OBSERVATION_BYTES, Sight
from serve.domain.liveness.wire import Frame, Terms, light_level
from serve.errors import Code, ServeError
from serve.observe import logs
from serve.observe import stream as metrics

HINT_S = 0.25
LIGHT_S = 1.5  # for which the page shows one grade of brightness
REFUSALS_MAX = 8  # of the models, one after the other, until the stream is ended
REFUSED_S = 1.0  # without new credits after each

Look = Callable[[bytes], Awaitable[FaceEvidence | Failure]]


class Client(Protocol):
    """Whoever is at the other end of a stream."""

    def tell(self, message: Mapping[str, object]) -> None:
        """Send a message; nothing where nobody is there any more."""
        ...

    def end(self, error: ServeError) -> None:
        """Say what ends the stream, and close it. Only the first end counts."""
        ...


class Room(Protocol):
    """What all streams of a door may hold in memory."""

    def take(self, size: int) -> None:
        """Count so many bytes. Raises `overloaded`, counting nothing."""
        ...

    def give(self, size: int) -> None:
        """Give them back."""
        ...


@dataclass(eq=False, slots=True)
class _Taken:
    """A frame that has come, and what was found on it."""

    frame: Frame
    at_s: float
    received_ms: float
    found: FaceEvidence | Failure | ServeError | None = None
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)


@dataclass(eq=False, slots=True)
class Viewing:
    """One clip. All of it belongs to the event loop.

    `clock_ms` is the records' clock; `light` is when the page was asked for how much brightness;
    `dropped` counts frames that were not looked at.
    """

    look: Look
    terms: Terms
    sight: Sight
    nonce: bytes = field(repr=False)
    client: Client
    room: Room
    clock_ms: Callable[[], float]
    light: list[tuple[float, float]] = field(default_factory=list)
    dropped: int = 0
    credits: Credits = field(init=False)
    _examined: deque[_Taken] = field(default_factory=deque)
    _waiting: deque[_Taken] = field(default_factory=deque)
    _held_bytes: int = 0
    _refusals: int = 0
    _hinted_s: float = 0.0
    _begun_s: float = field(init=False)
    _settled: "asyncio.Future[None] | None" = None
    _timer: asyncio.TimerHandle | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __post_init__(self) -> None:
        """Raises `overloaded` where there is no room for what was seen before."""
        self._begun_s = self._loop.time()
        self.credits = Credits(self.terms.frames_per_s_max, self.terms.frames_max)
        self.credits.frames = len(self.sight.observations)
        self._hold(self.sight.size_bytes)

    def take(self, frame: Frame) -> None:
        """A frame has come, and its credit was spent."""
        taken = _Taken(frame, self._loop.time(), self.clock_ms())
        try:
            self._hold(_size(frame))
        except ServeError:
            self._drop(taken, metrics.REFUSED)
            return
        self._waiting.append(taken)
        self._go_on()
        if len(self._waiting) > WAITING_MAX:
            oldest = self._waiting.popleft()
            self._release(_size(oldest.frame))
            self._drop(oldest, metrics.DROPPED)

    async def settled(self) -> Sight:
        """All that has come, once it was examined. Raises what the models refused a frame with."""
        if self._settled is None:
            self._settled = self._loop.create_future()
            self._go_on()
        await asyncio.shield(self._settled)
        return self.sight

    def close(self) -> None:
        """Forget what has not been examined, and give all room back."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        while self._examined:
            task = self._examined.popleft().task
            if task is not None:
                task.cancel()
        self._release(self._held_bytes)

    def _go_on(self) -> None:
        """Begin to examine what may be begun; grant what may be granted."""
        while self._waiting and len(self._examined) < EXAMINED_MAX:
            taken = self._waiting.popleft()
            self._examined.append(taken)
            taken.task = self._loop.create_task(self._examine(taken))
        settled = self._settled
        if settled is None:
            self._grant()
        elif not (self._waiting or self._examined or settled.done()):
            settled.set_result(None)

    async def _examine(self, taken: _Taken) -> None:
        try:
            taken.found = await self.look(taken.frame.image)
        except ServeError as error:
            taken.found = error
        except Exception as error:  # noqa: BLE001 (nobody awaits this task)
            logs.write_error("defect", error)
            taken.found = ServeError(Code.INTERNAL_ERROR, "")
        while self._examined and self._examined[0].found is not None:
            self._see(self._examined.popleft())
        self._go_on()

    def _see(self, taken: _Taken) -> None:
        """Take in what was found on the next frame in order."""
        found, frame = taken.found, taken.frame
        if isinstance(found, ServeError):
            self._release(_size(frame))
            self._refuse(taken, found)
            return
        self._refusals = 0
        is_news = False
        feedback: tuple[Feedback, ...] = (Feedback.OTHER,)
        before = self.sight.size_bytes + _size(frame)
        if isinstance(found, FaceEvidence):
            number = len(self.sight.observations)
            digest = hashlib.sha256(frame.image).digest()
            seen = observe(found, number, digest, float(frame.captured_ms), taken.received_ms)
            is_news = self.sight.add(seen, frame.image)
            feedback = seen.feedback
        self._release(before - self.sight.size_bytes)
        metrics.count_frame(metrics.EXAMINED)
        metrics.observe_hint(self._loop.time() - taken.at_s)
        self.credits.owe(is_dropped=isinstance(found, Failure))
        self._hint(frame.seq, feedback, is_news=is_news)

    def _refuse(self, taken: _Taken, error: ServeError) -> None:
        """The models had no room for a frame, or could not be reached."""
        self._refusals += 1
        if self._settled is not None:
            if not self._settled.done():
                self._settled.set_exception(error)
            return
        if self._refusals >= REFUSALS_MAX or error.code is Code.INTERNAL_ERROR:
            self.client.end(error)
            return
        self._drop(taken, metrics.REFUSED)

    def _drop(self, taken: _Taken, fate: str) -> None:
        """A frame is not looked at: its credit goes back, later where there was no room."""
        self.dropped += 1
        metrics.count_frame(fate)
        self.credits.owe(is_dropped=True)
        if fate == metrics.REFUSED:
            self.credits.slow_down(self._loop.time() + REFUSED_S)
            self._hint(taken.frame.seq, (Feedback.OTHER,), is_news=False)
        self._grant()

    def _hint(self, seq: int, feedback: tuple[Feedback, ...], *, is_news: bool) -> None:
        now_s = self._loop.time()
        if self._settled is not None or (not is_news and now_s - self._hinted_s < HINT_S):
            return
        self._hinted_s = now_s
        progress = self.sight.progress
        self.client.tell(
            {
                "type": "hint",
                "seq": seq,
                "feedback": list(feedback),
                "step": progress.step,
                "done": progress.done,
                "is_complete": progress.is_complete,
                "dropped": self.dropped,
                **self._lit(now_s),
            }
        )

    def _lit(self, now_s: float) -> dict[str, float]:
        """How bright the page is to be; noted where that is another from now on."""
        if not self.terms.light_levels:
            return {}
        number = int((now_s - self._begun_s) / LIGHT_S)
        level = light_level(self.nonce, number, self.terms.light_levels)
        if not self.light or self.light[-1][1] != level:
            self.light.append((self.clock_ms(), level))
        return {"light": level}

    def _grant(self) -> None:
        """Grant the credits that are due, and see to it that the others are when they are."""
        now_s = self._loop.time()
        if granted := self.credits.grant(now_s):
            self.client.tell({"type": "credits", "credits": granted})
        if self.credits.owed and self._timer is None:
            self._timer = self._loop.call_later(self.credits.wait_s(now_s), self._grant_later)

    def _grant_later(self) -> None:
        self._timer = None
        if self._settled is None:
            self._grant()

    def _hold(self, size: int) -> None:
        self.room.take(size)
        self._held_bytes += size

    def _release(self, size: int) -> None:
        self.room.give(size)
        self._held_bytes -= size


def _size(frame: Frame) -> int:
    """What a frame takes while it waits: itself, and what will be remembered of it."""
    return len(frame.image) + OBSERVATION_BYTES
