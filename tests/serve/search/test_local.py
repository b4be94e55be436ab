"""The index of a front door: all of it, told of on the board, begun anew when it is wished."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from serve.domain.ids import PARTITIONS
from serve.errors import Code, ServeError
from serve.inference.search.follower import end
from serve.inference.search.heartbeat import beat
from serve.inference.search.holder import Holder, Limits
from serve.inference.search.local import LocalIndex
from serve.ports.search import ShardStatus
from serve.store.search.board import RedisShardBoard
from serve.store.vault.keyring import Keyring
from tests.serve.search.people import People, people_of

LIMITS = Limits(wait_s=20.0, queue_max=1_024, threads=1)
PATIENCE_S = 30.0
OFTEN_S = 0.01


@pytest.fixture
def people(link: Redis, keyring: Keyring) -> People:
    return people_of(link, keyring)


@pytest.fixture
def board(link: Redis) -> RedisShardBoard:
    return RedisShardBoard(link)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await is_so():  # noqa: ASYNC110 (a store tells)
            await asyncio.sleep(OFTEN_S)


async def test_a_door_holds_everything_and_says_so(people: People, board: RedisShardBoard) -> None:
    """Its status, on the board and asked of it, tells places, digests and counts of all
    partitions, and who it is.
    """
    person = await people.enrol("alice")
    async with LocalIndex(people.log, board, LIMITS) as index:
        await index.until_ready()
        found = await index.search(await people.asked(person))
        assert [hit.face_id for hit in found.hits] == [person.face_id]
        (own,) = await index.statuses()

        async def is_told() -> bool:
            return [status.live for status in await board.statuses()] == [1]

        await until(is_told)
        (told,) = await board.statuses()
    assert (own.is_ready, own.live, own.dead, own.replayed, own.galleries) == (True, 1, 0, 1, 1)
    assert own.applied == await people.log.tails()
    assert own.digests.keys() == own.applied.keys() == set(range(PARTITIONS))
    assert own.pid == os.getpid()
    assert own.name == told.name == f"door-{os.getpid()}@{own.host}"


async def test_a_wish_is_granted_once_and_only_if_it_is_new(
    people: People, board: RedisShardBoard
) -> None:
    """Wishes from before the start are passed by; a later one rebuilds it, once."""
    for number in range(5):
        await people.enrol(f"customer {number}")
    await board.ask_rebuild()
    async with Holder(people.log, "h", range(PARTITIONS), LIMITS) as holder:
        await holder.until_ready()
        beating = asyncio.create_task(beat(holder, board, OFTEN_S))

        async def is_rebuilt() -> bool:
            return holder.status().replayed == 10

        async def is_told() -> bool:
            return bool(await board.statuses())

        await until(is_told)
        await asyncio.sleep(10 * OFTEN_S)
        assert holder.status().replayed == 5
        await board.ask_rebuild()
        await until(is_rebuilt)
        await asyncio.sleep(10 * OFTEN_S)
        await end([beating])
        assert holder.status().replayed == 10
        assert holder.status().live == 5


async def test_a_board_out_of_reach_is_told_later(people: People, board: RedisShardBoard) -> None:
    """A heartbeat survives a store that does not answer."""
    beats = _Faltering(board.link)
    async with Holder(people.log, "h", range(PARTITIONS), LIMITS) as holder:
        await holder.until_ready()
        beating = asyncio.create_task(beat(holder, beats, OFTEN_S))

        async def is_told() -> bool:
            return bool(await board.statuses())

        await until(is_told)
        await end([beating])
    assert beats.faults == []


@dataclass(frozen=True, slots=True)
class _Faltering(RedisShardBoard):
    """A board that fails twice."""

    faults: list[Code] = field(default_factory=lambda: [Code.STATE_UNAVAILABLE] * 2)

    async def put(self, status: ShardStatus, kept_s: int) -> None:
        if self.faults:
            raise ServeError(self.faults.pop(), "not now")
        await RedisShardBoard.put(self, status, kept_s)
