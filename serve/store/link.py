"""Connections to Redis: few, bounded, and honest about when it cannot be reached."""

import asyncio
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from serve.errors import Code, ServeError
from serve.settings import State
from serve.store.local.embedded import socket_path
from serve.turns import Turns

Link = Redis  # the stores' connections, as the composition root hands them on
CONNECTIONS_MAX = 64
RETRIES_MAX = 2  # every change carries an op_id, so a repeat does nothing twice
RETRY_FIRST_S = 0.02
RETRY_S_MAX = 0.2
RETRY_AFTER_S = 1
TRIPS_MAX = 2
TRIP_MAX = 64
TRIP_BYTES_MAX = 2**20  # beyond the first command's
WAITING_MAX = 10_000

Command = tuple[Sequence[Any], Mapping[str, Any]]
"""A command's words, and redis-py's options for its answer."""

# Refusals of a Redis that is there but cannot do its work now: full, loading, failing over.
_UNABLE = re.compile(
    r"(^|-|caused error: )"  # said at once, by a script, or of a command of a pipeline
    r"(OOM|MISCONF|READONLY|NOREPLICAS|LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN)\b"
)


class PackedInC(UnixDomainSocketConnection):
    """redis-py's asyncio connections parse with hiredis, but pack commands in Python."""

    _packer = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command on the wire."""
        packed: list[bytes] = self._packer.pack(*args)
        return packed


class DirectPool(BlockingConnectionPool):
    """A bounded pool that hands out what is free at once.

    redis-py's own way to a connection measures every wait, which costs more than the command.
    """

    async def get_connection(self, *names: Any, **options: Any) -> Any:  # noqa: ANN401
        """A connection ready to send; waited for only where none is free.

        redis-py looks whether a connection is quiet under a timeout of nothing, and a task that is
        cancelled in that moment would not hear of it: it would go on to wait for its answer.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        connection = await self._any_connection(*names, **options)
        if task and task.cancelling() > before:
            await self.release(connection)
            raise asyncio.CancelledError
        return connection

    async def _any_connection(self, *names: Any, **options: Any) -> Any:  # noqa: ANN401
        library: Any = super()  # it has no types
        if not self.can_get_connection():
            return await library.get_connection(*names, **options)
        connection = library.get_available_connection()
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection


@dataclass(frozen=True, slots=True)
class _Asked:
    """Commands that stay together, and who waits for their answers."""

    commands: Sequence[Command]
    answered: "asyncio.Future[list[Any]]"
    size_bytes: int

    def settle(self, answers: list[Any]) -> None:
        if not self.answered.done():
            self.answered.set_result(answers)

    def fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


