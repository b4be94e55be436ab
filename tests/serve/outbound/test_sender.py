"""One attempt at a callback: signed, bounded, and never an exception of the other side's."""

import asyncio
import ssl
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET, socket

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from serve.domain.callback import CallbackEvent, Delivery
from serve.domain.tenancy.tenant import SigningSecret
from serve.outbound.sender import REPLY_BYTES_MAX, SendError, open_sender, retry_after_s
from serve.settings import Callbacks
from tests.helpers.receivers import Posted, answering, receiver, talking
from tests.helpers.records import a_callback, a_session
from tests.serve.processes.certificate import make_certificate

OLD, NEW = (f"whsec_{letter * 32}" for letter in "AB")
NOW_MS = 1_763_700_000_000
LOCAL = Callbacks(allow_private=True, timeout_s=10)
HASTY = Callbacks(allow_private=True, timeout_s=0.3)


def secrets(*texts: str) -> Sequence[SigningSecret]:
    return [SigningSecret(secret=text, created_at_ms=0) for text in texts or (NEW,)]


def callback(url: str) -> CallbackEvent:
    return a_callback(a_session(), url=url, sequence=7)


async def sent(url: str, settings: Callbacks = LOCAL, at_ms: int = NOW_MS) -> Delivery:
    """What one attempt at `url` comes to."""
    async with open_sender(settings) as sender:
        return await sender.send(callback(url), secrets(), at_ms)


def verified(posted: Posted, secret: str = NEW) -> object:
    """The body, by the verifier that receivers use."""
    return Webhook(secret).verify(posted.body, dict(posted.headers))


