"""The parent of all: keeps the parts running, stops them in order, leaves nothing behind."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from serve.errors import ServeError
from serve.observe import logs
from serve.processes.child import CRASHES_MAX, Child, Crashes, GaveUpError, PartState, Program
from serve.processes.lifeline import ORPHAN_S_MAX
from serve.store.local.embedded import OwnedServer

STOP_S_MAX = ORPHAN_S_MAX
ROOM_POLL_S = 1.0


class Supervisor:
    """The children of one service and, where it is embedded, its Redis."""

    def __init__(
        self,
        programs: Sequence[Program],
        environment: Mapping[str, str],
        server: OwnedServer | None = None,
        *,
        crashes_max: int = CRASHES_MAX,
    ) -> None:
        """`crashes_max` is how often one part may die within a minute."""
        reading, self._lifeline = os.pipe()
        self._reading = reading
        self._server = server
        self._server_state = PartState.READY
        self._programs = programs
        self._server_crashes = Crashes("redis", crashes_max)
        self._server_is_up = asyncio.Event()
        self._server_is_up.set()
        self.children = [
            Child(each, environment, reading, crashes_max, self._server_is_up) for each in programs
        ]
        self.is_stopping = False

    async def run(self, stop: asyncio.Event) -> int:
        """Keep every part running until `stop`; the exit status, 0 for a stop as asked.

        1 after a crash loop, 2 when a part refused its first start.
        """
        keepers = [asyncio.create_task(child.keep()) for child in self.children]
        if self._server is not None:
            keepers.append(asyncio.create_task(self._keep_server(self._server)))
        asked = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*keepers, asked], return_when=asyncio.FIRST_COMPLETED)
            return _exit_status(keepers)
        finally:
            self.is_stopping = True
            for task in (*keepers, asked):
                task.cancel()
            await asyncio.gather(*keepers, asked, return_exceptions=True)
            await self._stop_children()

    async def until_ready(self) -> None:
        """Wait until every child has been ready once."""
        for child in self.children:
            await child.first_ready.wait()

    def parts(self) -> dict[str, PartState]:
        """Every part by name, but for Redis where it is not ours."""
        found = {child.program.name: child.state for child in self.children}
        return found if self._server is None else {"redis": self._server_state, **found}

    def is_ready(self) -> bool:
        """Whether no child is missed; Redis apart."""
        return not any(child.is_missed for child in self.children)

    def close(self) -> None:
        """Let go of the lifeline: children that are still there stop by themselves."""
        os.close(self._lifeline)
        os.close(self._reading)

    async def _stop_children(self) -> None:
        """Listeners first: whoever connects now is refused, not left waiting."""
        for program in self._programs:
            if program.listener is not None:
                program.listener.close()
        await asyncio.gather(*(child.stop(STOP_S_MAX) for child in self.children))

    async def _keep_server(self, server: OwnedServer) -> None:
        """Start it again whenever it ends. On a full disk it ends at every write and would in
        vain be started: it is waited for room instead, and those ends do not count.
        """
        while True:
            status = await server.wait()
            logs.write("process ended", process="redis", exit_status=status)
            now_s = asyncio.get_running_loop().time()
            was_ready, self._server_state = self._server_state is PartState.READY, PartState.DOWN
            self._server_is_up.clear()  # no child could start without it
            if await server.has_room():
                await asyncio.sleep(self._server_crashes.delay_s(now_s, was_ready=was_ready))
            else:
                logs.write("no room on the disk", level=logging.ERROR, process="redis")
                while not await server.has_room():  # noqa: ASYNC110 (nobody tells of it)
                    await asyncio.sleep(ROOM_POLL_S)
            try:
                await server.start()
                self._server_state = PartState.READY
                self._server_is_up.set()
            except ServeError as error:  # its end counts as one more
                logs.write(
                    "process not started", level=logging.ERROR, process="redis", code=error.code
                )


@asynccontextmanager
async def stopped_by_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _exit_status(keepers: Sequence[asyncio.Task[None]]) -> int:
    for keeper in keepers:
        if keeper.done():
            error = keeper.exception()
            if isinstance(error, GaveUpError):
                return error.exit_status
            if error is not None:
                raise error
    return 0
