"""Every adapter of the `Faces` port over toy images, opened the same way.

`ray` is the whole way of `limen run` but for the models: a cluster's replicas, its driver in a
process of its own, and a door's end of the link to it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from serve.inference import dispatch
from serve.inference.dispatch import Dispatcher
from serve.inference.link import client
from serve.inference.link.client import LinkedFaces
from serve.inference.link.reach import Reach
from serve.inference.link.server import Work, serve_link
from serve.inference.local import Limits, LocalFaces
from serve.inference.parcels import Parcel, Report, pack
from serve.inference.room import Layout, Room
from serve.ports import Faces
from tests.serve.cluster.cluster import Cluster, a_door
from tests.serve.inference.toy_runner import PATIENCE_S, ToyRunner

MODEL = "toy"


@dataclass(frozen=True)
class Size:
    """How large an engine is. `envelope_max` 1 means that only `slots` images ever leave the
    queue before their turn, so that a test can count on what is in it.
    """

    slots: int = 1
    queue_max: int = 256
    timeout_s: float = PATIENCE_S
    envelope_max: int = 16


Opening = Callable[[Size], AbstractAsyncContextManager[Faces]]
"""Opens an engine of that size; what it needs besides is asked of the test's fixtures."""


def local(_request: pytest.FixtureRequest) -> Opening:
    """Threads in this process."""

    @asynccontextmanager
    async def opened(size: Size) -> AsyncIterator[Faces]:
        limits = Limits(size.slots, size.queue_max, size.timeout_s)
        async with LocalFaces(ToyRunner(), limits) as faces:
            yield faces

    return opened


def linked(request: pytest.FixtureRequest) -> Opening:
    """A door's end of the link, the engine's end, the dispatcher, and one replica's room."""
    folder: Path = request.getfixturevalue("tmp_path")

    @asynccontextmanager
    async def opened(size: Size) -> AsyncIterator[Faces]:
        path = folder / "faces.sock"
        limits = client.Limits(size.timeout_s)
        async with (
            Room(ToyRunner(), Layout(size.slots, size.queue_max)) as room,
            Dispatcher(_carry(room), _limits(size)) as dispatcher,
            serve_link(path, Work(dispatcher, MODEL, size.queue_max)),
            Reach(path, size.timeout_s, model_id=MODEL) as reach,
        ):
            await reach.until_connected()
            yield LinkedFaces(reach, limits)

    return opened


def over_ray(request: pytest.FixtureRequest) -> Opening:
    """A door's end of the link, and the rest in other processes. The replicas of the one cluster
    have one slot each; `slots` tells how much may be on its way to them.
    """
    cluster: Cluster = request.getfixturevalue("cluster")

    @asynccontextmanager
    async def opened(size: Size) -> AsyncIterator[Faces]:
        async with cluster.engine(_limits(size)) as path, a_door(path, size.timeout_s) as faces:
            yield faces

    return opened


def _limits(size: Size) -> dispatch.Limits:
    width = size.slots if size.envelope_max == 1 else 2 * size.slots
    return dispatch.Limits(size.queue_max, width, envelope_items_max=size.envelope_max)


def _carry(room: Room) -> dispatch.Call:
    async def call(parcels: Sequence[Parcel]) -> tuple[list[bytes], Report]:
        answers = await asyncio.gather(*(room.examine(parcel) for parcel in parcels))
        return [pack(answer) for answer in answers], room.report()

    return call


ENGINES: dict[str, Callable[[pytest.FixtureRequest], Opening]] = {
    "local": local,
    "linked": linked,
    "ray": over_ray,
}
