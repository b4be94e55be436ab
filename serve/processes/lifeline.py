"""A child's side of its supervisor: say that it is ready, stop when told to or when orphaned.

The supervisor holds the other end of a pipe and never writes to it. The pipe ends when the
supervisor does, even by `kill -9`; then the child stops as if told to, and is gone within
`ORPHAN_S_MAX` whatever its event loop is doing.
"""

import asyncio
import gc
import os
import resource
import signal
import threading
import time
from collections.abc import Awaitable, Callable

import uvloop

READY = b"ready\n"
FINISH_S_MAX = 20.0  # for requests under way when a stop is asked for
ORPHAN_S_MAX = FINISH_S_MAX + 5.0
COLLECTOR_THRESHOLDS = (10_000, 10, 10)  # new objects to a search of the youngest, and so on

Announce = Callable[[], None]
Body = Callable[[Announce, asyncio.Event], Awaitable[None]]


def run_child(
    body: Body,
    announce_descriptor: int,
    lifeline_descriptor: int,
    orphan_s_max: float = ORPHAN_S_MAX,
) -> None:
    """Run `body` until it returns, which it does soon after its event is set."""
    forbid_core_dumps()
    os.umask(0o077)

    def announce() -> None:
        quiet_collector()
        os.write(announce_descriptor, READY)
        os.close(announce_descriptor)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        answer_signals(stop)
        watching = (lifeline_descriptor, loop, stop, orphan_s_max)
        threading.Thread(target=_watch, args=watching, daemon=True).start()
        await body(announce, stop)

    uvloop.run(main())


def answer_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`, whoever else had a handler."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        loop.add_signal_handler(number, stop.set)


def quiet_collector() -> None:
    """Leave what is there at the start out of every later search for cycles, and search seldom:
    a full search takes tens of milliseconds, in which a process answers nobody.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def forbid_core_dumps() -> None:
    """A core file would hold faces and keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_open_files(wanted: int) -> int:
    """Raise this process's limit on open files towards `wanted`; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        return ceiling
    return wanted if soft == resource.RLIM_INFINITY else soft


def _watch(
    descriptor: int, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, orphan_s_max: float
) -> None:
    os.read(descriptor, 1)  # returns at the end of the pipe
    loop.call_soon_threadsafe(stop.set)
    time.sleep(orphan_s_max)
    os._exit(1)
