"""A replica: the whole pipeline in one process, fed by envelopes, one process for each GPU."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ray import serve as ray_serve

from pipeline.models.load import LoadedPack
from serve.inference.cluster.options import DEPLOYMENT, ReplicaOptions, options_of
from serve.inference.cluster.routing import LEAST_LOADED
from serve.inference.loading import open_pack
from serve.inference.parcels import Flag, Parcel, Report, pack
from serve.inference.room import Layout, Room, Runner
from serve.observe import logs
from serve.settings import load

Item = tuple[bytes, str, int, float]  # a parcel's fields: plain values pickle in half the time
Answered = tuple[list[bytes], tuple[tuple[int, ...], float, int, float, int]]


def loaded(options: ReplicaOptions) -> LoadedPack:
    """The packs of this machine's cache, every model warmed. Raises `pack_missing` and others."""
    opened = open_pack(options)
    opened.faces.warm()
    return opened


class Faces:
    """The deployment. Its queue and its batches are `serve.inference.room`'s; nothing here waits
    for a timer, and nothing blocks the loop.
    """

    async def __init__(self, options: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve's way
        logs.set_up()
        made = ReplicaOptions(**options)
        runner, self._model_id = await asyncio.to_thread(self.load, made)
        layout = Layout(made.slots, made.queue_max, made.batch_max, made.decoders)
        self._room = await Room(runner, layout).__aenter__()

    @staticmethod
    def load(options: ReplicaOptions) -> tuple[Runner, str]:
        """The pipeline and the id of its templates."""
        opened = loaded(options)
        return opened.faces, opened.scale.model_id

    async def examine(self, items: Sequence[Item]) -> Answered:
        """A packed answer for each item, in order, and what was done since the last report."""
        answers = await asyncio.gather(*(self._room.examine(_parcel(item)) for item in items))
        report = self._room.report()
        return [pack(answer) for answer in answers], _plain(report)

    async def model_id(self) -> str:
        """The id that every template of this replica carries."""
        return self._model_id

    async def check_health(self) -> None:
        """Called by Serve now and then; what raises is replaced."""
        if not self._room.is_healthy:
            raise RuntimeError("the device fails every batch")


def _parcel(item: Item) -> Parcel:
    image, tenant_id, asked, remaining_s = item
    return Parcel(image, tenant_id, Flag(asked).plan, remaining_s)


def _plain(report: Report) -> tuple[tuple[int, ...], float, int, float, int]:
    return report.batches, report.cpu_s, report.waiting, report.image_s, report.slots


def bind(
    options: ReplicaOptions, deployment: Mapping[str, Any], kind: type[Faces] = Faces
) -> ray_serve.Application:
    """The application, with the deployment's options of a Serve file."""
    made = ray_serve.deployment(name=DEPLOYMENT, request_router_config=LEAST_LOADED, **deployment)(
        kind
    )
    return made.bind(asdict(options))


def build(args: dict[str, Any]) -> ray_serve.Application:
    """What `serve deploy` calls: settings of this machine, `args` of the file over them."""
    settings = load()
    options = options_of(settings, settings.pipeline.threads or 1).overridden(args)
    return bind(options, {})  # the file's own options of the deployment are put over these
