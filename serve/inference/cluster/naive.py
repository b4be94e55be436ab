"""The yardstick: Ray Serve as its tutorials have it, `@serve.batch` and one image per call.

For `limen bench http --engine naive-serve` alone. The pipeline is the same, so what differs is
how images reach it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ray import serve as ray_serve
from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from serve.inference.cluster.options import APPLICATION, DEPLOYMENT, ReplicaOptions
from serve.inference.cluster.replica import loaded
from serve.inference.dispatch import ReplicaLostError
from serve.inference.parcels import Flag, Parcel, Report, pack
from serve.observe import logs

BATCH_MAX = 16
WAIT_S = 0.01
ONGOING_MAX = 64

Examined = tuple[bytes, tuple[int, ...], float]  # packed answer, batches begun, processor seconds


class NaiveFaces:
    """A replica as written in an afternoon: the handler of a batch runs the models."""

    def __init__(self, options: dict[str, Any]) -> None:
        logs.set_up()
        opened = loaded(ReplicaOptions(**options))
        self._faces = opened.faces
        self._model_id = opened.scale.model_id

    # The decorator's stub forgets methods.
    @ray_serve.batch(  # type: ignore[arg-type]
        max_batch_size=BATCH_MAX, batch_wait_timeout_s=WAIT_S
    )
    async def examine(  # type: ignore[misc]
        self, images: list[bytes], asked: list[int]
    ) -> list[Examined]:
        """A packed answer for each image."""
        start_s = time.thread_time()
        plans = [Flag(each).plan for each in asked]
        outcomes = self._faces.complete(self._faces.prepare(images), plans)
        cpu_s = (time.thread_time() - start_s) / len(images)
        batches = [(len(images),), *([()] * (len(images) - 1))]  # the first tells of them all
        return [(pack(out), batch, cpu_s) for out, batch in zip(outcomes, batches, strict=True)]

    async def model_id(self) -> str:
        """The id that every template of this replica carries."""
        return self._model_id


class NaiveDriver:
    """Carries each image by itself."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def examine(self, envelope: Sequence[Parcel]) -> tuple[Sequence[bytes], Report]:
        """The one image of an envelope, there and back. Raises ReplicaLostError."""
        (parcel,) = envelope
        try:
            packed, batches, cpu_s = await self._handle.examine.remote(
                parcel.image, int(Flag.of(parcel.plan))
            )
        except RayActorError as error:
            raise ReplicaLostError(type(error).__name__) from error
        return [packed], Report(batches, cpu_s)

    async def model_id(self) -> str:
        """Of the replicas' templates."""
        found: str = await self._handle.model_id.remote()
        return found

    async def replicas(self) -> int:
        """Never asked for: the naive way has no width."""
        return 1


async def deployed(options: ReplicaOptions, replicas: int) -> NaiveDriver:
    """The naive deployment, a replica for each core."""
    return NaiveDriver(await asyncio.to_thread(_deploy, options, replicas))


def _deploy(options: ReplicaOptions, replicas: int) -> DeploymentHandle[Any]:
    ray_serve.start(proxy_location="Disabled")
    made = ray_serve.deployment(
        name=DEPLOYMENT, num_replicas=replicas, max_ongoing_requests=ONGOING_MAX
    )(NaiveFaces)
    return ray_serve.run(made.bind(asdict(options)), name=APPLICATION, route_prefix=None)
