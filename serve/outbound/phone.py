"""The reference client of the capture protocol: what a phone does on one WebSocket.

    async with opened(http, Start(url, token)) as phone:     # start, hello
        await phone.send(jpeg, captured_ms)                  # as often as the server grants credits
        ended = await phone.submit()                         # done, or the problem that ended it

An SDK follows it step by step: it tells the token in the first message and nowhere else, tags each
frame with the nonce of the hello, sends one frame for each credit, lets the camera's older frame go
where there is none, and after a lost connection goes on with `resume` where the hello says. A
problem that says when to try again is tried again then, after a lost connection with that `resume`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from serve.domain.liveness.wire import STREAM_PATH, SUBPROTOCOL, Frame, write_frame

MESSAGE_BYTES_MAX = 2**16
HELLO_S_MAX = 30.0
ANSWER_S_MAX = 60.0
CLOSE_S_MAX = 5.0

OnHint = Callable[[Mapping[str, Any]], None]


def _unheard(_hint: Mapping[str, Any]) -> None:
    """Hints that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a stream begins: the service's `url`, a session's token, and after a lost connection the
    `stream` of the hello that it had, as `resume`.
    """

    url: str
    token: str = field(repr=False)
    resume: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def message(self) -> dict[str, str]:
        """What is said first."""
        start = {"type": "start", "token": self.token}
        return {**start, "resume": self.resume} if self.resume else start


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stream ended: an HTTP status, and the `done` or the problem that it came with.

    After `retry_after_s` seconds trying again makes sense; None where the server did not say.
    """

    status: int
    message: Mapping[str, Any] = field(repr=False)
    retry_after_s: int | None = None

    @property
    def word(self) -> str:
        """The status of the verdict; else the code, and the first hint for a better clip."""
        result = self.message.get("result")
        if isinstance(result, Mapping):
            return str(result.get("status"))
        code = str(self.message.get("code", self.status))
        return ": ".join([code, *self.message.get("feedback", ())[:1]])


@dataclass(slots=True)
class Phone:
    """One open stream. `hello` is the server's; `next` the number of the next frame."""

    hello: Mapping[str, Any] = field(repr=False)
    next: int
    credits: int
    _socket: aiohttp.ClientWebSocketResponse = field(repr=False)
    _on_hint: OnHint = field(repr=False)
    _nonce: bytes = field(repr=False)
    _ended: asyncio.Future[Ended] = field(repr=False)
    _granted: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def steps(self) -> tuple[str, ...]:
        """What the person is asked to do, in this order."""
        return tuple(self.hello["steps"])

    @property
    def stream(self) -> str:
        """What `Start.resume` takes after a lost connection; as secret as the token."""
        return str(self.hello["stream"])

    @property
    def is_open(self) -> bool:
        """Whether the server has said nothing final yet."""
        return not self._ended.done()

    async def offer(self, jpeg: bytes, captured_ms: int) -> int | None:
        """Send a frame if there is a credit; its number, or None where it was let go.

        What a camera does: the frame of this moment is of no use at the next. Raises
        ConnectionError when the connection is gone.
        """
        if not self.credits or not self.is_open:
            return None
        number = self.next
        self.credits -= 1
        self.next += 1
        frame = write_frame(Frame(number, captured_ms, jpeg), self._nonce)
        await self._socket.send_bytes(frame)
        return number

    async def send(self, jpeg: bytes, captured_ms: int) -> int | None:
        """Send a frame as soon as there is a credit; None where the stream ends before."""
        while self.is_open:
            number = await self.offer(jpeg, captured_ms)
            if number is not None:
                return number
            self._granted.clear()
            await self._granted.wait()
        return None

    async def submit(self) -> Ended:
        """Hand the clip in; the server's answer.

        Raises ConnectionError when the connection is lost before it, and TimeoutError.
        """
        if self.is_open:
            await self._socket.send_json({"type": "submit"})
        return await self.ended()

    async def ended(self) -> Ended:
        """Wait for the server's last word. Raises as `submit` does."""
        async with asyncio.timeout(ANSWER_S_MAX):
            return await asyncio.shield(self._ended)

    async def closed(self) -> None:
        """Wait until there is nothing more to hear, whatever the reason."""
        await asyncio.wait([self._ended])

    async def listen(self) -> None:
        """Take messages until the last; `opened` runs it beside the caller."""
        try:
            async for received in self._socket:
                if received.type is not aiohttp.WSMsgType.TEXT:
                    break
                self._take(json.loads(received.data))
        finally:
            if not self._ended.done():
                code = self._socket.close_code
                self._ended.set_exception(ConnectionError(f"the stream was closed: {code}"))
                self._ended.exception()  # whoever waits hears it; nobody has to
            self._granted.set()

    def _take(self, message: Mapping[str, Any]) -> None:
        match message.get("type"):
            case "credits":
                self.credits += int(message["credits"])
                self._granted.set()
            case "hint":
                self._on_hint(message)
            case "done" | "problem":
                if not self._ended.done():
                    self._ended.set_result(_ended(message))
                self._granted.set()


