"""The front door's end of streams: one WebSocket each.

What is known before the upgrade is refused as a problem over HTTP. Afterwards a problem is a
message, and the socket closes with its code.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import urlsplit

from aiohttp import WebSocketError, WSMessage, WSMsgType, web

from serve.api.call import ADDRESS, REQUEST_ID
from serve.api.intake import device
from serve.api.intake.address import GuessBudget
from serve.api.intake.body import BodyBudget
from serve.api.intake.connections import DoorProtocol
from serve.api.intake.quota import STANDING, Meter, rate_limits
from serve.api.liveness.line import ABNORMAL, CLOSE_S_MAX, Line, Socket
from serve.api.middleware import SAFE_HEADERS
from serve.deps import Deps
from serve.domain.handoff import Handoff, check_readable
from serve.domain.liveness.wire import (
    GOING_AWAY,
    HEADER_BYTES,
    STREAM_PATH,
    SUBPROTOCOL,
    Start,
    Terms,
    done,
    read_message,
)
from serve.domain.quota import Quota
from serve.errors import STATUSES, Code, ServeError
from serve.flows import access, handoff
from serve.flows.liveness.stream import Stream, Streams
from serve.flows.liveness.watch import Watch
from serve.observe import logs
from serve.observe import metrics as requests
from serve.observe import stream as metrics
from serve.sections import StreamSection

BEATS_MAX = 2_000  # pings and pongs of one client, which has ten minutes
_LOST = frozenset({ABNORMAL, GOING_AWAY})
_SPOKEN = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})
WRITTEN_MAX = 4_096  # bytes on their way to a client before it is waited for


@dataclass(frozen=True, slots=True)
class AddressRoom:
    """The room of one address in the budget of bodies."""

    budget: BodyBudget
    address: str

    def take(self, size: int) -> None:
        """Count so many bytes. Raises `overloaded`."""
        self.budget.take(self.address, size)

    def give(self, size: int) -> None:
        """Give them back."""
        self.budget.give(self.address, size)


@dataclass(eq=False, slots=True)
class _Held:
    """An open socket, and what came of it so far. `unread` bytes are of no message yet."""

    request: web.Request
    ws: Socket
    line: Line
    room: AddressRoom
    unread: int = 0
    beats: int = 0
    stream: Stream | None = None
    judging: "asyncio.Task[None] | None" = None

    def arrived(self, size: int) -> None:
        """So many bytes have come; the stream is ended where there is no room for them."""
        try:
            self.room.take(size)
        except ServeError as error:
            if self.request.transport is not None:
                self.request.transport.pause_reading()
            self.line.end(error)
            return
        self.unread += size

    def read(self, size: int) -> None:
        """A message of so many bytes was whole: it is counted as what it is from now on."""
        size = min(size, self.unread)
        self.room.give(size)
        self.unread -= size

    async def hear(self) -> WSMessage:
        """The next message; one that is neither text nor binary is the last.

        Pings by the ten thousand come in one piece: after each it is the others' turn. Raises
        `too_many_frames` for more than `BEATS_MAX`.
        """
        while (message := await self.ws.receive()).type in {WSMsgType.PING, WSMsgType.PONG}:
            self.beats += 1
            if self.beats > BEATS_MAX:
                raise ServeError(Code.TOO_MANY_FRAMES, f"at most {BEATS_MAX} pings and pongs")
            if message.type is WSMsgType.PING:
                with suppress(ConnectionError):
                    await self.ws.pong(message.data)
            await asyncio.sleep(0)
        if message.type in _SPOKEN:
            self.read(len(message.data))
        elif isinstance(message.data, WebSocketError):
            self.listen(None)
            self.read(self.unread)
            await self.line.break_off(message.data.code)
        return message

    def listen(self, arrived: Callable[[int], None] | None) -> None:
        """Have `arrived` told of all bytes that come, and the line of the connection's end."""
        if isinstance(self.request.protocol, DoorProtocol):
            self.request.protocol.arrived = arrived
            self.request.protocol.left = self.line.hang_up


