"""The supervisor: every part kept running, stopped in order, given up when it must be."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from serve.processes.child import CRASHES_MAX, EXIT_REFUSED, PartState, Program
from serve.processes.listening import listen
from serve.processes.supervisor import Supervisor, stopped_by_signals
from serve.store.local.embedded import OwnedServer, own_embedded

DEADLINE_S = 60.0
IDLE = (sys.executable, "-m", "tests.serve.processes.child_program", "idle")
HTTP = (sys.executable, "-m", "tests.serve.processes.child_program", "http")
CRASH = (sys.executable, "-c", "raise SystemExit(1)")
REFUSE = (sys.executable, "-c", "raise SystemExit(2)")


@asynccontextmanager
async def running(
    *programs: Program, server: OwnedServer | None = None
) -> AsyncIterator[tuple[Supervisor, asyncio.Event, "asyncio.Task[int]"]]:
    """A supervisor of these programs; it has ended when the block has."""
    supervisor = Supervisor(programs, os.environ, server)
    stop = asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield supervisor, stop, task
            stop.set()
            await task
    finally:
        supervisor.close()


async def test_a_stop_ends_every_child() -> None:
    """No process is left, the parts are known to stop, and the exit status is 0."""
    async with running(Program("a", IDLE), Program("b", IDLE)) as (supervisor, stop, task):
        await supervisor.until_ready()
        assert supervisor.parts() == {"a": PartState.READY, "b": PartState.READY}
        pids = [child.pid for child in supervisor.children]
        stop.set()
        assert await task == 0
        assert supervisor.is_stopping
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)  # noqa: ASYNC240


async def test_a_crash_loop_ends_the_service() -> None:
    """One part that keeps dying takes the others down in order, with exit status 1."""
    async with running(Program("a", IDLE), Program("b", CRASH)) as (supervisor, _, task):
        assert await task == 1
        assert not Path(f"/proc/{supervisor.children[0].pid}").exists()  # noqa: ASYNC240


async def test_a_part_that_is_not_vital_may_die_as_often_as_it_likes() -> None:
    """Once it has been ready the service goes on without it, and is ready."""
    side = Program("side", IDLE, is_vital=False)
    async with running(Program("a", IDLE), side) as (supervisor, _, task):
        await supervisor.until_ready()
        child = supervisor.children[1]
        for _ in range(CRASHES_MAX + 1):
            while supervisor.parts()["side"] is not PartState.READY:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            while supervisor.parts()["side"] is PartState.READY:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert supervisor.is_ready()
        assert supervisor.parts() == {"a": PartState.READY, "side": PartState.DOWN}
        assert not task.done()


async def test_a_part_that_never_starts_ends_the_service_all_the_same() -> None:
    """One that is not vital, but has never been ready."""
    side = Program("side", CRASH, is_vital=False)
    async with running(Program("a", IDLE), side) as (supervisor, _, task):
        assert await task == 1
        assert not supervisor.is_ready()


async def test_a_refused_start_ends_the_service() -> None:
    """A part that met a coded error ends the service with the exit status of a refusal."""
    async with running(Program("a", IDLE), Program("b", REFUSE)) as (_, _, task):
        assert await task == EXIT_REFUSED


async def test_requests_under_way_are_finished() -> None:
    """A stop takes no new connection, and answers what was asked before."""
    with ExitStack() as opened:
        (listener,) = (opened.enter_context(each) for each in listen("127.0.0.1", 0, 1))
        address = listener.getsockname()
        async with running(Program("door", HTTP, listener)) as (supervisor, stop, task):
            await supervisor.until_ready()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
            await writer.drain()
            await ask(address)  # by now the first request has been read as well
            stop.set()
            assert await task == 0
            assert (await reader.read()).endswith(b"done")
            writer.close()
            await writer.wait_closed()
        assert listener.fileno() == -1


async def test_connections_wait_while_a_door_restarts() -> None:
    """Nobody is refused: the socket outlives the process that answered on it."""
    with ExitStack() as opened:
        (listener,) = (opened.enter_context(each) for each in listen("127.0.0.1", 0, 1))
        address = listener.getsockname()
        async with running(Program("door", HTTP, listener)) as (supervisor, _, _):
            await supervisor.until_ready()
            first = await ask(address)
            os.kill(int(first), signal.SIGKILL)
            await gone(int(first))
            assert await ask(address) not in {b"", first}


async def test_redis_is_started_again(tmp_path: Path) -> None:
    """Killed as often as a crash loop allows, it comes back, with the same records."""
    async with own_embedded(tmp_path) as server, running(server=server) as (supervisor, _, task):
        for _ in range(CRASHES_MAX - 2):
            before = server.pid
            os.kill(before, signal.SIGKILL)
            while server.pid == before or is_down(supervisor):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not task.done()


async def test_redis_waits_for_room_however_often_it_ends(tmp_path: Path) -> None:
    """While the disk is full Redis is not started and nothing else is; no end of it counts, so
    the service is there when there is room again.
    """
    async with own_embedded(tmp_path) as server:
        full = FullDisk(server)
        async with running(Program("a", IDLE), server=full) as (supervisor, _, task):
            await supervisor.until_ready()
            child = supervisor.children[0]
            for _ in range(CRASHES_MAX + 2):
                before, full.is_full = server.pid, True
                os.kill(before, signal.SIGKILL)
                while not is_down(supervisor):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert server.pid == before
                full.is_full = False
                while is_down(supervisor):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            full.is_full = True
            os.kill(server.pid, signal.SIGKILL)
            while not is_down(supervisor):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            gone = child.pid
            while supervisor.parts()["a"] is not PartState.DOWN:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            full.is_full = False
            while supervisor.parts()["a"] is not PartState.READY:
                assert child.pid == gone or not is_down(supervisor)
                await asyncio.sleep(0.01)
            assert not task.done()


class FullDisk(OwnedServer):
    """A server whose disk is full when the test says so."""

    def __init__(self, server: OwnedServer) -> None:
        self._server = server
        self.is_full = False

    async def has_room(self) -> bool:
        return not self.is_full

    async def start(self) -> None:
        await self._server.start()

    async def wait(self) -> int:
        return await self._server.wait()


async def test_signals_ask_for_a_stop() -> None:
    """SIGTERM and SIGINT set the event, and only while the block runs."""
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        async with stopped_by_signals() as stop, asyncio.timeout(DEADLINE_S):
            os.kill(os.getpid(), number)
            await stop.wait()
        assert signal.getsignal(number) == before


def is_down(supervisor: Supervisor) -> bool:
    """Whether Redis does not answer as far as the supervisor knows."""
    return supervisor.parts()["redis"] is not PartState.READY


async def ask(address: tuple[str, int]) -> bytes:
    """The body of an answer on a connection of its own."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        return (await reader.read()).rpartition(b"\r\n\r\n")[2]
    finally:
        writer.close()
        await writer.wait_closed()


async def gone(pid: int) -> None:
    """Wait until a process has been reaped."""
    while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.01)
