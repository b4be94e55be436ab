"""Connections: how many there may be, how long one may stay silent, and what is not HTTP.

A connection is an open file and some kilobytes, whether or not a request ever comes on it. They
are counted as they are made, in all and by address; one too many is told 503 and closed. Of
trusted proxies only the total is counted, because all their clients share their addresses.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

from serve.api.intake.address import UNKNOWN, Network, is_trusted, nearest_untrusted
from serve.api.problem import Refusal, rendered
from serve.errors import Code, ServeError
from serve.observe import metrics

LINGERING_S = 10.0
"""Seconds for which the rest of a refused body is read away, so that its sender hears why: who
closes on a phone that is still sending takes the answer back.
"""
SHUTDOWN_S = 20.0
HEADERS_MAX = 64
REQUEST_ID_BYTES = 16
_UNREAD_OPTION = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it

Refused = Callable[[Refusal, str], web.Response]
"""The answer to an address that gets no further."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a process takes: connections in all and of one address, seconds until a head is there
    and seconds in which a client takes nothing of what it asked for.
    """

    connections_max: int
    per_address_max: int
    head_seconds_max: float
    unread_seconds_max: float
    trusted: Sequence[Network] = ()


@dataclass(slots=True)
class ConnectionBudget:
    """Connections of this process, in all and by address."""

    limits: ConnectionLimits
    held: int = 0
    _by_address: Counter[str] = field(default_factory=Counter)

    def take(self, peer: str) -> str:
        """Count a connection from the IP address `peer`; under what it is to be given back."""
        address = nearest_untrusted([peer], ())
        if is_trusted(peer, self.limits.trusted):
            address = UNKNOWN
        self.held += 1
        self._by_address[address] += 1
        metrics.hold_connections(1)
        return address

    def give(self, address: str) -> None:
        """Give a connection back."""
        self.held -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        metrics.hold_connections(-1)

    def check(self, address: str) -> None:
        """Raises `overloaded` if there is a connection too many, of this address or in all."""
        if self.held > self.limits.connections_max:
            raise ServeError(Code.OVERLOADED, "too many connections")
        if address != UNKNOWN and self._by_address[address] > self.limits.per_address_max:
            raise ServeError(Code.OVERLOADED, "too many connections from this address")


class DoorProtocol(web.RequestHandler):
    """One connection: counted while it lives; what is not HTTP gets a problem document.

    `arrived` is told of the bytes that come once it is no longer HTTP, `left` when none come more.
    """

    arrived: Callable[[int], None] | None = None
    left: Callable[[], None] | None = None

    def __init__(
        self, server: web.Server, budget: ConnectionBudget, refused: Refused, **limits: Any
    ) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._budget = budget
        self._refused = refused
        self._address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it; one too many is answered and closed before a request is read."""
        super().connection_made(transport)
        self._bound_answers(transport)
        peer = transport.get_extra_info("peername")
        self._address = self._budget.take(str(peer[0]) if isinstance(peer, tuple) else "")
        try:
            self._budget.check(self._address)
        except ServeError as error:
            metrics.count_refused_connection()
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(spoken(self._refused(Refusal(error.code, error.detail), self._address)))
            transport.close()

    def _bound_answers(self, transport: asyncio.BaseTransport) -> None:
        """Have the system end the connection of a client that does not read its answers: they
        would lie here for as long as it likes, also after we have closed.
        """
        link = transport.get_extra_info("socket")
        if link is not None and link.family != socket.AF_UNIX and _UNREAD_OPTION is not None:
            unread_ms = round(self._budget.limits.unread_seconds_max * 1_000)
            link.setsockopt(socket.IPPROTO_TCP, _UNREAD_OPTION, unread_ms)

    def data_received(self, data: bytes) -> None:
        """Count what comes to a stream, also of a message that never becomes whole."""
        if self.arrived is not None:
            self.arrived(len(data))
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give it back."""
        super().connection_lost(exc)
        if self.left is not None:
            self.left()
        self.arrived = self.left = None  # what they tell knows this connection
        if self._address is not None:
            self._budget.give(self._address)
            self._address = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 (the signature is the library's)
    ) -> web.StreamResponse:
        """Answers what broke before a handler was found: nothing of it is logged or echoed."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already") from exc
        is_theirs = status == HTTPStatus.BAD_REQUEST
        code = Code.REQUEST_MALFORMED if is_theirs else Code.INTERNAL_ERROR
        metrics.count_refusal(code)
        response = self._refused(Refusal(code), self._address or UNKNOWN)
        response.headers["Server"] = "limen"
        response.force_close()
        return response


class DoorServer(web.Server):
    """Makes the connections of `DoorRunner`."""

    def __init__(self, plain: web.Server, budget: ConnectionBudget, refused: Refused) -> None:
        super().__init__(plain.request_handler, request_factory=plain.request_factory)
        self._budget = budget
        self._refused = refused

    def __call__(self) -> DoorProtocol:
        """The protocol of a connection that is being made."""
        return DoorProtocol(
            self,
            self._budget,
            self._refused,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self._budget.limits.head_seconds_max,
            lingering_time=LINGERING_S,
            max_headers=HEADERS_MAX,
        )


class DoorRunner(web.AppRunner):
    """Serves `application` within `limits`: no access log, no decompression, short goodbyes.

    `random` gives so many random bytes, for the ids of requests that are no requests; `told` counts
    one for an address and gives the headers that tell how that stands. The caller sets it up, adds
    sites and cleans it up.
    """

    def __init__(
        self,
        application: web.Application,
        limits: ConnectionLimits,
        random: Callable[[int], bytes],
        told: Callable[[str], Mapping[str, str]],
    ) -> None:
        super().__init__(application, shutdown_timeout=SHUTDOWN_S)
        self.budget = ConnectionBudget(limits)
        self._random = random
        self._told = told

    async def _make_server(self) -> DoorServer:
        return DoorServer(await super()._make_server(), self.budget, self._refused)

    def _refused(self, refusal: Refusal, address: str) -> web.Response:
        response = rendered(refusal, f"req_{self._random(REQUEST_ID_BYTES).hex()}")
        response.headers.update(self._told(address))
        return response


def spoken(response: web.Response) -> bytes:
    """A response as it stands on the wire, the last of its connection."""
    assert isinstance(response.body, bytes)
    phrase = HTTPStatus(response.status).phrase
    headers = {
        **response.headers,
        "Server": "limen",
        "Content-Length": str(len(response.body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + response.body
