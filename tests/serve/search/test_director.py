"""Shards come, go, die and are moved about, and a search is whole or says what is missing."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from serve.errors import Code, ServeError
from serve.inference.search import director
from serve.inference.search.director import Director, directed
from serve.inference.search.fanout import Shard, ShardLostError
from serve.ports.search import Found
from tests.serve.search.scripted_shards import (
    EVERYBODY,
    EVERYWHERE,
    PATIENCE_S,
    ScriptedShard,
    asked,
    until,
)

SEARCHES = 1_000


@dataclass
class Makers:
    """Where scripted shards come from."""

    made: dict[str, ScriptedShard] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    wished: int = 0
    is_away: bool = False
    is_ready: bool = True

    async def start(self, name: str, partitions: Collection[int]) -> ScriptedShard:
        self.made[name] = shard = ScriptedShard(name, partitions)
        shard.is_ready = self.is_ready
        return shard

    async def stop(self, shard: Shard) -> None:
        self.stopped.append(shard.name)
        del self.made[shard.name]

    async def wish(self) -> int:
        if self.is_away:
            raise ServeError(Code.STATE_UNAVAILABLE, "Redis: no answer")
        return self.wished

    def held(self) -> dict[str, int]:
        """How many partitions each shard holds."""
        return {name: len(shard.held) for name, shard in sorted(self.made.items())}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are frequent, and short of patience."""
    monkeypatch.setattr(director, "LOOK_S", 0.01)
    monkeypatch.setattr(director, "LOOK_S_MAX", 0.5)


@asynccontextmanager
async def directing(makers: Makers, number: int) -> AsyncIterator[Director]:
    """A director of so many shards, in no time at all."""
    async with (
        asyncio.timeout(PATIENCE_S),
        directed(makers, number, wait_s=PATIENCE_S, wish=makers.wish) as made,
    ):
        await made.until_ready()
        yield made


@asynccontextmanager
async def searching(made: Director, number: int) -> AsyncIterator[list[Found]]:
    """So many searches at every moment, and their answers."""
    found: list[Found] = []
    is_over = asyncio.Event()

    async def search() -> None:
        while not is_over.is_set():
            found.append(await made.search(asked()))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(search()) for _ in range(number)]
    try:
        yield found
    finally:
        is_over.set()
        await asyncio.gather(*tasks)


async def test_it_begins_with_as_many_shards_as_the_settings_say() -> None:
    """Each with its share, and all of them are searched and tell of themselves."""
    makers = Makers()
    async with directing(makers, 3) as made:
        assert makers.held() == {"shard-0": 22, "shard-1": 21, "shard-2": 21}
        assert (await made.search(asked())).hits == EVERYBODY
        assert [status.name for status in await made.statuses()] == list(makers.held())


async def test_it_is_ready_when_every_shard_is() -> None:
    """Not before: whoever asked then would find less than there is."""
    makers = Makers(is_ready=False)
    starting = asyncio.ensure_future((opened := directing(makers, 2)).__aenter__())
    await until(lambda: len(makers.made) == 2)
    makers.made["shard-0"].is_ready = True
    done, _ = await asyncio.wait([starting], timeout=0.05)
    assert not done
    makers.made["shard-1"].is_ready = True
    await starting
    await opened.__aexit__(None, None, None)


async def test_a_shard_that_can_never_read_the_log_ends_the_start() -> None:
    """One that cannot now is waited for; one without the keys is told of by its code."""
    makers = Makers(is_ready=False)
    starting = asyncio.ensure_future(directing(makers, 1).__aenter__())
    await until(lambda: len(makers.made) == 1)
    makers.made["shard-0"].refusal = ServeError(Code.STATE_UNAVAILABLE, "away")
    done, _ = await asyncio.wait([starting], timeout=0.05)
    assert not done
    makers.made["shard-0"].refusal = ServeError(Code.KEYS_MISMATCH, "other keys")
    with pytest.raises(ServeError) as refused:
        await starting
    assert refused.value.code is Code.KEYS_MISMATCH


async def test_a_move_under_a_thousand_searches_misses_nobody() -> None:
    """Whoever searches finds everybody, before, while and after, wherever they are held."""
    makers = Makers()
    async with directing(makers, 2) as made, searching(made, SEARCHES) as found:
        for partition in sorted(made.table.of("shard-0"))[:5]:
            enough = len(found) + 2 * SEARCHES
            await made.move(partition, "shard-1")
            await until(partial(_has, found, enough))
        assert len(makers.made["shard-0"].held) + len(makers.made["shard-1"].held) == 64
    assert len(found) > 5 * SEARCHES
    assert {(each.hits, each.missing) for each in found} == {(EVERYBODY, ())}


