"""A front-door process: the HTTP API on one listening socket."""

import asyncio
import socket
import ssl

from aiohttp import web

from serve.errors import Code, ServeError
from serve.processes.lifeline import FINISH_S_MAX, Announce
from serve.processes.listening import BACKLOG
from serve.settings import Server, Settings

# A silent connection, and one that sends its request's head too slowly, is closed after this.
KEEPALIVE_S = 20.0
LINGERING_S = 2.0  # for the rest of a body that was refused


async def run_door(
    settings: Settings, listener: socket.socket, announce: Announce, stop: asyncio.Event
) -> None:
    """Answer on `listener` until `stop`; `announce` once the models are loaded."""
    application = web.Application()  # not yet: the routes are still to come
    await answer(application, listener, settings.server, announce, stop)


async def answer(
    application: web.Application,
    listener: socket.socket,
    server: Server,
    announce: Announce,
    stop: asyncio.Event,
) -> None:
    """Serve `application`; after `stop` no connection is taken and requests under way finish.

    What is not finished after `FINISH_S_MAX` seconds is cut off.
    """
    runner = web.AppRunner(
        application,
        handle_signals=False,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGERING_S,
        shutdown_timeout=FINISH_S_MAX,
    )
    await runner.setup()
    try:
        secure = tls_context(server)
        await web.SockSite(runner, listener, ssl_context=secure, backlog=BACKLOG).start()
        announce()
        await stop.wait()
    finally:
        await runner.cleanup()


def tls_context(server: Server) -> ssl.SSLContext | None:
    """TLS as the settings ask, or None for plain HTTP. Raises `setting_invalid`."""
    if server.tls_cert is None and server.tls_key is None:
        return None
    if server.tls_cert is None or server.tls_key is None:
        raise ServeError(Code.SETTING_INVALID, "server.tls_cert and tls_key belong together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise ServeError(
            Code.SETTING_INVALID, f"{server.tls_cert}, {server.tls_key}: {error.strerror}"
        ) from error
    return context
