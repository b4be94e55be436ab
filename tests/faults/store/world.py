"""A service in this process over a Redis of the test's: real HTTP, flows, store and delivery;
only the models are scripted, so that a thousand operations take seconds.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from pipeline.decision.policy import LivenessPolicy
from serve.api.application import build_application
from serve.app import Models, build_deps
from serve.bench.service import BOUNDLESS
from serve.demo.receiver import Receiver
from serve.deps import Deps
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows.delivery import run_delivery
from serve.flows.search.screen import run_screenings
from serve.flows.tenants import CreatedTenant, create_tenant
from serve.outbound.sender import open_sender
from serve.settings import Settings, State, replaced
from serve.store.link import open_link
from serve.store.vault.keyring import Keyring
from tests.faults.history import History
from tests.faults.load import Clients, Photos
from tests.faults.proxy import FaultProxy, proxied
from tests.faults.stage import open_clients
from tests.faults.store.servers import Server, server
from tests.helpers.front_door import ScriptedFaces, serving
from tests.helpers.records import MODEL
from tests.helpers.search.read_index import ReadIndex

PHOTOS = Photos(b"john", (b"john, again", b"john, a third time"), (b"mary", b"paul"))


@dataclass(slots=True)
class World:
    """The service, its tenant's clients and their receiver."""

    url: str
    deps: Deps
    tenant: CreatedTenant
    receiver: Receiver
    http: aiohttp.ClientSession
    clients: Clients = field(init=False)

    def credentials(self) -> dict[str, Any]:
        """The tenant's keys, as the demo's are named."""
        return {"test_api_key": self.tenant.test_api_key}

    @property
    def history(self) -> History:
        """What the clients were told."""
        return self.clients.history


@asynccontextmanager
async def world(
    state: State,
    keyring: Keyring,
    revise: Callable[[Deps], Deps] = lambda deps: deps,
    workers_state: State | None = None,
) -> AsyncIterator[World]:
    """A service over the Redis that `state` names; its worker reaches it in a way of its own.
    `revise` may put another adapter into the front door.
    """
    link, workers_link, faces = open_link(state), open_link(workers_state or state), ScriptedFaces()
    bounds: dict[str, Any] = {f"quota.{name}": value for name, value in BOUNDLESS.items()}
    tried = {"callbacks.allow_private": True, "server.refusals_per_minute_max": 10**6}
    settings = replaced(Settings(state=state), {**tried, **bounds})
    models = Models(faces, faces, MODEL)
    deps = revise(_searching(build_deps(link, keyring, settings, models)))
    worker = _searching(build_deps(workers_link, keyring, settings, models))
    patch = TenantPatch(
        liveness_policy=LivenessPolicy.MATCH_ONLY,
        allowed_origins=("https://tenant.example",),
        keep_reference_images=False,
    )
    stop = asyncio.Event()
    tenant = await create_tenant(deps, "First", patch)
    try:
        async with (
            Receiver(tenant.webhook_secret) as receiver,
            aiohttp.ClientSession() as http,
            serving(build_application(deps, settings)) as url,
            open_sender(settings.callbacks) as sender,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(run_delivery(worker, sender, stop, random=random.random))
            tasks.create_task(run_screenings(worker, stop))
            made = World(url, deps, tenant, receiver, http)
            made.clients = await open_clients(made, http, receiver, PHOTOS, History())
            try:
                yield made
            finally:
                stop.set()
    finally:
        await link.aclose()
        await workers_link.aclose()


def _searching(deps: Deps) -> Deps:
    """The same ports with an index that reads the log anew for every search."""
    return replace(deps, index=ReadIndex(deps.face_log))


@asynccontextmanager
async def playing(
    folder: Path,
    keyring: Keyring,
    revise: Callable[[Deps], Deps] = lambda deps: deps,
    timeout_s: float = 5.0,
) -> AsyncIterator[tuple[World, FaultProxy, Server]]:
    """A service whose front door reaches its Redis through a proxy, and its worker does not."""
    path = folder / "proxy.sock"
    async with server(folder / "redis") as redis, proxied(redis.socket, path) as proxy:
        state = State(redis_url=f"unix://{path}", timeout_s=timeout_s)
        workers = State(redis_url=redis.url, timeout_s=timeout_s)
        async with world(state, keyring, revise, workers) as made:
            yield made, proxy, redis


def with_ledger(kind: Callable[..., Any]) -> Callable[[Deps], Deps]:
    """Puts a ledger of another kind in the place of the usual one."""

    def revise(deps: Deps) -> Deps:
        usual: Any = deps.ledger
        fields = {name: getattr(usual, name) for name in usual.__dataclass_fields__}
        return replace(deps, ledger=kind(**fields))

    return revise
