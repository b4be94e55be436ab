"""One search over many shards: whole, or with the names of all that is not in it."""

import asyncio
from collections.abc import Mapping

import pytest

from serve.domain.ids import PARTITIONS
from serve.errors import Code, ServeError
from serve.inference.search import fanout
from serve.inference.search.fanout import FanOut
from serve.inference.search.placement import Move, Table, moves_towards
from tests.serve.search.scripted_shards import (
    EVERYBODY,
    EVERYWHERE,
    PATIENCE_S,
    ScriptedShard,
    asked,
    person,
    until,
)


async def over(*shards: ScriptedShard, wait_s: float = PATIENCE_S) -> FanOut:
    """A fan-out whose table is what these shards hold."""
    made = FanOut(wait_s)
    moves = [Move(place, "", shard.name) for shard in shards for place in shard.held]
    for shard in shards:
        made.add(shard)
    await made.replace(Table().moved(*moves))
    return made


def split(number: int) -> Mapping[str, frozenset[int]]:
    """All partitions over so many shards."""
    names = [f"shard-{place}" for place in range(number)]
    return Table().moved(*moves_towards(Table(), names)).by_shard()


@pytest.mark.parametrize("number", [1, 2, 5, 64])
async def test_many_shards_find_what_one_finds(number: int) -> None:
    """Everybody, best first, each asked for exactly its partitions; and no more than the limit."""
    shards = [ScriptedShard(name, held) for name, held in split(number).items()]
    made = await over(*shards)
    found = await made.search(asked())
    assert found.hits == EVERYBODY
    assert found.gallery_size == PARTITIONS
    assert found.is_complete
    assert found.lost == ()
    assert [shard.searched for shard in shards] == [[frozenset(shard.held)] for shard in shards]
    assert (await made.search(asked(limit=3))).hits == EVERYBODY[:3]


async def test_equals_come_in_the_order_of_their_keys() -> None:
    """Whichever shard they are in."""
    people = [person(place, 0.75) for place in (40, 3, 17)]
    shards = [ScriptedShard(name, held, people) for name, held in split(3).items()]
    found = await (await over(*shards)).search(asked())
    assert [hit.subject.partition for hit in found.hits] == [3, 17, 40]


async def test_who_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead or too late: their partitions are missing, and what others found is there."""
    monkeypatch.setattr(fanout, "MARGIN_S", 0.05)
    dead, late, well = (ScriptedShard(name, held) for name, held in split(3).items())
    dead.die()
    late.is_stuck = True
    found = await (await over(dead, late, well, wait_s=0.0)).search(asked())
    assert found.missing == tuple(sorted(dead.held | late.held))
    assert found.lost == (dead.name, late.name)
    assert not found.is_complete
    assert found.hits == tuple(hit for hit in EVERYBODY if hit.subject.partition in well.held)
    assert found.gallery_size == len(well.held)


async def test_who_is_known_to_be_down_is_not_waited_for() -> None:
    """It is not even asked, until it is known to be back."""
    lost, well = (ScriptedShard(name, held) for name, held in split(2).items())
    made = await over(lost, well)
    lost.die()
    assert (await made.search(asked())).lost == (lost.name,)
    lost.is_lost = False
    assert (await made.search(asked())).lost == (lost.name,)
    assert len(lost.searched) == 1
    made.set_down(lost.name, is_down=False)
    assert (await made.search(asked())).is_complete


async def test_a_shard_that_dies_while_it_searches_is_named() -> None:
    """Nobody waits for its answer any longer."""
    lost, well = (ScriptedShard(name, held) for name, held in split(2).items())
    made = await over(lost, well)
    lost.gate.clear()
    asking = asyncio.create_task(made.search(asked()))
    await until(lambda: lost.searches > 0)
    lost.die()
    found = await asking
    assert found.lost == (lost.name,)
    assert found.missing == tuple(sorted(lost.held))


async def test_what_nobody_holds_is_missing() -> None:
    """A partition without an owner has no name to give."""
    shard = ScriptedShard("shard-0", EVERYWHERE - {5})
    found = await (await over(shard)).search(asked())
    assert (found.missing, found.lost) == ((5,), ())


async def test_a_shard_that_lost_a_partition_makes_the_search_incomplete() -> None:
    """Where the table has not changed there is nobody else to ask: it is named, and not asked
    again.
    """
    shard = ScriptedShard("shard-0", EVERYWHERE)
    made = await over(shard)
    shard.held.discard(9)
    found = await made.search(asked())
    assert (found.missing, found.lost) == ((9,), ("shard-0",))
    assert len(shard.searched) == 1


async def test_who_moved_meanwhile_is_looked_for_where_they_are_now() -> None:
    """Once more, and only there."""
    first, second = ScriptedShard("shard-0", EVERYWHERE), ScriptedShard("shard-1")
    made = await over(first, second)
    first.gate.clear()
    asking = asyncio.create_task(made.search(asked()))
    await until(lambda: first.searches > 0)
    first.held.discard(9)
    second.held.add(9)
    replacing = asyncio.create_task(made.replace(made.table.moved(Move(9, "shard-0", "shard-1"))))
    await asyncio.sleep(0)
    first.gate.set()
    found = await asking
    await replacing
    assert found.hits == EVERYBODY
    assert found.is_complete
    assert second.searched == [frozenset({9})]


async def test_a_table_lasts_as_long_as_a_search_by_it() -> None:
    """It is replaced at once for whoever comes then; who replaces it waits for the others."""
    first, second = ScriptedShard("shard-0", EVERYWHERE), ScriptedShard("shard-1", {0})
    made = await over(first, second)
    first.gate.clear()
    asking = asyncio.create_task(made.search(asked()))
    await until(lambda: first.searches > 0)
    replacing = asyncio.create_task(made.replace(Table().moved(Move(0, "", "shard-1"))))
    await asyncio.sleep(0)
    assert (await made.search(asked())).hits == EVERYBODY[:1]
    assert not replacing.done()
    first.gate.set()
    assert (await asking).hits[0] == EVERYBODY[0]
    await replacing


@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.EMBEDDING_INVALID])
async def test_a_refusal_of_one_refuses_the_search(code: Code) -> None:
    """As the port says, with its code and when to come back; the others are not waited for."""
    full, stuck = (ScriptedShard(name, held) for name, held in split(2).items())
    stuck.is_stuck = True
    full.refusal = ServeError(code, "told so", retry_after_s=7)
    with pytest.raises(ServeError) as refused:
        await (await over(full, stuck)).search(asked())
    assert (refused.value.code, refused.value.retry_after_s) == (code, 7)


async def test_who_gives_up_leaves_nothing_behind() -> None:
    """A search that is cancelled ends at every shard, and no table waits for it."""
    shards = [ScriptedShard(name, held) for name, held in split(2).items()]
    made = await over(*shards)
    for shard in shards:
        shard.gate.clear()
    asking = asyncio.create_task(made.search(asked()))
    await until(lambda: all(shard.searches for shard in shards))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [shard.searches for shard in shards] == [0, 0]
    async with asyncio.timeout(PATIENCE_S):
        await made.replace(Table())
