"""One child of the supervisor: started, watched, started again when it dies."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from serve.observe import logs, metrics
from serve.processes.lifeline import READY

START_S_MAX = 600.0  # models are loaded and warmed, the log of faces is replayed
CRASHES_MAX = 5
CRASHES_WINDOW_S = 60.0
BACKOFF_FIRST_S = 0.1
BACKOFF_S_MAX = 5.0
EXIT_REFUSED = 2  # a coded error, which trying again would meet again


class GaveUpError(Exception):
    """A part that cannot be kept running. `exit_status` is what the service ends with."""

    def __init__(self, part: str, exit_status: int) -> None:
        super().__init__(part, exit_status)
        self.exit_status = exit_status


class PartState(StrEnum):
    """Where one part of the service stands."""

    STARTING = "starting"
    READY = "ready"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs; its descriptors are added to `command` as options.

    `environment` is its own, None for that of all children. Without a part that is not vital the
    service goes on, once it has been ready: one that keeps dying is tried again each minute.
    """

    name: str
    command: tuple[str, ...]
    listener: socket.socket | None = None
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    is_vital: bool = True


@dataclass(slots=True)
class Crashes:
    """Deaths of one part within the last minute, and how many came in a row before it was ready."""

    part: str
    per_minute_max: int = CRASHES_MAX
    times_s: deque[float] = field(default_factory=deque)
    in_a_row: int = 0

    def delay_s(self, now_s: float, *, was_ready: bool = False) -> float:
        """Count one more; how long to wait before the next start. Raises GaveUpError.

        A part that had been ready is started again at once; one that cannot start is given time.
        """
        while self.times_s and now_s - self.times_s[0] > CRASHES_WINDOW_S:
            self.times_s.popleft()
        self.times_s.append(now_s)
        if len(self.times_s) > self.per_minute_max:
            logs.write("part keeps dying", process=self.part, count=len(self.times_s))
            raise GaveUpError(self.part, 1)
        self.in_a_row = 1 if was_ready else self.in_a_row + 1
        return min(BACKOFF_FIRST_S * 2.0 ** (self.in_a_row - 1), BACKOFF_S_MAX)


class Child:
    """A program that runs until `stop`, through as many processes as it takes."""

    def __init__(
        self,
        program: Program,
        environment: Mapping[str, str],
        lifeline_descriptor: int,
        crashes_max: int = CRASHES_MAX,
        may_start: asyncio.Event | None = None,
    ) -> None:
        """It is started only while `may_start`, of those that it cannot start without, is set."""
        self.program = program
        self._may_start = may_start
        self.state = PartState.DOWN
        self.first_ready = asyncio.Event()
        self._crashes = Crashes(program.name, crashes_max)
        own = program.environment
        self._environment = environment if own is None else own
        self._lifeline = lifeline_descriptor
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Of the running process, or of the last one."""
        return self._process.pid if self._process else 0

    async def keep(self) -> None:
        """Start it, and again whenever it dies. Raises GaveUpError for a part that is vital, or has
        never been ready; ends by being cancelled.

        A child that refuses to start the very first time is not tried again.
        """
        while True:
            if self._may_start is not None:
                await self._may_start.wait()
            status, was_ready = await self._run_once()
            if status == EXIT_REFUSED and not self.first_ready.is_set():
                raise GaveUpError(self.program.name, EXIT_REFUSED)
            logs.write("process ended", process=self.program.name, exit_status=status)
            now_s = asyncio.get_running_loop().time()
            await asyncio.sleep(self._delay_s(now_s, was_ready=was_ready))

    @property
    def is_missed(self) -> bool:
        """Whether the service is not ready for want of it."""
        can_do_without = not self.program.is_vital and self.first_ready.is_set()
        return self.state is not PartState.READY and not can_do_without

    def _delay_s(self, now_s: float, *, was_ready: bool) -> float:
        try:
            return self._crashes.delay_s(now_s, was_ready=was_ready)
        except GaveUpError:
            if self.program.is_vital or not self.first_ready.is_set():
                raise
            return CRASHES_WINDOW_S

    async def stop(self, grace_s: float) -> None:
        """Ask the running process to end; kill it after `grace_s` seconds."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            logs.write("process killed", process=self.program.name)
            process.kill()
            await process.wait()

    async def _run_once(self) -> tuple[int, bool]:
        """The exit status of one process, and whether it was ready; killed if not in time."""
        self.state = PartState.STARTING
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as announcements:
            try:
                self._process = await self._spawn(writing)
            finally:
                os.close(writing)
            try:
                async with asyncio.timeout(START_S_MAX):
                    is_ready = await _first_line(announcements) == READY
            except TimeoutError:
                logs.write("process not ready in time", process=self.program.name)
                self._process.kill()
                is_ready = False
        if is_ready:
            self.state = PartState.READY
            self.first_ready.set()
        status = await self._process.wait()
        self.state = PartState.DOWN
        metrics.forget_process(self._process.pid)
        return status, is_ready

    async def _spawn(self, announce_descriptor: int) -> asyncio.subprocess.Process:
        descriptors = {"--announce": announce_descriptor, "--lifeline": self._lifeline}
        if self.program.listener is not None:
            descriptors["--socket"] = self.program.listener.fileno()
        options = [text for name, number in descriptors.items() for text in (name, str(number))]
        return await asyncio.create_subprocess_exec(
            *self.program.command,
            *options,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=tuple(descriptors.values()),
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops us in order
        )


async def _first_line(pipe: object) -> bytes:
    """What the child writes first; empty when it ends without a word."""
    reader = asyncio.StreamReader(limit=64)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return await reader.readline()
    finally:
        transport.close()
