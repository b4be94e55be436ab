"""Connections: bounded, and honest about a Redis that cannot work."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from serve.errors import Code, ServeError
from serve.settings import State
from serve.store.link import (
    configuration,
    now_ms,
    open_link,
    ping,
    reaching_redis,
    server_version,
)


async def test_a_link_reaches_the_embedded_redis(link: Redis) -> None:
    """Through the unix socket, in bytes, with a clock and a version."""
    await ping(link)
    await link.set("key", "value")
    assert await link.get("key") == b"value"
    assert await server_version(link) >= (6, 2)
    assert await now_ms(link) > 1_700_000_000_000


async def test_an_unreachable_redis_is_a_coded_error() -> None:
    """Nobody listens: the store is unavailable, and asking again in a second makes sense."""
    opened = open_link(State(redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(ServeError) as caught:
        await ping(opened)
    assert caught.value.code is Code.STATE_UNAVAILABLE
    assert caught.value.retry_after_s == 1
    await opened.aclose()


@pytest.mark.parametrize(
    "said",
    [
        "MISCONF Errors writing to the AOF file: No space left on device",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "Error running script: @user_script:1: -OOM command not allowed",
        "READONLY You can't write against a read only replica.",
    ],
)
def test_a_redis_that_cannot_write_is_unavailable(said: str) -> None:
    """A full disk or memory, or a failover, is no defect of the request."""
    with pytest.raises(ServeError) as caught, reaching_redis():
        raise ResponseError(said)
    assert caught.value.code is Code.STATE_UNAVAILABLE
    assert "@user_script" not in caught.value.detail


def test_a_defect_stays_a_defect() -> None:
    """A wrong command is not hidden behind "try again"."""
    with pytest.raises(ResponseError), reaching_redis():
        raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


async def test_the_configuration_is_read_by_name(link: Redis) -> None:
    """Several settings of Redis at once, as text."""
    found = await configuration(link, "appendonly", "appendfsync")
    assert found == {"appendonly": "yes", "appendfsync": "always"}


async def test_a_forbidden_question_has_no_answer(link: Redis) -> None:
    """Where a managed service forbids `CONFIG GET` nothing is known, and nothing fails."""
    await link.acl_setuser(
        "limited", enabled=True, passwords=["+x"], keys=["*"],
        categories=["+@all"], commands=["-config"],
    )  # fmt: skip
    pool = link.connection_pool
    limited = Redis(
        unix_socket_path=pool.connection_kwargs["path"],
        username="limited",
        password="x",  # noqa: S106
    )
    try:
        assert await configuration(limited, "appendonly") == {}
    finally:
        await limited.aclose()
        await link.acl_deluser("limited")
