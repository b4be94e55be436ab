"""A front-door process: bounded connections, TLS where it is asked for."""

import asyncio
import resource
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from serve.errors import Code, ServeError
from serve.processes.door import FILES_SPARE, answer, tls_context, with_room
from serve.processes.listening import listen
from serve.settings import Server
from tests.serve.processes.certificate import make_certificate


def application() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=request.scheme)

    made = web.Application()
    made.router.add_get("/", hello)
    return made


@pytest.fixture
def certificate(tmp_path: Path) -> Server:
    """Settings that name a certificate for 127.0.0.1, made for this test."""
    cert, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    return Server(tls_cert=cert, tls_key=key)


async def asked(server: Server, scheme: str, trusted: Path | None = None) -> str:
    """The answer of a door that is opened, asked once, and stopped."""
    (listener,) = listen("127.0.0.1", 0, 1)
    ready, stop = asyncio.Event(), asyncio.Event()
    with listener:
        port = listener.getsockname()[1]
        runner = web.AppRunner(application(), handle_signals=False)
        running = asyncio.create_task(answer(runner, listener, server, ready.set, stop))
        await ready.wait()
        context = ssl.create_default_context(cafile=trusted) if trusted else True
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{scheme}://127.0.0.1:{port}/", ssl=context) as answered,
        ):
            text = await answered.text()
        stop.set()
        await running
    return text


async def test_a_door_answers_until_it_is_stopped() -> None:
    """Plain HTTP where no certificate is set."""
    assert await asked(Server(), "http") == "http"


async def test_a_door_answers_over_tls(certificate: Server) -> None:
    """With a certificate and its key the same port speaks https."""
    assert await asked(certificate, "https", certificate.tls_cert) == "https"


async def test_a_handshake_has_as_long_as_a_head(certificate: Server) -> None:
    """Who connects and says nothing of TLS is cut off."""
    hasty = certificate.model_copy(update={"head_seconds_max": 0.2})
    (listener,) = listen("127.0.0.1", 0, 1)
    ready, stop = asyncio.Event(), asyncio.Event()
    with listener:
        runner = web.AppRunner(application(), handle_signals=False)
        running = asyncio.create_task(answer(runner, listener, hasty, ready.set, stop))
        await ready.wait()
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await reader.read() == b""
        writer.close()
        stop.set()
        await running


def test_old_tls_is_refused(certificate: Server) -> None:
    """Nothing before TLS 1.2 is spoken."""
    context = tls_context(certificate)
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("missing", ["tls_cert", "tls_key"])
def test_a_certificate_needs_its_key(certificate: Server, missing: str) -> None:
    """One without the other is an invalid setting."""
    with pytest.raises(ServeError) as caught:
        tls_context(certificate.model_copy(update={missing: None}))
    assert caught.value.code is Code.SETTING_INVALID


def test_an_unreadable_certificate_is_an_invalid_setting(
    certificate: Server, tmp_path: Path
) -> None:
    """Absent or not PEM, the refusal names the file."""
    (tmp_path / "text.pem").write_text("not PEM")
    for name in ("absent.pem", "text.pem"):
        with pytest.raises(ServeError) as caught:
            tls_context(certificate.model_copy(update={"tls_cert": tmp_path / name}))
        assert caught.value.code is Code.SETTING_INVALID
        assert name in caught.value.detail


@pytest.mark.parametrize("wanted", [1, 10_000, 10**6])
def test_a_door_takes_no_more_connections_than_it_has_files(wanted: int) -> None:
    """What is asked for is taken where open files allow it; some are kept for all else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        server = with_room(Server(connections_max=wanted))
        allowed, same = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert same == hard
    assert allowed >= soft
    assert server.connections_max == min(wanted, max(1, allowed - FILES_SPARE))
