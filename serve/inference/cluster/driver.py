"""The one driver of a cluster: joins it, sees that the replicas are there, carries envelopes.

A driver dies with the Ray node it is on, from below and without a word to Python. That is why
it lives in a process of its own, which its supervisor starts again.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import ray
from ray import serve as ray_serve
from ray.exceptions import RayActorError, TaskCancelledError
from ray.serve.exceptions import ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from serve.errors import Code, ServeError
from serve.inference.cluster.options import APPLICATION, DEPLOYMENT
from serve.inference.dispatch import ReplicaLostError
from serve.inference.parcels import Flag, Parcel, Report

NAMESPACE = "limen"
WHY_LENGTH_MAX = 200


class Driver:
    """A joined cluster and a handle on its deployment."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def examine(self, envelope: Sequence[Parcel]) -> tuple[Sequence[bytes], Report]:
        """Carry an envelope to a replica and its answers back. Raises ReplicaLostError."""
        items = [
            (parcel.image, parcel.tenant_id, int(Flag.of(parcel.plan)), parcel.remaining_s)
            for parcel in envelope
        ]
        try:
            answers, report = await self._handle.examine.remote(items)
        except (RayActorError, ReplicaUnavailableError, TaskCancelledError) as error:
            raise ReplicaLostError(type(error).__name__) from error
        return answers, Report(*report)

    async def model_id(self) -> str:
        """Of the replicas' templates."""
        found: str = await self._handle.model_id.remote()
        return found

    async def replicas(self) -> int:
        """How many replicas take calls now."""
        return await asyncio.to_thread(_running)


async def join(address: str) -> None:
    """Connect this process to the cluster. Raises `engine_unavailable`."""
    for name in ("ray", "ray.serve"):  # what they say at INFO is for people who play with Ray
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.stdout = _nowhere()  # Ray prints there what it says of its parts
    try:
        await asyncio.to_thread(
            ray.init, address=address, namespace=NAMESPACE, log_to_driver=False,
            configure_logging=False,
        )  # fmt: skip
    except (RuntimeError, ConnectionError, OSError, ray.exceptions.RayError) as error:
        detail = f"the Ray cluster at {address} was not joined: {type(error).__name__}"
        raise ServeError(Code.ENGINE_UNAVAILABLE, detail) from error


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


async def leave() -> None:
    """Disconnect from the cluster, which goes on without us."""
    await asyncio.to_thread(ray.shutdown)


async def check_room(wanted: Mapping[str, float]) -> None:
    """Raises `engine_unavailable` unless the cluster as it is has these resources: Serve would
    wait for them for ever, and not say so.
    """
    there = await asyncio.to_thread(ray.cluster_resources)
    for name, amount in wanted.items():
        if amount > there.get(name, 0):
            detail = f"the replicas want {amount:g} {name}, Ray finds {there.get(name, 0):g} here"
            raise ServeError(Code.ENGINE_UNAVAILABLE, detail)


async def deployed(application: ray_serve.Application) -> Driver:
    """The deployment of this cluster, made unless there is one, with a replica ready.

    Raises `engine_unavailable` when no replica gets ready.
    """
    try:
        return Driver(await asyncio.to_thread(_deploy, application))
    except (RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
        detail = f"no replica got ready: {await asyncio.to_thread(_why, error)}"
        raise ServeError(Code.ENGINE_UNAVAILABLE, detail) from error


def _deploy(application: ray_serve.Application) -> DeploymentHandle[Any]:
    if APPLICATION in ray_serve.status().applications:
        return ray_serve.get_app_handle(APPLICATION)
    ray_serve.start(proxy_location="Disabled")
    return ray_serve.run(application, name=APPLICATION, route_prefix=None)


def _why(error: Exception) -> str:
    """The last line that a failed deployment says of itself: what its replicas raised."""
    try:
        lines = ray_serve.status().applications[APPLICATION].message.strip().splitlines()
    except (KeyError, RuntimeError, ray.exceptions.RayError):
        return type(error).__name__
    return lines[-1][:WHY_LENGTH_MAX] if lines else type(error).__name__


def _running() -> int:
    application = ray_serve.status().applications.get(APPLICATION)
    if application is None or DEPLOYMENT not in application.deployments:
        return 0
    states = application.deployments[DEPLOYMENT].replica_states
    return sum(number for state, number in states.items() if str(state).endswith("RUNNING"))