@dataclass(eq=False, slots=True)
class StreamDoor:
    """All streams of a front-door process."""

    deps: Deps
    section: StreamSection
    meter: Meter
    guesses: GuessBudget
    bodies: BodyBudget
    origins: access.KnownOrigins
    shared: Streams = field(init=False)
    _open: set[_Held] = field(default_factory=set)
    _is_parting: bool = False

    def __post_init__(self) -> None:
        section = self.section
        terms = Terms(
            section.frame_bytes_max,
            section.frames_per_s_max,
            section.frames_max,
            section.seconds_max,
            section.light_levels,
            section.gap_s_max,
        )
        self.shared = Streams(self.deps, Watch(self.deps), terms)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One stream, from its handshake to its end.

        Raises `upgrade_invalid`, `mobile_required`, `origin_refused` or `overloaded`.
        """
        start_s = perf_counter()
        self.guesses.check(request[ADDRESS])
        ws = Socket(
            protocols=(SUBPROTOCOL,),
            compress=False,
            autoping=False,
            heartbeat=self.section.heartbeat_s,
            timeout=CLOSE_S_MAX,
            max_msg_size=HEADER_BYTES + self.section.frame_bytes_max + 1,  # the first refused
            writer_limit=WRITTEN_MAX,
        )
        await self._check_handshake(request, ws)
        ws.headers.update({"X-Request-Id": request[REQUEST_ID], **SAFE_HEADERS})
        ws.headers.update(rate_limits(request[STANDING]))
        room = AddressRoom(self.bodies, request[ADDRESS])
        held = _Held(request, ws, Line(ws, request[REQUEST_ID]), room)
        self._open.add(held)
        metrics.hold_sockets(1)
        try:
            await ws.prepare(request)
            held.listen(held.arrived)
            requests.count_request(STREAM_PATH, request.method, 101, perf_counter() - start_s)
            await self._serve(held)
        finally:
            held.read(held.unread)
            self._open.discard(held)
            metrics.hold_sockets(-1)
            metrics.count_end(held.line.close_code)
            _log(held, perf_counter() - start_s)
        return ws

    async def part(self, _application: web.Application) -> None:
        """Let all clients go on elsewhere, but for those that are being judged."""
        self._is_parting = True
        for held in list(self._open):
            if held.judging is None:
                held.line.go_away()

    async def close(self, _application: web.Application) -> None:
        """Watch no longer."""
        await self.shared.watch.close()

    async def _check_handshake(self, request: web.Request, ws: Socket) -> None:
        offered = request.headers.get("Sec-WebSocket-Protocol", "")  # as aiohttp, the first alone
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            raise ServeError(Code.UPGRADE_INVALID, f"offer the subprotocol {SUBPROTOCOL}")
        if not ws.can_prepare(request):
            raise ServeError(Code.UPGRADE_INVALID, "not a WebSocket handshake, version 13")
        device.check_mobile(request)
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_own(origin):
            now_s = asyncio.get_running_loop().time()
            if not await self.origins.has(self.deps, origin, now_s):
                raise ServeError(Code.ORIGIN_REFUSED, "no tenant knows this origin")
        if self._is_parting or len(self._open) >= self.section.sockets_max:
            raise ServeError(Code.OVERLOADED, "too many streams")

    def _is_own(self, origin: str) -> bool:
        """Whether it is that of our own page."""
        url = urlsplit(self.deps.public_base_url)
        return bool(url.netloc) and origin == f"{url.scheme}://{url.netloc}"

    async def _serve(self, held: _Held) -> None:
        """Until it is closed, by whomever; whatever ends it is told, if there is still somebody."""
        try:
            start = await self._started(held)
            if start is not None:
                await self._begin(held, start)
                await self._follow(held)
        except ServeError as error:
            held.line.end(error)
        except Exception as error:  # noqa: BLE001 (the last line of defence)
            logs.write_error("defect", error, request_id=held.request[REQUEST_ID])
            held.line.end(ServeError(Code.INTERNAL_ERROR, ""))
        finally:
            if held.judging is not None:
                await held.judging
            await held.line.closed()
            self.meter.leave(held.request)
            if held.stream is not None:
                await held.stream.leave(keeps=_keeps(held.line, held.stream))

    async def _started(self, held: _Held) -> Start | None:
        """The first message; None where the client went without one.

        Raises `stream_too_slow` and `message_invalid`.
        """
        try:
            # A timeout of the library's own begins anew with every ping.
            async with asyncio.timeout(self.section.start_seconds_max):
                message = await held.hear()
        except TimeoutError:
            detail = f"say what is to start within {self.section.start_seconds_max:g} s"
            raise ServeError(Code.STREAM_TOO_SLOW, detail) from None
        if message.type is WSMsgType.TEXT:
            start = read_message(str(message.data))
            if isinstance(start, Start):
                return start
        if message.type in _SPOKEN:
            raise ServeError(Code.MESSAGE_INVALID, "the first message is a start")
        return None

    async def _begin(self, held: _Held, start: Start) -> None:
        """Find the token's session, and say hello."""
        request = held.request
        address = request[ADDRESS]
        try:
            found, now_ms = await handoff.find_handoff(self.deps, start.token)
        except ServeError as error:
            if error.code is Code.NOT_FOUND:
                self.guesses.count(address)
            raise
        check_readable(found, now_ms)
        subject = found.subject
        await self.meter.count(
            Quota.PHONE, request, subject.tenant_id, subject.mode, is_leased=False
        )
        await self._check_origin(request, found)
        held.stream = Stream(self.shared, start.token, found, held.line, held.room)
        message = await held.stream.begin(start.resume)
        if message is not None:
            held.line.tell(message)
        elif held.stream.answer is not None:
            held.line.finish(done(held.stream.answer))

    async def _check_origin(self, request: web.Request, found: Handoff) -> None:
        """Raises `origin_refused` for a page that is neither the tenant's nor ours."""
        origin = request.headers.get("Origin")
        if origin is None or self._is_own(origin):
            return
        tenant = await self.deps.directory.tenant(found.tenant_id)
        if tenant is None or origin not in tenant.seen_in(found.mode).allowed_origins:
            raise ServeError(Code.ORIGIN_REFUSED, "not an origin of the session's tenant")

    async def _follow(self, held: _Held) -> None:
        """Take messages until none come any more. Raises what is wrong with one."""
        stream = held.stream
        assert stream is not None
        while (message := await held.hear()).type in _SPOKEN:
            if held.line.is_closing:
                await asyncio.sleep(0)  # until the other side has heard why
            elif message.type is WSMsgType.BINARY:
                stream.frame(message.data)
            else:
                if isinstance(read_message(message.data), Start) or held.judging is not None:
                    raise ServeError(Code.MESSAGE_INVALID, "said before")
                stream.hand_in()
                held.judging = asyncio.create_task(self._judge(held, stream))

    async def _judge(self, held: _Held, stream: Stream) -> None:
        """Have the clip judged, and say what came of it; also where nobody listens any more."""
        subject = stream.subject
        try:
            await self.meter.count(
                Quota.SUBMIT, held.request, subject.tenant_id, subject.mode, is_leased=True
            )
            with requests.submission():
                answer = await stream.submit()
        except ServeError as error:
            held.line.end(error)
        except Exception as error:  # noqa: BLE001 (nobody awaits this task before the end)
            logs.write_error("defect", error, request_id=held.request[REQUEST_ID])
            held.line.end(ServeError(Code.INTERNAL_ERROR, ""))
        else:
            held.line.finish(done(answer))


def _keeps(line: Line, stream: Stream) -> bool:
    """Whether a stream waits to be resumed: with an answer that was not heard; where its connection
    was lost, on this door's account or another's; and where it was refused for now.
    """
    if stream.answer is not None:
        return not line.is_done
    if line.error is not None:
        code = line.error.code
        return code is Code.TOO_MANY_REQUESTS or STATUSES.get(code) == 503
    return line.close_code in _LOST


def _log(held: _Held, seconds: float) -> None:
    stream, error = held.stream, held.line.error
    logs.write(
        "stream ended",
        request_id=held.request[REQUEST_ID],
        tenant_id=None if stream is None else stream.tenant_id,
        mode=None if stream is None else stream.subject.mode,
        session_id=None if stream is None else stream.session_id,
        status=held.line.close_code,
        code=None if error is None else str(error.code),
        count=0 if stream is None else stream.frames,
        seconds=round(seconds, 3),
    )