class SharedTrips(Redis):
    """A client whose commands travel together: those that are asked for while others are under
    way go out in one write, and their answers are read together.

    A trip costs the event loop about as much for one command as for ten. No timer holds a command
    back: one of `TRIPS_MAX` trips is free, or it goes with the next.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._waiting: deque[_Asked] = deque()
        self._trips: set[asyncio.Task[None]] = set()
        self._is_leaving = False  # at the end of this pass of the event loop
        self._answers = Turns()

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """What Redis answers. Raises what redis-py raises."""
        (answer,) = await self.ask([(args, options)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that go out in this order, Redis's refusals among them.

        Raises `state_unavailable` when too many wait already, and TypeError for a word that
        cannot be sent: on its way it would take the others along.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise _unavailable("too many commands wait for it")
        loop = asyncio.get_running_loop()
        size = sum(_size_bytes(word) for words, _ in commands for word in words)
        asked = _Asked(commands, loop.create_future(), size)
        self._waiting.append(asked)
        if not self._is_leaving:
            self._is_leaving = True
            loop.call_soon(self._leave)
        return await asked.answered

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001
        """Close it once all trips have come back: one whose connection was closed under it would
        make another, which nobody closes.
        """
        while self._trips:
            await asyncio.wait(self._trips)
        await super().aclose(close_connection_pool)

    def _leave(self) -> None:
        self._is_leaving = False
        while self._waiting and len(self._trips) < TRIPS_MAX:
            self._trips.add(trip := asyncio.create_task(self._go(self._next())))
            trip.add_done_callback(self._arrive)

    def _next(self) -> list[_Asked]:
        """Who goes on the next trip."""
        going, size = [self._waiting.popleft()], 0
        while self._waiting and len(going) < TRIP_MAX:
            size += self._waiting[0].size_bytes
            if size > TRIP_BYTES_MAX:
                break
            going.append(self._waiting.popleft())
        return going

    def _arrive(self, trip: "asyncio.Task[None]") -> None:
        self._trips.discard(trip)
        self._leave()

    async def _go(self, going: Sequence[_Asked]) -> None:
        pipe: Any = self.pipeline(transaction=False)
        for asked in going:
            for args, options in asked.commands:
                pipe.pipeline_execute_command(*args, **options)
        try:
            answers = iter(await pipe.execute(raise_on_error=False))
        except Exception as error:  # noqa: BLE001 (it is theirs)
            lost = [*going]
            if isinstance(error, (RedisConnectionError, RedisTimeoutError)):
                # Tried again in vain: who waits for the next trip would only wait for the same.
                lost += self._waiting
                self._waiting.clear()
            for asked in lost:
                asked.fail(error)
            return
        for asked in going:
            self._answers.put(partial(asked.settle, [next(answers) for _ in asked.commands]))


async def ask_together(link: Redis, *commands: Sequence[Any]) -> list[Any]:
    """The answers to commands that go out in this order, in one round trip; Redis's refusals are
    among them. Raises as redis-py does.
    """
    assert isinstance(link, SharedTrips)
    return await link.ask([(command, {}) for command in commands])


def open_link(state: State) -> Redis:
    """A pool of connections to the Redis that `state` names; close it with `aclose`.

    Nothing is sent yet. Replies are bytes.
    """
    options: dict[str, Any] = {
        "socket_timeout": state.timeout_s,
        "socket_connect_timeout": state.timeout_s,
        "retry": Retry(
            ExponentialWithJitterBackoff(RETRY_S_MAX, RETRY_FIRST_S),
            RETRIES_MAX,
            (RedisConnectionError,),  # what took too long would take too long again
        ),
        "max_connections": CONNECTIONS_MAX,
        "timeout": state.timeout_s,  # of the wait for a free connection
        "decode_responses": False,
        "protocol": 2,
    }
    if state.redis_url:
        pool = DirectPool.from_url(state.redis_url, **options)
    else:
        pool = DirectPool(
            connection_class=PackedInC,
            path=str(socket_path(state.data_dir)),
            **options,
        )
    return SharedTrips.from_pool(pool)


@contextmanager
def reaching_redis() -> Iterator[None]:
    """Turns what Redis cannot do now into `state_unavailable`, around the calls to it."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise _unavailable("no answer") from error
    except ResponseError as error:
        unable = _UNABLE.search(str(error))
        if unable is None:
            raise
        raise _unavailable(unable[2]) from error


def patience_ms(link: Redis) -> int:
    """For how long a command of `link` may block in Redis: well before its answer is given up."""
    timeout_s: float = link.connection_pool.connection_kwargs["socket_timeout"]
    return max(1, round(1_000 * timeout_s / 2))


async def ping(link: Redis) -> None:
    """Raises `state_unavailable` unless Redis answers."""
    with reaching_redis():
        await link.ping()


async def server_version(link: Redis) -> tuple[int, ...]:
    """Redis's version, as (6, 2, 14). Raises `state_unavailable`."""
    with reaching_redis():
        server = await link.info("server")
    return tuple(int(part) for part in re.findall(r"\d+", str(server["redis_version"]))[:3])


async def configuration(link: Redis, *names: str) -> dict[str, str]:
    """What Redis is configured to; empty where a managed service forbids the question.

    Raises `state_unavailable`.
    """
    try:
        with reaching_redis():
            answers = [await link.config_get(name) for name in names]
    except ResponseError:
        return {}
    return {_text(name): _text(value) for answer in answers for name, value in answer.items()}


async def now_ms(link: Redis) -> int:
    """Redis's clock, the only one that records are dated by. Raises `state_unavailable`."""
    with reaching_redis():
        seconds, microseconds = await link.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def _size_bytes(word: object) -> int:
    """Of what may be large in a command. Raises TypeError for what cannot be sent."""
    if isinstance(word, bytes):
        return len(word)
    if isinstance(word, str | int | float):
        return 0
    raise TypeError(f"{type(word).__name__} in a command")


def _unavailable(why: str) -> ServeError:
    return ServeError(Code.STATE_UNAVAILABLE, f"Redis: {why}", retry_after_s=RETRY_AFTER_S)


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
