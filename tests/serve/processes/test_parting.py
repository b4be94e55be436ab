"""How a front door parts from those who still have a connection when it is told to end."""

import asyncio

from aiohttp import web

from serve.processes.door import answer
from serve.processes.listening import listen
from serve.settings import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def greet(_request: web.Request) -> web.Response:
    """An answer."""
    return web.Response(text="here")


async def test_a_request_on_a_kept_connection_is_answered_and_the_last() -> None:
    """Asked again on the same connection, or for the first time on a new one, after the stop: it
    answers, says that it parts, and ends.
    """
    application = web.Application()
    application.router.add_get("/", greet)
    (listener,) = listen("127.0.0.1", 0, 1)
    ready, stop = asyncio.Event(), asyncio.Event()
    with listener:
        runner = web.AppRunner(application, handle_signals=False)
        running = asyncio.create_task(answer(runner, listener, Server(), ready.set, stop))
        async with asyncio.timeout(30):
            await ready.wait()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(REQUEST)
            kept = await reader.readuntil(b"here")
            fresh_reader, fresh_writer = await asyncio.open_connection(*listener.getsockname())
            while runner.server is None or len(runner.server.connections) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)  # until the door has taken it
            stop.set()
            await asyncio.sleep(0)
            for each in (writer, fresh_writer):
                each.write(REQUEST)
            last, first = await reader.read(), await fresh_reader.read()
            await running
        for each in (writer, fresh_writer):
            each.close()
    assert b"close" not in kept.lower()
    for said in (last, first):
        assert said.endswith(b"here")
        assert b"connection: close" in said.lower()
