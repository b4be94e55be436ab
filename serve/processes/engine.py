"""The engine process: one queue before all replicas, one search over all shards of the index, and
the only driver of Ray.

It dies with its cluster and is started again with it; front doors hold no part of Ray and live
on. Imported only by the process that it is for, because it imports Ray, which reads its
environment when it is imported (`serve.inference.cluster.environment`).
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from pipeline.errors import Code as PipelineCode
from pipeline.models.cache import ModelCache
from pipeline.models.load import read_scale
from serve.app import open_face_log
from serve.errors import Code, ServeError
from serve.inference.cluster import driver, naive
from serve.inference.cluster.environment import TOKEN_PATH_VARIABLE
from serve.inference.cluster.head import own_head
from serve.inference.cluster.kin import end_leftovers
from serve.inference.cluster.options import (
    Plan,
    ReplicaOptions,
    limits_of,
    options_of,
    read_plan,
)
from serve.inference.cluster.probe import asks_for_token
from serve.inference.cluster.replica import bind
from serve.inference.cluster.shards import ActorShards
from serve.inference.dispatch import Call, Dispatcher, Limits
from serve.inference.link.reach import BACKOFF_S_MAX
from serve.inference.link.server import Work, serve_link
from serve.inference.place import SOCKET, recorded
from serve.inference.search.director import Director, directed
from serve.inference.search.holder import Limits as IndexLimits
from serve.observe import logs
from serve.processes.lifeline import Announce, answer_signals
from serve.settings import EngineKind, Settings

DOORS_COME_S = 2 * BACKOFF_S_MAX  # within which front doors that wait have connected
LOOK_S = 1.0  # between two looks at how many replicas there are

_Found = TypeVar("_Found")


class Cluster(Protocol):
    """What carries envelopes to replicas."""

    @property
    def examine(self) -> Call:
        """Carry one."""
        ...

    async def model_id(self) -> str:
        """Of the replicas' templates."""
        ...

    async def replicas(self) -> int:
        """How many take calls now."""
        ...


class _NotAwaitedError(Exception):
    """A stop, or the end of the cluster, came before a replica was ready."""


async def run_engine(settings: Settings, announce: Announce, stop: asyncio.Event) -> None:
    """Take images and searches from front doors until `stop`; `announce` once a replica is ready
    and every shard of the index has come to where the log of faces ended when it began, and the
    front doors that wait have had time to connect: who is told "ready" is not refused.

    Raises `engine_unavailable` when the cluster cannot be had, `cluster_unprotected`,
    `model_mismatch` or `keys_mismatch`; the process ends when a cluster of its own does.
    """
    folder = recorded(settings.state.data_dir)
    assert folder is not None, "the supervisor makes the meeting place"
    plan = read_plan(settings.engine.ray_file)
    try:
        async with _address(settings, folder) as (address, lost), AsyncExitStack() as held:
            joining = asyncio.create_task(_joined(settings, plan, address, stop, held))
            joined = await _unless(stop, lost, joining)
            try:
                async with _served(joined, folder / SOCKET):
                    await asyncio.sleep(DOORS_COME_S)
                    announce()
                    await _first(stop, lost)
                    if not stop.is_set():
                        _end_at_once()
            finally:
                await held.aclose()
                await driver.leave()
    except _NotAwaitedError:
        os._exit(0 if stop.is_set() else 1)  # a thread waits for the cluster, and would for ever


@dataclass(frozen=True, slots=True)
class _Joined:
    """A cluster with a replica and all shards ready; `model_id` is of the replicas' templates."""

    cluster: Cluster
    model_id: str
    limits: Limits
    index: Director


async def _joined(
    settings: Settings, plan: Plan, address: str, stop: asyncio.Event, held: AsyncExitStack
) -> _Joined:
    """The cluster, once all is ready that doors ask for; the shards are directed by `held`."""
    is_naive = settings.engine.kind is EngineKind.NAIVE_SERVE
    await driver.join(address)
    answer_signals(stop)  # again: Ray has put its own handlers in place of ours
    index = await held.enter_async_context(_index(settings))
    if is_naive:
        options, cores = options_of(settings, 1), os.cpu_count() or 1
        cluster: Cluster = await naive.deployed(options, cores)
    else:
        options = options_of(settings, _slots(settings, plan)).overridden(plan.args)
        if not settings.engine.ray_address:  # where no other node can come
            await driver.check_room(plan.resources)
        cluster = await driver.deployed(bind(options, plan.options))
    model_id = await _checked_model(settings, cluster)
    await index.until_ready()
    return _Joined(cluster, model_id, _limits(settings, options, is_naive=is_naive), index)


