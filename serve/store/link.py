"""Connections to Redis: few, bounded, and honest about when it cannot be reached."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
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
from serve.store.embedded import socket_path

Link = Redis  # the stores' connections, as the composition root hands them on
CONNECTIONS_MAX = 64
RETRIES_MAX = 2  # every change carries an op_id, so a repeat does nothing twice
RETRY_FIRST_S = 0.02
RETRY_S_MAX = 0.2
RETRY_AFTER_S = 1

# Refusals of a Redis that is there but cannot do its work now: full, loading, failing over.
_UNABLE = re.compile(
    r"(^|-)(OOM|MISCONF|READONLY|NOREPLICAS|LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN)\b"
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
        """A connection ready to send; waited for only where none is free."""
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


def open_link(state: State) -> Redis:
    """A pool of connections to the Redis that `state` names; close it with `aclose`.

    Nothing is sent yet. Replies are bytes.
    """
    options: dict[str, Any] = {
        "socket_timeout": state.timeout_s,
        "socket_connect_timeout": state.timeout_s,
        "retry": Retry(ExponentialWithJitterBackoff(RETRY_S_MAX, RETRY_FIRST_S), RETRIES_MAX),
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
    return Redis.from_pool(pool)


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


def _unavailable(why: str) -> ServeError:
    return ServeError(Code.STATE_UNAVAILABLE, f"Redis: {why}", retry_after_s=RETRY_AFTER_S)


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
