"""Shards of the index as actors of Ray: what runs in them, and how the engine reaches it.

An actor keeps its templates to itself: it reads them from the log of faces, with keys that it
reads from the install's folder, and answers with names and scores. Only a probe comes to it over
Ray. One that dies is started again by Ray and reads the log anew; only its constructor runs then,
so whatever moved since it was made it has to be told.
"""

import asyncio
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from serve.errors import Code, ServeError
from serve.inference.search.carrier import Carrier
from serve.inference.search.fanout import Shard, ShardLostError, Standing
from serve.inference.search.heartbeat import beat
from serve.inference.search.holder import Holder, Limits
from serve.inference.search.packing import (
    pack_asked,
    pack_found,
    pack_mask,
    unpack_asked,
    unpack_found,
    unpack_mask,
)
from serve.observe import logs
from serve.ports.search import Asked, FaceLog, Found, ShardBoard

PAUSE_S = 1.0

_MASK = struct.Struct("<Q")

Opening = Callable[[], AbstractAsyncContextManager[tuple[FaceLog, ShardBoard]]]
"""Opens the log of faces and the board, in a process that knows neither. It travels to actors, so
it holds paths and a URL, and no key.
"""


class ShardActor:
    """One shard, in a process of its own. Without an answer it says that it has none yet."""

    def __init__(
        self, name: str, partitions: Collection[int], opening: Opening, limits: Limits
    ) -> None:
        """Begins to follow the log. Nothing is raised here: Ray would not start it again."""
        logs.set_up()
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold faces
        self._holder: Holder | None = None
        self._refusal: Code | None = None
        self._name = f"{name}@{socket.gethostname()}"
        keeping = self._keep(frozenset(partitions), opening, limits)
        self._keeping = asyncio.get_running_loop().create_task(keeping)

    async def search(self, *searches: bytes) -> list[bytes]:
        """A packed answer to each search, in order; each begins with the places to look in."""
        return list(await asyncio.gather(*map(self._search, searches)))

    async def hold(self, partition: int) -> bool:
        """Hold a partition, once it has caught up; False where there is no holder yet."""
        if self._holder is None:
            return False
        await self._holder.hold(partition)
        return True

    async def release(self, partition: int) -> bool:
        """Hold it no longer; False as above."""
        if self._holder is None:
            return False
        self._holder.release(partition)
        return True

    async def standing(self) -> Standing | Code | None:
        """How it is; where there is no holder, what it was refused for, None for nothing yet."""
        holder = self._holder
        return self._refusal if holder is None else Standing(holder.status(), holder.partitions)

    async def _search(self, packed: bytes) -> bytes:
        places = unpack_mask(*_MASK.unpack_from(packed))
        try:
            if self._holder is None:
                return pack_found(Found((), 0, tuple(sorted(places))))
            found = await self._holder.search(unpack_asked(packed[_MASK.size :]), places)
        except ServeError as error:
            return pack_found(error)
        except Exception as error:  # noqa: BLE001 (a defect met by one search is that search's)
            logs.write_error("search lost", error)
            return pack_found(ServeError(Code.SERVICE_UNAVAILABLE, ""))
        return pack_found(found)

    async def _keep(self, partitions: frozenset[int], opening: Opening, limits: Limits) -> None:
        """Hold the partitions, whatever becomes of Redis meanwhile."""
        while True:
            try:
                async with (
                    opening() as (log, board),
                    Holder(log, self._name, partitions, limits) as holder,
                ):
                    self._holder = holder
                    async with _background(beat(holder, board)) as beating:
                        await holder.until_ready()
                        await beating
            except ServeError as error:
                self._refusal = Code(error.code)  # reading a log has no other
                logs.write("shard not opened", code=error.code)
            except Exception as error:  # noqa: BLE001 (it is opened anew)
                logs.write_error("shard lost its holder", error)
            finally:
                self._holder = None
            await asyncio.sleep(PAUSE_S)


class ActorShard:
    """The engine's side of one actor. All belongs to the event loop."""

    def __init__(self, name: str, actor: Any, queue_max: int) -> None:  # noqa: ANN401 (Ray's)
        self.name = name
        self.actor = actor
        self._carrier = Carrier(self._carry, queue_max)

    async def search(self, asked: Asked, partitions: Collection[int]) -> Found:
        """See `serve.inference.search.fanout.Shard`."""
        packed = _MASK.pack(pack_mask(partitions)) + pack_asked(asked)
        answer = unpack_found(await self._carrier.carry(packed), asked.tenant_id, asked.mode)
        if isinstance(answer, ServeError):
            raise answer
        return answer

    async def hold(self, partition: int) -> None:
        """See `serve.inference.search.fanout.Shard`."""
        if not await self._asked(self.actor.hold.remote(partition)):
            raise ShardLostError(self.name)

    async def release(self, partition: int) -> None:
        """See `serve.inference.search.fanout.Shard`."""
        if not await self._asked(self.actor.release.remote(partition)):
            raise ShardLostError(self.name)

    async def standing(self) -> Standing:
        """See `serve.inference.search.fanout.Shard`."""
        standing: Standing | Code | None = await self._asked(self.actor.standing.remote())
        if standing is None:
            raise ShardLostError(self.name)
        if isinstance(standing, Code):
            raise ServeError(standing, f"{self.name} cannot read the log of faces")
        return standing

    async def _carry(self, searches: Sequence[bytes]) -> Sequence[bytes]:
        answers: list[bytes] = await self._asked(self.actor.search.remote(*searches))
        return answers

    async def _asked(self, reference: Any) -> Any:  # noqa: ANN401 (what the actor's method returns)
        try:
            return await reference
        except RayError as error:
            raise ShardLostError(self.name) from error


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """A task that is cancelled, and has ended, with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class ActorShards:
    """`serve.inference.search.director.Shards`: each an actor of the cluster that was joined.

    They ask for no processor of Ray's, which is bookkeeping: they wait for searches. Where the
    log is in this machine's embedded Redis, so are they (`is_here`).
    """

    def __init__(self, opening: Opening, limits: Limits, *, is_here: bool) -> None:
        self._opening = opening
        self._limits = limits
        node_id = ray.get_runtime_context().get_node_id()
        self._where = NodeAffinitySchedulingStrategy(node_id, soft=False) if is_here else "SPREAD"

    async def start(self, name: str, partitions: Collection[int]) -> ActorShard:
        """See `serve.inference.search.director.Shards`."""
        kind: Any = ray.remote(ShardActor)
        made = kind.options(num_cpus=0, max_restarts=-1, scheduling_strategy=self._where)
        actor = made.remote(name, sorted(partitions), self._opening, self._limits)
        return ActorShard(name, actor, self._limits.queue_max)

    async def stop(self, shard: Shard) -> None:
        """See `serve.inference.search.director.Shards`."""
        assert isinstance(shard, ActorShard)
        ray.kill(shard.actor)