@asynccontextmanager
async def _index(settings: Settings) -> AsyncIterator[Director]:
    """The shards of the index, which begin to follow the log of faces."""
    section, state = settings.index, settings.state
    limits = IndexLimits(section.wait_s, section.queue_max, section.threads)
    shards = ActorShards(partial(open_face_log, state), limits, is_here=not state.redis_url)
    async with (
        open_face_log(state) as (_, board),
        directed(shards, section.shards, section.wait_s, board.shards_wish) as director,
    ):
        yield director


@asynccontextmanager
async def _served(joined: _Joined, socket: Path) -> AsyncIterator[None]:
    """Front doors may call, and are answered from the cluster."""
    cluster, limits = joined.cluster, joined.limits
    async with (
        Dispatcher(cluster.examine, limits) as dispatcher,
        serve_link(socket, Work(dispatcher, joined.model_id, limits.queue_max, joined.index)),
    ):
        watching = asyncio.create_task(_follow(cluster, dispatcher, limits.width))
        try:
            yield
        finally:
            watching.cancel()


def _end_at_once() -> NoReturn:
    """The cluster is gone. Whatever waits for it would wait for nothing, so doors are not let
    hang: they hear of it when this process ends, and its supervisor starts another.
    """
    logs.write("the Ray head ended", level=logging.ERROR)
    os._exit(1)


@asynccontextmanager
async def _address(
    settings: Settings, folder: Path
) -> AsyncIterator[tuple[str, "asyncio.Future[Any]"]]:
    """Where the cluster is, and what ends when a cluster of our own does."""
    given = settings.engine.ray_address
    if given:
        if not settings.engine.ray_allow_no_token and not await asks_for_token(given):
            raise ServeError(Code.CLUSTER_UNPROTECTED, given)
        yield given, asyncio.get_running_loop().create_future()
        return
    cores = os.cpu_count() or 1
    await asyncio.to_thread(end_leftovers, Path(os.environ[TOKEN_PATH_VARIABLE]))
    async with own_head(folder / "ray", os.environ, cores) as (address, process):
        yield address, asyncio.ensure_future(process.wait())


async def _checked_model(settings: Settings, cluster: Cluster) -> str:
    """The replicas' model, which must be the one that front doors compare templates of."""
    there = await cluster.model_id()
    here = read_scale(ModelCache(settings.models.cache_dir)).model_id
    if there != here:
        raise ServeError(PipelineCode.MODEL_MISMATCH, f"replicas have {there}, this host {here}")
    return there


async def _follow(cluster: Cluster, dispatcher: Dispatcher, width: int) -> None:
    """As many envelopes on their way as the replicas there are can use: `width` for each."""
    while True:
        try:
            dispatcher.width = width * max(1, await cluster.replicas())
        except Exception as error:  # noqa: BLE001 (the next look may see more)
            logs.write_error("replicas not counted", error)
        await asyncio.sleep(LOOK_S)


async def _unless(
    stop: asyncio.Event, lost: "asyncio.Future[Any]", awaited: "asyncio.Task[_Found]"
) -> _Found:
    """What is awaited. Raises _NotAwaitedError when one of the others comes first."""
    await _first(stop, lost, awaited)
    if not awaited.done():
        raise _NotAwaitedError
    return awaited.result()


async def _first(stop: asyncio.Event, *others: "asyncio.Future[Any]") -> None:
    """Return when one of them comes true."""
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait([asked, *others], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()


def _limits(settings: Settings, options: ReplicaOptions, *, is_naive: bool) -> Limits:
    queue_max = settings.engine.queue_max
    if is_naive:
        return Limits(queue_max, width=queue_max, envelope_items_max=1)
    return limits_of(settings, options)


def _slots(settings: Settings, plan: Plan) -> int:
    """Batches that one replica runs at once: this machine's cores shared out, unless set."""
    if settings.pipeline.threads:
        return settings.pipeline.threads
    return max(1, (os.cpu_count() or 1) // plan.replicas_max)
