"""Small children for a supervisor: `python -m tests.serve.processes.child_program MODE ...`.

http    answers on its socket with its process id; `/slow` takes until the stop was asked for
idle    is ready and waits; so do `rest` and `calm`, by other names
deaf    is ready and never stops by itself, whatever it is told
"""

import argparse
import asyncio
import os
import signal
import socket
import time

from aiohttp import web

from serve.processes.lifeline import Announce, run_child


async def http(listener: socket.socket, announce: Announce, stop: asyncio.Event) -> None:
    async def who(_request: web.Request) -> web.Response:
        return web.Response(text=str(os.getpid()))

    async def slow(_request: web.Request) -> web.Response:
        await stop.wait()
        await asyncio.sleep(0.1)
        return web.Response(text="done")

    application = web.Application()
    application.router.add_get("/", who)
    application.router.add_get("/slow", slow)
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=20)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    announce()
    await stop.wait()
    await runner.cleanup()


async def idle(announce: Announce, stop: asyncio.Event) -> None:
    announce()
    await stop.wait()


async def deaf(announce: Announce, _stop: asyncio.Event) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    announce()
    while True:
        time.sleep(1)  # noqa: ASYNC251 (an event loop that is stuck is what this plays)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("--announce", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--socket", type=int)
    given = parser.parse_args()
    if given.mode == "http":
        with socket.socket(fileno=given.socket) as listener:
            run_child(lambda *told: http(listener, *told), given.announce, given.lifeline)
    else:
        body = {"idle": idle, "rest": idle, "calm": idle, "deaf": deaf}[given.mode]
        run_child(body, given.announce, given.lifeline, orphan_s_max=1.0)


if __name__ == "__main__":
    main()
