"""Keeps the shards of one engine at their work: as many as are wanted, each with its partitions.

What is wanted and what is differ after a shard died, or when another number of shards is asked
for. One task looks at all shards every second, tells each what it should hold, and moves
partitions one at a time, so that every search is complete meanwhile: the new owner holds it and
has caught up, then it is asked, and the old owner lets go when nobody asks it any more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Protocol

from serve.errors import Code, ServeError
from serve.inference.search.fanout import FanOut, Shard, ShardLostError, Standing
from serve.inference.search.placement import Move, Table, moves_towards
from serve.observe import logs
from serve.ports.search import Asked, Found, ShardStatus

LOOK_S = 1.0
LOOK_S_MAX = 5.0
"""After as long without an answer to so small a question a shard counts as lost."""
TELL_S = 5.0
"""Between two words of how far a start has come."""

Wish = Callable[[], Awaitable[int]]
"""How many shards an operator has asked for; 0 for as many as the settings say."""


class Shards(Protocol):
    """Where shards come from."""

    async def start(self, name: str, partitions: Collection[int]) -> Shard:
        """A new one, which begins to follow these; ready or not."""
        ...

    async def stop(self, shard: Shard) -> None:
        """End it."""
        ...


class Director:
    """The shards of an engine, searched as one; see `directed`."""

    def __init__(self, shards: Shards, number: int, wait_s: float, wish: Wish) -> None:
        self._makers = shards
        self._usual = self._wanted = number
        self._wish = wish
        self._fanout = FanOut(wait_s)
        self._settling = asyncio.Lock()
        self._moving: int | None = None
        self._telling: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._standings: dict[str, Standing] = {}
        self._settled: asyncio.Task[None] | None = None
        self._settled_for = 0
        self._refusal: ServeError | None = None

    @property
    def table(self) -> Table:
        """Which shard is asked for what."""
        return self._fanout.table

    async def search(self, asked: Asked) -> Found:
        """See `serve.ports.search.FaceIndex`."""
        return await self._fanout.search(asked)

    async def statuses(self) -> Sequence[ShardStatus]:
        """What each shard has told of itself last."""
        return [self._standings[name].status for name in sorted(self._standings)]

    async def begin(self) -> None:
        """Start as many shards as are wanted, with the table of their names."""
        self._wanted = self._settled_for = await self._wished()
        table = Table().moved(*moves_towards(Table(), _names(self._wanted)))
        for name, places in table.by_shard().items():
            self._fanout.add(await self._makers.start(name, places))
        await self._fanout.replace(table)

    async def until_ready(self) -> None:
        """Wait until every shard has come to where its log ended when it began.

        Raises what no waiting mends: a shard without the keys of this install, `keys_mismatch`.
        """
        loop = asyncio.get_running_loop()
        told_s = loop.time()
        while True:
            await self.look()
            if self._refusal is not None and self._refusal.code is not Code.STATE_UNAVAILABLE:
                raise self._refusal
            statuses = await self.statuses()
            if sum(status.is_ready for status in statuses) == len(self._fanout.shards):
                return
            if loop.time() - told_s >= TELL_S:
                told_s = loop.time()
                read = sum(status.replayed for status in statuses)
                logs.write("the index is being read", count=read)
            await asyncio.sleep(LOOK_S / 10)

    async def tend(self) -> None:
        """Look, mend and settle, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
                self._mend()
                self._wanted = await self._wished()
            except Exception as error:  # noqa: BLE001 (the next look may see more)
                logs.write_error("shards not looked at", error)
            is_free = self._settled is None or self._settled.done()
            if is_free and self._settled_for != self._wanted:
                self._settled = asyncio.create_task(self._settle_patiently())

    async def scale(self, number: int) -> None:
        """Have so many shards; returns when every partition is where it belongs. Until somebody
        wishes for another number.
        """
        self._usual = self._wanted = number
        await self._settle()

    async def move(self, partition: int, target: str) -> None:
        """Have `target` hold a partition, until the number of shards changes. Every search
        meanwhile finds it at one of the two.

        Raises ShardLostError when the new owner is lost; then nothing has changed.
        """
        async with self._settling:
            source = self.table.owners[partition]
            if source != target:
                await self._move(Move(partition, source, target))

    async def close(self) -> None:
        """Let go of what is under way."""
        tasks = [*self._telling.values(), *filter(None, [self._settled])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """Ask every shard how it is."""
        await asyncio.gather(*map(self._look_at, list(self._fanout.shards.values())))

    async def _look_at(self, shard: Shard) -> None:
        try:
            async with asyncio.timeout(LOOK_S_MAX):
                standing = await shard.standing()
        except (TimeoutError, ShardLostError, ServeError) as error:
            self._refusal = error if isinstance(error, ServeError) else None
            self._standings.pop(shard.name, None)
            self._fanout.set_down(shard.name, is_down=True)
            return
        if shard.name in self._fanout.shards:  # it may have been stopped meanwhile
            self._standings[shard.name] = standing
            self._fanout.set_down(shard.name, is_down=False)

    def _mend(self) -> None:
        """Tell shards that were started again what has become theirs since they were made, and
        what is theirs no more.
        """
        for name, standing in self._standings.items():
            shard, should = self._fanout.shards[name], self.table.of(name)
            for place in (should ^ standing.held) - {self._moving}:
                if (name, place) not in self._telling:
                    work = shard.hold(place) if place in should else shard.release(place)
                    self._telling[name, place] = task = asyncio.create_task(_if_there(work))
                    task.add_done_callback(partial(self._told, (name, place)))

    def _told(self, which: tuple[str, int], task: "asyncio.Task[None]") -> None:
        del task
        del self._telling[which]

    async def _wished(self) -> int:
        """How many shards there are to be; as many as before where nobody can say."""
        try:
            return await self._wish() or self._usual
        except ServeError:
            return self._wanted

    async def _settle_patiently(self) -> None:
        """As far as it goes now; the next look goes on."""
        try:
            await self._settle()
        except ShardLostError:
            logs.write("partitions not moved")
        except Exception as error:  # noqa: BLE001 (the next look may do better)
            logs.write_error("partitions not moved", error)

    async def _settle(self) -> None:
        """Start who is wanted, move what is elsewhere, stop who has nothing any more."""
        async with self._settling:
            number = self._wanted
            wanted = _names(number)
            for name in sorted(wanted - self._fanout.shards.keys()):
                self._fanout.add(await self._makers.start(name, ()))
            while not wanted <= self._standings.keys():
                await asyncio.sleep(LOOK_S / 10)
                await self.look()
            while moves := moves_towards(self.table, wanted):
                await self._move(moves[0])
            for name in sorted(self._fanout.shards.keys() - wanted):
                shard = self._fanout.remove(name)
                self._standings.pop(name, None)
                await self._makers.stop(shard)
            self._settled_for = number

    async def _move(self, move: Move) -> None:
        shards, self._moving = self._fanout.shards, move.partition
        try:
            if told := self._telling.get((move.target, move.partition)):
                await asyncio.wait([told])  # it may be to let go of it
            await shards[move.target].hold(move.partition)
            await self._fanout.replace(self.table.moved(move))
            if move.source in shards:
                await _if_there(shards[move.source].release(move.partition))
        finally:
            self._moving = None
        logs.write("partition moved", partition=move.partition, process=move.target)


@asynccontextmanager
async def directed(
    shards: Shards, number: int, wait_s: float, wish: Wish
) -> AsyncIterator[Director]:
    """Shards that are kept at their work until the block ends: `number` of them, unless another
    is wished for. A search waits for the log up to `wait_s`.
    """
    director = Director(shards, number, wait_s, wish)
    await director.begin()
    tending = asyncio.create_task(director.tend())
    try:
        yield director
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        await director.close()


async def _if_there(work: Awaitable[None]) -> None:
    """What a lost shard was not told, it will be told when it is back."""
    with suppress(ShardLostError):
        await work


def _names(number: int) -> set[str]:
    return {f"shard-{place}" for place in range(number)}
