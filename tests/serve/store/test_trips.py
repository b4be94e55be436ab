"""Commands travel together: counted by Redis itself, and each asker gets its own answer."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from serve.errors import Code, ServeError
from serve.settings import State
from serve.store import link as link_module
from serve.store.link import SharedTrips, ask_together, open_link

ASKERS = 200
PATIENCE_S = 60.0
PAUSE_MS = 5_000


async def packets(link: Redis) -> int:
    """Reads that Redis has done on its sockets so far."""
    return int((await link.info("stats"))["total_reads_processed"])


async def test_200_commands_are_a_few_trips(link: Redis) -> None:
    """All of one pass go at once, as many in one write as a trip takes."""
    await asyncio.gather(*(link.set(f"key {n}", n) for n in range(ASKERS)))
    before = await packets(link)
    found = await asyncio.gather(*(link.get(f"key {n}") for n in range(ASKERS)))
    assert found == [str(n).encode() for n in range(ASKERS)]
    trips = -(-ASKERS // link_module.TRIP_MAX)
    assert await packets(link) - before <= trips + 2  # and the two that count


async def test_large_commands_go_by_themselves(
    link: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trip takes no more bytes than its bound beyond the first command's."""
    monkeypatch.setattr(link_module, "TRIP_BYTES_MAX", 100)
    before = await packets(link)
    await asyncio.gather(*(link.set(f"key {n}", bytes(101)) for n in range(ASKERS)))
    assert await packets(link) - before >= ASKERS


async def test_a_refusal_is_its_own_asker_s(link: Redis) -> None:
    """The others on its trip get their answers."""
    await link.set("text", "no list")
    asked = [link.get("text"), link.lpush("text", "x"), link.get("text")]
    first, refused, last = await asyncio.gather(*asked, return_exceptions=True)
    assert (first, last) == (b"no list", b"no list")
    assert isinstance(refused, ResponseError)
    assert "WRONGTYPE" in str(refused)


async def test_a_defect_is_its_own_asker_s(link: Redis) -> None:
    """What cannot be sent is refused before it travels."""
    untyped: Any = link
    asked = [link.get("a"), untyped.execute_command("SET", "a", object()), link.get("b")]
    first, defect, last = await asyncio.gather(*asked, return_exceptions=True)
    assert (first, last) == (None, None)
    assert isinstance(defect, TypeError)


async def test_together_means_in_that_order(link: Redis) -> None:
    """Nothing comes between, and a refusal stands among the answers."""
    answers = await asyncio.gather(
        *(ask_together(link, ("INCR", "n"), ("GET", "n"), ("LPUSH", "n", "x")) for _ in range(50))
    )
    assert [(int(n), int(seen)) for n, seen, _ in answers] == [(n, n) for n in range(1, 51)]
    assert all(isinstance(refused, ResponseError) for _, _, refused in answers)


async def test_an_asker_that_is_cancelled_takes_nobody_along(link: Redis) -> None:
    """Its command goes out all the same: what was asked for may have happened."""
    asked = [asyncio.ensure_future(link.incr("n")) for _ in range(10)]
    await asyncio.sleep(0)
    asked[3].cancel()
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(done[3], asyncio.CancelledError)
    assert sorted(n for n in done if isinstance(n, int)) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert await link.get("n") == b"10"


async def test_connections_that_are_cut_are_made_again(link: Redis, redis_state: State) -> None:
    """No asker waits for ever, and whoever asks next is answered."""
    killer = open_link(redis_state)
    await link.set("text", "there")
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(20):
            asked = [asyncio.ensure_future(link.get("text")) for _ in range(50)]
            await killer.client_kill_filter(_type="normal", skipme=True)
            done = await asyncio.gather(*asked, return_exceptions=True)
            assert {one for one in done if not isinstance(one, RedisConnectionError)} <= {b"there"}
            assert await link.get("text") == b"there"
    await killer.aclose()


async def test_an_outage_is_everybody_s(
    redis_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who wait for a later trip do not wait for another time limit each."""
    trips = 0
    go = SharedTrips._go  # noqa: SLF001

    async def counted(self: SharedTrips, going: Any) -> None:
        nonlocal trips
        trips += 1
        await go(self, going)

    hung = open_link(redis_state.model_copy(update={"timeout_s": 0.2}))
    other = open_link(redis_state.model_copy(update={"timeout_s": PATIENCE_S}))
    await asyncio.gather(*(hung.get("text") for _ in range(10)), other.ping())
    monkeypatch.setattr(SharedTrips, "_go", counted)
    asked = [asyncio.ensure_future(hung.get("text")) for _ in range(10 * link_module.TRIP_MAX)]
    await other.client_pause(PAUSE_MS)  # nobody is answered, not even who would end it
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(done[-1], RedisTimeoutError | RedisConnectionError)
    assert trips <= 2 * link_module.TRIPS_MAX
    await other.ping()
    assert await hung.ping()
    await asyncio.gather(hung.aclose(), other.aclose())


async def test_too_many_waiting_are_refused(link: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue before Redis is bounded, and says so."""
    monkeypatch.setattr(link_module, "WAITING_MAX", 20)
    done = await asyncio.gather(*(link.incr("n") for _ in range(30)), return_exceptions=True)
    refused = [one for one in done if isinstance(one, ServeError)]
    assert len(refused) == 10
    assert {one.code for one in refused} == {Code.STATE_UNAVAILABLE}
    assert await link.get("n") == b"20"


async def test_a_closed_link_has_no_trip_under_way(link: Redis, redis_state: State) -> None:
    """Whoever is cancelled leaves their trip behind; it is waited for, or it would go on to make
    a connection that nobody closes.
    """
    opened = open_link(redis_state)
    asked = asyncio.ensure_future(opened.set("key", "value"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    await opened.aclose()
    assert await link.get("key") == b"value"
