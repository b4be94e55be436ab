"""A front-door process: the HTTP API on one listening socket."""

import asyncio
import socket
import ssl
from contextlib import suppress

from aiohttp import web

from serve.api.application import build_application, build_runner
from serve.app import open_deps
from serve.errors import Code, ServeError
from serve.flows.jobs import run_jobs
from serve.flows.search.screen import run_screenings
from serve.processes.lifeline import Announce, allow_open_files
from serve.processes.listening import BACKLOG
from serve.settings import Server, Settings

PARTING_S = 1.0
POLL_S = 0.02
FILES_SPARE = 512
"""Open files for everything but clients: Redis, the engine, models, logs."""


async def run_door(
    settings: Settings, listener: socket.socket, announce: Announce, stop: asyncio.Event
) -> None:
    """Answer on `listener` until `stop`; `announce` once the models are loaded.

    Submissions that were accepted for later are judged here as well, and searches that are owed
    are made: here are the models and the index.
    """
    async with open_deps(settings, supervised=True) as deps, asyncio.TaskGroup() as tasks:
        tasks.create_task(run_jobs(deps, stop))
        tasks.create_task(run_screenings(deps, stop))
        server = with_room(settings.server)
        runner = build_runner(build_application(deps, settings), server)
        await answer(runner, listener, settings.server, announce, stop)


async def answer(
    runner: web.AppRunner,
    listener: socket.socket,
    server: Server,
    announce: Announce,
    stop: asyncio.Event,
) -> None:
    """Serve on `listener`; after `stop` no connection is taken and requests under way finish,
    within the runner's time for it.

    Whoever has a connection by then may be about to send a request on it. It is answered, and the
    last on its connection, for a second before silent connections are closed.
    """

    async def part(_request: web.Request, response: web.StreamResponse) -> None:
        if stop.is_set():
            response.headers["Connection"] = "close"
            response.force_close()

    runner.app.on_response_prepare.append(part)
    await runner.setup()
    try:
        secure = tls_context(server)
        assert runner.server is not None
        accepting = await asyncio.get_running_loop().create_server(
            runner.server,
            sock=listener,
            ssl=secure,
            backlog=BACKLOG,
            ssl_handshake_timeout=None if secure is None else server.head_seconds_max,
        )
        try:
            announce()
            await stop.wait()
        finally:
            accepting.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING_S):
                while runner.server is not None and runner.server.connections:  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
    finally:
        await runner.cleanup()


def with_room(server: Server) -> Server:
    """`server` with no more connections than this process may have open files."""
    files_max = allow_open_files(server.connections_max + FILES_SPARE)
    connections_max = max(1, min(server.connections_max, files_max - FILES_SPARE))
    return server.model_copy(update={"connections_max": connections_max})


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
