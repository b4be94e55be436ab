"""The `Sender` port over aiohttp: one signed POST, bounded in time and in what is read back.

Signed as Standard Webhooks 1.0 says, with the time of this attempt. A redirect is a failure: a
callback goes to the URL the tenant registered and nowhere else. Nothing of the tenant's URL,
name or reply is kept; what went wrong is one of a closed set of words.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from time import perf_counter

import aiohttp
from aiohttp.abc import AbstractResolver
from standardwebhooks import Webhook

from serve.domain.callback import CallbackEvent, Delivery, DeliveryAttempt
from serve.domain.tenancy.tenant import SigningSecret
from serve.outbound.guard import MakeSocket, guarded_sockets
from serve.outbound.resolver import ThreadResolver
from serve.settings import Callbacks

CONNECT_S_MAX = 5.0
IDLE_S_MAX = 1.0  # of a connection; less than any receiver waits before it closes one
REPLY_BYTES_MAX = 4_096
REPLY_S_MAX = 1.0
USER_AGENT = "Limen"


class SendError(StrEnum):
    """Why no answer came."""

    SECRET_MISSING = "secret_missing"  # noqa: S105 (a word)
    URL_INVALID = "url_invalid"
    ADDRESS_REFUSED = "address_refused"
    NAME_UNRESOLVED = "name_unresolved"
    TLS_FAILED = "tls_failed"
    CONNECTION_FAILED = "connection_failed"
    CONNECTION_LOST = "connection_lost"
    TIMEOUT = "timeout"
    ANSWER_INVALID = "answer_invalid"


@asynccontextmanager
async def open_sender(
    settings: Callbacks,
    resolver: AbstractResolver | None = None,
    make_socket: MakeSocket = socket.socket,
) -> AsyncIterator["HttpSender"]:
    """A sender with its own connections, closed at the end. One is enough for a process.

    `make_socket` is asked for a socket once its address has passed the guard.
    """
    resolver = resolver or ThreadResolver()
    connector = aiohttp.TCPConnector(
        ssl=ssl.create_default_context(),
        resolver=resolver,
        use_dns_cache=False,
        keepalive_timeout=IDLE_S_MAX,  # a connection that is used again has passed the guard
        limit=settings.inflight_max,
        socket_factory=guarded_sockets(
            allow_private=settings.allow_private, make_socket=make_socket
        ),
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),  # no receiver's cookie goes to another
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S_MAX),
        trust_env=False,
        auto_decompress=False,
        read_bufsize=REPLY_BYTES_MAX,
    )
    try:
        async with session:
            yield HttpSender(session, settings.timeout_s)
    finally:
        await resolver.close()


class HttpSender:
    """Posts callbacks; take one from `open_sender`. `timeout_s` bounds one attempt in all."""

    def __init__(self, session: aiohttp.ClientSession, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s

    async def send(
        self, event: CallbackEvent, secrets: Sequence[SigningSecret], at_ms: int
    ) -> Delivery:
        """One attempt, signed with every one of `secrets`; without any it is not made."""
        start = perf_counter()
        if not secrets:
            return _delivery(at_ms, start, error=SendError.SECRET_MISSING)
        headers = headers_of(event, secrets, at_ms)
        answer: aiohttp.ClientResponse | None = None
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.post(
                    event.url, data=event.body.encode(), headers=headers, allow_redirects=False
                ) as answer,
            ):
                await _read_a_little(answer)
        except (aiohttp.ClientError, OSError, ValueError) as caught:
            if answer is None:
                return _delivery(at_ms, start, error=_named(caught))
        assert answer is not None
        return _delivery(at_ms, start, answer)


def _delivery(
    at_ms: int,
    start: float,
    answer: aiohttp.ClientResponse | None = None,
    error: SendError | None = None,
) -> Delivery:
    attempt = DeliveryAttempt(
        at_ms=at_ms,
        duration_ms=round((perf_counter() - start) * 1000),
        status=None if answer is None else answer.status,
        error=error or "",
    )
    wish = None if answer is None else answer.headers.get("Retry-After")
    return Delivery(attempt, retry_after_s(wish, at_ms))


def headers_of(
    event: CallbackEvent, secrets: Sequence[SigningSecret], at_ms: int
) -> Mapping[str, str]:
    """The headers of an attempt made at `at_ms`, with one signature for each secret."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    signatures = [
        Webhook(secret.secret).sign(msg_id=event.id, timestamp=at, data=event.body)
        for secret in secrets
    ]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": event.id,
        "webhook-timestamp": str(at_ms // 1000),
        "webhook-signature": " ".join(signatures),
        "limen-sequence": str(event.sequence),
    }


def retry_after_s(value: str | None, now_ms: int) -> int | None:
    """Seconds to wait, of a `Retry-After` in seconds or as a date; None for anything else."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        wished = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0, round(wished - now_ms / 1000))


async def _read_a_little(response: aiohttp.ClientResponse) -> None:
    """Takes the start of the reply off the wire, so that a receiver sees no reset.

    The status line has decided already: a body that never ends changes nothing.
    """
    room = REPLY_BYTES_MAX
    with suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(REPLY_S_MAX):
            while room > 0 and (chunk := await response.content.read(room)):
                room -= len(chunk)


def _named(error: Exception) -> SendError:
    """The word for an exception of aiohttp's, the most specific first."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno == errno.EACCES:
        return SendError.ADDRESS_REFUSED
    return next(word for kind, word in _WORDS if isinstance(error, kind))


_WORDS: tuple[tuple[type[Exception], SendError], ...] = (
    (TimeoutError, SendError.TIMEOUT),
    (aiohttp.ClientConnectorDNSError, SendError.NAME_UNRESOLVED),
    (aiohttp.ClientSSLError, SendError.TLS_FAILED),
    (aiohttp.ClientConnectorError, SendError.CONNECTION_FAILED),
    (aiohttp.ClientOSError, SendError.CONNECTION_LOST),
    (aiohttp.ServerDisconnectedError, SendError.CONNECTION_LOST),
    (aiohttp.InvalidURL, SendError.URL_INVALID),
    (aiohttp.ClientError, SendError.ANSWER_INVALID),
    (OSError, SendError.CONNECTION_LOST),
    (ValueError, SendError.URL_INVALID),
)