class Refused(Exception):  # noqa: N818 (what it says)
    """A stream that did not begin: the server's problem."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.word)
        self.ended = ended


@asynccontextmanager
async def opened(
    http: aiohttp.ClientSession, start: Start, on_hint: OnHint = _unheard
) -> AsyncIterator[Phone]:
    """A stream of the session that the token of `start` opens, closed at the end of the block.

    Raises `Refused` where the server has a problem with it, and ConnectionError where none answers.
    """
    async with connected(http, start.url, start.headers) as socket:
        await socket.send_json(start.message)
        async with asyncio.timeout(HELLO_S_MAX):
            first = await _received(socket)
        if first.get("type") == "problem":
            raise Refused(_ended(first))
        phone = _phone(first, socket, on_hint)
        listening = asyncio.create_task(phone.listen())
        try:
            yield phone
        finally:
            listening.cancel()
            await asyncio.wait([listening])


def _phone(
    first: Mapping[str, Any], socket: aiohttp.ClientWebSocketResponse, on_hint: OnHint
) -> Phone:
    """After a hello; or after a `done`, which a stream that is resumed may be told instead."""
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    if first.get("type") == "done":
        ended.set_result(_ended(first))
        return Phone({"steps": [], "stream": ""}, 0, 0, socket, on_hint, b"", ended)
    nonce = bytes.fromhex(first["nonce"])
    return Phone(first, int(first["next"]), int(first["credits"]), socket, on_hint, nonce, ended)


def _ended(message: Mapping[str, Any]) -> Ended:
    """Of a `done`, or of a `problem`: what counts of that lies one level deeper."""
    last: Mapping[str, Any] = message.get("problem", message)
    return Ended(int(last["status"]), last, message.get("retry_after_s"))


@asynccontextmanager
async def connected(
    http: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket of the protocol before its first message. Raises as `opened` does."""
    try:
        socket = await http.ws_connect(
            url.rstrip("/") + STREAM_PATH, protocols=(SUBPROTOCOL,), headers=headers,
            max_msg_size=MESSAGE_BYTES_MAX, compress=0, autoclose=True,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S_MAX),
        )  # fmt: skip
    except aiohttp.WSServerHandshakeError as error:  # it does not show us the problem
        raise Refused(Ended(error.status, {"status": error.status})) from error
    except aiohttp.ClientError as error:
        raise ConnectionError(f"no stream: {type(error).__name__}") from error
    try:
        yield socket
    finally:
        await socket.close()


async def _received(socket: aiohttp.ClientWebSocketResponse) -> Mapping[str, Any]:
    received = await socket.receive()
    if received.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectionError(f"closed before the hello: {socket.close_code}")
    found: Mapping[str, Any] = json.loads(received.data)
    return found