async def test_shards_come_and_go_while_there_are_searches() -> None:
    """Two become five and then one; nobody is ever missing, and who has nothing is stopped."""
    makers = Makers()
    async with directing(makers, 2) as made, searching(made, 20) as found:
        await made.scale(5)
        assert sorted(makers.held().values()) == [12, 13, 13, 13, 13]
        await made.scale(1)
        assert makers.held() == {"shard-0": 64}
        assert sorted(makers.stopped) == [f"shard-{place}" for place in range(1, 5)]
    assert {(each.hits, each.missing) for each in found} == {(EVERYBODY, ())}


def _has(found: list[Found], number: int) -> bool:
    return len(found) >= number


async def test_the_old_owner_lets_go_after_the_last_search() -> None:
    """One that began by the old table still finds what moved where it was."""
    makers = Makers()
    async with directing(makers, 2) as made:
        source = makers.made["shard-0"]
        place = min(source.held)
        source.gate.clear()
        asking = asyncio.create_task(made.search(asked()))
        await until(lambda: source.searches > 0)
        moving = asyncio.create_task(made.move(place, "shard-1"))
        await until(lambda: made.table.owners[place] == "shard-1")
        assert place in source.held
        source.gate.set()
        assert (await asking).hits == EVERYBODY
        await moving
        assert place not in source.held


async def test_a_move_to_where_it_is_changes_nothing() -> None:
    """Its owner is not told to let go of it."""
    makers = Makers()
    async with directing(makers, 2) as made:
        place = min(makers.made["shard-0"].held)
        await made.move(place, "shard-0")
        assert makers.made["shard-0"].said == []


async def test_the_new_owner_is_asked_when_it_has_caught_up() -> None:
    """Until then the old one is; if the new one dies first, nothing has changed."""
    makers = Makers()
    async with directing(makers, 2) as made:
        target, place = makers.made["shard-1"], min(makers.made["shard-0"].held)
        before = made.table
        target.gate.clear()
        moving = asyncio.create_task(made.move(place, "shard-1"))
        await until(lambda: place in target.held)
        assert made.table is before
        target.die()
        with pytest.raises(ShardLostError):
            await moving
        assert made.table is before


async def test_a_shard_that_died_is_missed_until_it_is_back() -> None:
    """It comes back as it was made, and is told what moved since: then nothing is missing."""
    makers = Makers()
    async with directing(makers, 2) as made:
        victim = makers.made["shard-0"]
        given, taken = min(victim.held), min(makers.made["shard-1"].held)
        await made.move(given, "shard-1")
        await made.move(taken, "shard-0")
        held = set(victim.held)
        victim.die()
        found = await made.search(asked())
        assert found.lost == ("shard-0",)
        assert set(found.missing) == held
        victim.come_back()
        assert given in victim.held
        await until(lambda: victim.held == held)
        found = await made.search(asked())
        while not found.is_complete:
            await asyncio.sleep(0.001)
            found = await made.search(asked())
        assert found.hits == EVERYBODY


async def test_a_shard_that_does_not_answer_counts_as_lost() -> None:
    """Searches do not wait for it any more once a look has been in vain."""
    makers = Makers()
    async with directing(makers, 2) as made:
        makers.made["shard-1"].is_stuck = True
        statuses = await made.statuses()
        while [status.name for status in statuses] != ["shard-0"]:
            await asyncio.sleep(0.001)
            statuses = await made.statuses()
        assert (await made.search(asked())).lost == ("shard-1",)


async def test_a_wish_changes_the_number_of_shards() -> None:
    """It holds over what the settings say, at the start as well; while Redis is away nothing
    changes, and without a wish it is what the settings say.
    """
    makers = Makers(wished=3)
    async with directing(makers, 2) as made:
        assert len(makers.made) == 3
        makers.wished = 4
        await until(lambda: sorted(makers.held().values()) == [16] * 4)
        makers.is_away = True
        await asyncio.sleep(0.1)
        assert len(makers.made) == 4
        makers.wished, makers.is_away = 0, False
        await until(lambda: sorted(makers.held().values()) == [32, 32])
        assert (await made.search(asked())).hits == EVERYBODY


async def test_a_move_that_failed_is_made_later() -> None:
    """A shard that dies while partitions come to it gets the rest when it is back."""
    makers = Makers()
    async with directing(makers, 1) as made:
        makers.wished = 2
        await until(lambda: "shard-1" in makers.made and len(makers.made["shard-1"].held) > 0)
        makers.made["shard-1"].die()
        await asyncio.sleep(0.05)
        makers.made["shard-1"].come_back()
        await until(lambda: makers.held() == {"shard-0": 32, "shard-1": 32})
        assert set().union(*(shard.held for shard in makers.made.values())) == EVERYWHERE
        found = await made.search(asked())
        while not found.is_complete:
            await asyncio.sleep(0.001)
            found = await made.search(asked())
        assert found.hits == EVERYBODY
