"""What is sent over one WebSocket, in its order, and how it is closed: once."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from serve.api.problem import document_of, refusal_of
from serve.domain.liveness.wire import CLOSED_MIN, GOING_AWAY
from serve.errors import STATUSES, Code, ServeError

CLOSE_S_MAX = 2.0  # to wait for the other side's goodbye
ABNORMAL = int(WSCloseCode.ABNORMAL_CLOSURE)  # in no close frame: the connection was lost
UNREADABLE = frozenset(
    {WSCloseCode.PROTOCOL_ERROR, WSCloseCode.INVALID_TEXT, WSCloseCode.MESSAGE_TOO_BIG}
)


class Socket(web.WebSocketResponse):
    """aiohttp's, which would hang up on a message that it cannot read: whoever is still sending it
    would not hear why. Here the first such end is left to the line.
    """

    _is_broken = False

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        """See there; False where it was left."""
        if code in UNREADABLE and not self._is_broken:
            self._is_broken = True
            return False
        return await super().close(code=code, message=message, drain=drain)


class Line:
    """The way to one client. Nothing waits for it: what cannot be sent is lost with it.

    `close_code` is what it was closed with by either side, `error` what it was closed for.
    """

    __slots__ = (
        "_closing", "_heard", "_is_listening", "_request_id", "_sent", "_ws", "close_code", "error",
        "is_done",
    )  # fmt: skip

    def __init__(self, ws: Socket, request_id: str) -> None:
        self._ws = ws
        self._request_id = request_id
        self._sent: set[asyncio.Task[None]] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_listening = True
        self._heard: asyncio.Future[None] | None = None  # all that there is to hear
        self.close_code = 0
        self.error: ServeError | None = None
        self.is_done = False

    @property
    def is_closing(self) -> bool:
        """Whether it has been told to close."""
        return self._closing is not None

    def tell(self, message: Mapping[str, object]) -> None:
        """Send a message, unless it is being closed."""
        if self._closing is not None or self._ws.closed:
            return
        if self._sent is None:
            self._sent = set()
        self._sent.add(task := asyncio.create_task(self._send(message)))
        task.add_done_callback(self._sent.discard)

    def end(self, error: ServeError) -> None:
        """Tell a problem, and close with its code."""
        if self._closing is not None:
            return
        refusal = refusal_of(error)
        self.error = ServeError(error.code, "")  # its traceback would keep the stream's pictures
        code = CLOSED_MIN + STATUSES[refusal.code]
        problem = document_of(refusal, self._request_id)
        message: dict[str, object] = {"type": "problem", "problem": problem}
        if refusal.wait_s is not None:
            message["retry_after_s"] = refusal.wait_s
        self._closing = asyncio.create_task(self._close(message, code, str(refusal.code)))

    def finish(self, message: Mapping[str, object]) -> None:
        """Tell what came of it, and close."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(message, int(WSCloseCode.OK), ""))

    def go_away(self) -> None:
        """Close because this door does: the client goes on at another."""
        if self._closing is None:
            self._closing = asyncio.create_task(
                self._close(None, GOING_AWAY, str(Code.SERVICE_UNAVAILABLE))
            )

    async def break_off(self, code: int) -> None:
        """Close with a code of `UNREADABLE`, once the other side has gone or has had its time; what
        it is still sending is read away meanwhile.
        """
        if self._closing is None:
            self.error = ServeError(Code.MESSAGE_INVALID, "")
            self._closing = asyncio.create_task(self._close(None, code, ""))
        await asyncio.wait([self._closing])

    def hang_up(self) -> None:
        """Nothing more will be heard."""
        self._is_listening = False
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    async def closed(self) -> None:
        """Wait until it is. Whoever took its messages takes none any more."""
        self.hang_up()
        if self._closing is not None:
            await self._closing
        elif not self.close_code:
            self.close_code = self._ws.close_code or ABNORMAL

    async def _send(self, message: Mapping[str, object]) -> None:
        try:
            await self._ws.send_str(json.dumps(message, separators=(",", ":")))
        except (ConnectionError, RuntimeError):
            return  # whoever receives hears of it

    async def _close(self, message: Mapping[str, object] | None, code: int, reason: str) -> None:
        was_open = not self._ws.closed
        if message is not None:
            await self._send(message)
        if self._is_listening and not self._ws.closed:
            await self._say_goodbye(code, reason)
        await self._ws.close(code=code, message=reason.encode())
        said = self._ws.close_code or ABNORMAL
        is_answered = was_open and said != ABNORMAL
        self.is_done = is_answered and code == int(WSCloseCode.OK)
        self.close_code = code if is_answered or self.error else said

    async def _say_goodbye(self, code: int, reason: str) -> None:
        """Let the client hear why, and answer. aiohttp would hang up on it if we closed while we
        listen; what it is still sending might then cost it our last words.
        """
        self._heard = asyncio.get_running_loop().create_future()
        with suppress(ConnectionError, RuntimeError, TimeoutError):
            goodbye = code.to_bytes(2, "big") + reason.encode()
            await self._ws.send_frame(goodbye, WSMsgType.CLOSE)
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._heard