async def test_a_callback_arrives_signed() -> None:
    """Body, headers and signature are what Standard Webhooks says."""
    at_ms = time.time_ns() // 10**6
    async with receiver() as tenant:
        delivery = await sent(tenant.url, at_ms=at_ms)
    assert (delivery.attempt.status, delivery.attempt.error) == (204, "")
    assert delivery.attempt.at_ms == at_ms
    (posted,) = tenant.posted
    event = callback(tenant.url)
    assert posted.body == event.body
    assert isinstance(verified(posted), dict)
    assert posted.headers["webhook-id"] == event.id
    assert posted.headers["webhook-timestamp"] == str(at_ms // 1000)
    assert posted.headers["limen-sequence"] == "7"
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["user-agent"] == "Limen"
    assert not {"cookie", "authorization", "referer"} & set(posted.headers)


async def test_while_secrets_overlap_both_sign() -> None:
    """A receiver that knows only the old or only the new secret accepts the same request."""
    async with receiver() as tenant, open_sender(LOCAL) as sender:
        at_ms = time.time_ns() // 10**6
        await sender.send(callback(tenant.url), secrets(NEW, OLD), at_ms)
    (posted,) = tenant.posted
    assert len(posted.headers["webhook-signature"].split(" ")) == 2
    assert verified(posted, NEW) == verified(posted, OLD)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verified(posted, f"whsec_{'C' * 32}")


async def test_a_connection_that_passed_the_guard_is_used_again() -> None:
    """Callbacks that follow closely on one another share a connection."""
    peers = []

    async def noting(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response()

    async with receiver(noting) as tenant, open_sender(LOCAL) as sender:
        for _ in range(3):
            await sender.send(callback(tenant.url), secrets(), NOW_MS)
    assert (len(peers), len(set(peers))) == (3, 1)


@pytest.mark.parametrize(("skew_s", "accepted"), [(-301, False), (-290, True), (330, False)])
async def test_an_attempt_out_of_its_time_is_rejected(skew_s: int, accepted: bool) -> None:
    """The signature covers the time of the attempt: a replay five minutes later fails."""
    async with receiver() as tenant:
        await sent(tenant.url, at_ms=time.time_ns() // 10**6 + skew_s * 1000)
    (posted,) = tenant.posted
    if accepted:
        assert verified(posted)
    else:
        with pytest.raises(WebhookVerificationError, match="timestamp too"):
            verified(posted)


async def test_without_a_secret_nothing_is_sent() -> None:
    """A callback that nobody could verify does not leave."""
    async with receiver() as tenant, open_sender(LOCAL) as sender:
        delivery = await sender.send(callback(tenant.url), [], NOW_MS)
    assert (delivery.attempt.status, delivery.attempt.error) == (None, SendError.SECRET_MISSING)
    assert tenant.posted == []


@pytest.mark.parametrize("status", [200, 202, 404, 410, 429, 500, 503])
async def test_the_status_is_told(status: int) -> None:
    """Whatever the receiver answers is the attempt's status, and no error."""
    async with receiver(answering(status)) as tenant:
        delivery = await sent(tenant.url)
    assert (delivery.attempt.status, delivery.attempt.error) == (status, "")
    assert len(tenant.posted) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """A redirect is the answer; where it leads hears nothing."""
    async with receiver() as inside, receiver(answering(status, Location=inside.url)) as tenant:
        delivery = await sent(tenant.url)
    assert delivery.attempt.status == status
    assert inside.posted == []


async def test_no_cookie_is_kept() -> None:
    """What one receiver sets, no later request carries."""
    setting = answering(200, **{"Set-Cookie": "a=b; Path=/"})
    async with receiver(setting) as tenant, open_sender(LOCAL) as sender:
        for _ in range(2):
            await sender.send(callback(tenant.url), secrets(), NOW_MS)
    assert ["cookie" in posted.headers for posted in tenant.posted] == [False, False]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), ("0", 0), ("120", 120), ("9" * 5_000, 999_999_999), ("-1", None),
        ("1.5", None), ("²", None), ("soon", None), ("", None),
        ("Fri, 21 Nov 2025 04:42:00 GMT", 120), ("Fri, 21 Nov 2025 04:39:00 GMT", 0),
        ("Fri, 99 Nov 2025 04:42:00 GMT", None), ("Fri, 21 Nov 99999 04:42:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value: str | None, expected: int | None) -> None:
    """Both forms of the header are read, and nonsense is no wish."""
    assert retry_after_s(value, NOW_MS) == expected


async def test_the_receiver_s_wish_is_told() -> None:
    """A refusal with `Retry-After` carries it."""
    async with receiver(answering(429, **{"Retry-After": "77"})) as tenant:
        delivery = await sent(tenant.url)
    assert (delivery.attempt.status, delivery.retry_after_s) == (429, 77)


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """One byte at a time, for ever."""
    while True:
        for value in data:
            writer.write(bytes([value]))
            await writer.drain()
            await asyncio.sleep(0.01)


async def test_a_receiver_that_never_answers_is_given_up() -> None:
    """Silence ends in a timeout."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(silent) as url:
        delivery = await sent(url, HASTY)
    assert (delivery.attempt.status, delivery.attempt.error) == (None, SendError.TIMEOUT)


async def test_a_trickled_head_is_given_up() -> None:
    """Bytes that keep coming do not extend an attempt."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await trickle(writer, b"a: b\r\n")

    async with talking(slow) as url:
        delivery = await sent(url, HASTY)
    assert (delivery.attempt.status, delivery.attempt.error) == (None, SendError.TIMEOUT)


async def test_a_trickled_body_changes_no_answer() -> None:
    """Once the status line is in, the rest is not waited for."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n")
        await trickle(writer, b"1\r\na\r\n")

    async with talking(slow) as url:
        delivery = await sent(url, HASTY)
    assert (delivery.attempt.status, delivery.attempt.error) == (201, "")


async def test_an_endless_body_is_not_read() -> None:
    """A reply without an end costs a few kilobytes, whatever the other side pours."""
    poured = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal poured
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * REPLY_BYTES_MAX)
            await writer.drain()
            poured += REPLY_BYTES_MAX

    async with talking(pour) as url:
        delivery = await sent(url)
    assert delivery.attempt.status == 200
    assert poured < 64 * 2**20  # what the sockets' buffers took; it would go on for ever


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", SendError.CONNECTION_LOST),
        (b"HTTP/1.1 200", SendError.CONNECTION_LOST),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", SendError.ANSWER_INVALID),
        (b"HTTP/1.1 999999 No\r\n\r\n", SendError.ANSWER_INVALID),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", SendError.ANSWER_INVALID),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", SendError.ANSWER_INVALID),
    ],
)
async def test_a_broken_answer_has_a_name(reply: bytes, error: SendError) -> None:
    """Whatever comes back instead of HTTP is one word, never an exception."""

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    async with talking(broken) as url:
        delivery = await sent(url)
    assert (delivery.attempt.status, delivery.attempt.error) == (None, error)


async def test_a_reset_has_a_name() -> None:
    """A connection cut off by the other side is lost, not failed."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = writer.get_extra_info("socket")
        link.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with talking(reset) as url:
        delivery = await sent(url)
    assert delivery.attempt.error == SendError.CONNECTION_LOST


async def test_a_closed_port_and_an_unknown_name_are_told_apart() -> None:
    """Nobody listening and nobody there are two words."""
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it
        port = taken.getsockname()[1]
        closed = await sent(f"http://127.0.0.1:{port}/")
    unknown = await sent("https://no-such-name.invalid/")
    assert closed.attempt.error == SendError.CONNECTION_FAILED
    assert unknown.attempt.error == SendError.NAME_UNRESOLVED


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://tenant.example/", "http://127.1/", "http://[/", "http://a:b/"]
)
async def test_a_url_that_is_none_has_a_name(url: str) -> None:
    """A record with a URL that cannot be used ends in a word as well."""
    delivery = await sent(url)
    assert delivery.attempt.error in {SendError.URL_INVALID, SendError.ANSWER_INVALID}


async def test_private_addresses_are_refused_by_default() -> None:
    """Without the setting a receiver on loopback hears nothing, and the attempt says why."""
    async with receiver() as tenant:
        delivery = await sent(tenant.url, Callbacks())
        named = await sent(tenant.url.replace("127.0.0.1", "localhost"), Callbacks())
    assert delivery.attempt.error == SendError.ADDRESS_REFUSED
    assert named.attempt.error == SendError.ADDRESS_REFUSED
    assert tenant.posted == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback goes to its receiver, whatever the operator's shell says."""
    async with receiver(answering(500)) as proxy, receiver() as tenant:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        delivery = await sent(tenant.url)
    assert delivery.attempt.status == 204
    assert proxy.posted == []


async def test_nothing_of_the_receiver_is_kept() -> None:
    """The record of an attempt names neither URL nor reply."""
    failed = await sent("http://127.0.0.1:1/secret-path")
    async with receiver(answering(500, **{"X-Secret": "reply"})) as tenant:
        refused = await sent(tenant.url)
    for delivery in (failed, refused):
        text = repr(delivery)
        assert "127.0.0.1" not in text
        assert "secret" not in text.lower()


async def test_a_cancelled_attempt_is_cancelled() -> None:
    """Stopping the worker is not mistaken for a failure of the receiver's."""
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()

    async with talking(silent) as url, open_sender(LOCAL) as sender:
        attempt = asyncio.create_task(sender.send(callback(url), secrets(), NOW_MS))
        await reached.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt


@pytest.mark.parametrize(
    ("name", "trusted", "error"),
    [
        ("127.0.0.1", True, ""),
        ("127.0.0.1", False, SendError.TLS_FAILED),
        ("other.example", True, SendError.TLS_FAILED),
    ],
)
async def test_tls_is_verified(
    name: str, trusted: bool, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate nobody vouches for, or of another name, ends the attempt unsent."""
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert_file, key_file, name)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert_file, key_file)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(cert_file))
    async with receiver(tls=tls) as tenant:
        delivery = await sent(tenant.url)
    assert delivery.attempt.error == error
    assert len(tenant.posted) == (0 if error else 1)
