"""`limen run`, whole: Redis, the install's keys, the children, the listener for operators."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serve.app import open_deps
from serve.demo.credentials import FILE_NAME
from serve.demo.tenant import ensure_demo_tenant
from serve.errors import Code, ServeError
from serve.flows.tenants import list_tenants
from serve.flows.upkeep.returns import erase_returned
from serve.inference.cluster.kin import end_leftovers
from serve.inference.place import meeting_place, token_file
from serve.observe.metrics import FOLDER_VARIABLE
from serve.processes.admin import open_admin
from serve.processes.child import Program
from serve.processes.door import tls_context
from serve.processes.environment import (
    engine_environment,
    environment_for,
    sweeper_environment,
)
from serve.processes.lifeline import forbid_core_dumps
from serve.processes.listening import listen, shown_host
from serve.processes.supervisor import Supervisor, stopped_by_signals
from serve.settings import EngineKind, Settings, replaced
from serve.store.headroom import RedisHeadroom
from serve.store.install import open_install
from serve.store.link import open_link, ping
from serve.store.local.embedded import OwnedServer, own_embedded
from serve.store.local.filelocks import try_lock

_PART = (sys.executable, "-m", "serve.processes")
START_PARTS = 16  # the part of `disk_free_min_bytes` without which Redis is not started
NO_TENANT = "there is no tenant yet: `limen tenant create NAME` makes one"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Commands:
    """What the children run."""

    door: tuple[str, ...] = (*_PART, "door")
    work: tuple[str, ...] = (*_PART, "work")
    engine: tuple[str, ...] = (*_PART, "engine")
    sweep: tuple[str, ...] = (*_PART, "sweep")


async def run_service(
    settings: Settings, say: Say, commands: Commands | None = None, *, demo: bool = False
) -> int:
    """Run until SIGTERM or SIGINT; the exit status. `say` tells the operator one line.

    Raises coded errors for what stops the start: `store_busy`, `store_unsupported`,
    `store_damaged`, `storage_low`, `state_unavailable`, `keys_mismatch`, `schema_unsupported`,
    `address_in_use`, `setting_invalid`, `file_unwritable`.
    """
    forbid_core_dumps()
    settings = shared_out(settings)
    scheme = "http" if tls_context(settings.server) is None else "https"
    os.umask(0o077)
    async with AsyncExitStack() as opened:
        stop = await opened.enter_async_context(stopped_by_signals())
        server = await opened.enter_async_context(_redis(settings))
        metrics_folder = opened.enter_context(_metrics_folder(settings.state.data_dir.absolute()))
        await _check_install(settings)
        await announce_returned(settings, say)
        left_to_do = await announce_install(settings, say, demo=demo)
        listeners = listen(settings.server.host, settings.server.port, settings.server.workers)
        port = listeners[0].getsockname()[1]
        environment = environment_for(settings, metrics_folder)
        if settings.engine.kind is not EngineKind.LOCAL:
            opened.enter_context(meeting_place(settings.state.data_dir))
            opened.callback(end_leftovers, token_file(settings.state.data_dir))
        programs = _programs(settings, commands or Commands(), listeners, environment)
        link = open_link(settings.state)
        headroom = RedisHeadroom(link, settings.state)
        supervisor = Supervisor(
            programs,
            environment,
            server,
            crashes_max=settings.server.crashes_per_minute_max,
        )
        try:
            async with open_admin(
                settings.admin.listen, supervisor, partial(ping, link), headroom.short_of
            ) as admin:
                url = f"{scheme}://{shown_host(settings.server.host)}:{port}"
                greeting = asyncio.create_task(_greet(supervisor, say, url, admin, left_to_do))
                try:
                    return await supervisor.run(stop)
                finally:
                    greeting.cancel()
        finally:
            supervisor.close()
            await link.aclose()


def _programs(
    settings: Settings,
    commands: Commands,
    listeners: Sequence[socket.socket],
    environment: Mapping[str, str],
) -> list[Program]:
    doors = [Program(f"door {n}", commands.door, each) for n, each in enumerate(listeners, 1)]
    calm = sweeper_environment(environment)
    programs = [
        *doors,
        Program("worker", commands.work),
        Program("sweeper", commands.sweep, environment=calm, is_vital=False),
    ]
    if settings.engine.kind is not EngineKind.LOCAL:
        own = engine_environment(settings, environment)
        programs.append(Program("engine", commands.engine, environment=own))
    return programs


async def announce_install(settings: Settings, say: Say, *, demo: bool) -> str:
    """Show the demo tenant's secrets when they are made; what is left to do, "" for nothing.

    Redis runs and the install has been checked; no child runs yet.
    """
    async with open_deps(settings, with_models=False, supervised=True) as deps:
        if not demo:
            return "" if await list_tenants(deps) else NO_TENANT
        made = await ensure_demo_tenant(deps, settings.state.data_dir)
    say("demo tenant: approves a match with a challenge that was passed, as any tenant does")
    if made is None:
        say(f"its keys were shown when it was made; see {settings.state.data_dir / FILE_NAME}")
        return ""
    say(f"  tenant_id       {made.tenant.id}")
    say(f"  api_key         {made.api_key}")
    say(f"  test_api_key    {made.test_api_key}")
    say(f"  webhook_secret  {made.webhook_secret}")
    return ""


async def announce_returned(settings: Settings, say: Say) -> None:
    """Erase again whoever a restored backup brought back, and tell how many they were.

    Before any child runs: nobody finds them meanwhile.
    """
    async with open_deps(settings, with_models=False, supervised=True) as deps:
        number = await erase_returned(deps)
    if number:
        say(f"erased again, as they had been before the records were restored: {number}")


def shared_out(settings: Settings) -> Settings:
    """`settings` with this machine's cores divided among the front doors that hold models."""
    if settings.pipeline.threads or settings.engine.kind is not EngineKind.LOCAL:
        return settings
    cores = os.cpu_count() or 1
    return replaced(settings, {"pipeline.threads": max(1, cores // settings.server.workers)})


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[OwnedServer | None]:
    if settings.state.redis_url:
        yield None
        return
    state = settings.state
    free_min_bytes = state.disk_free_min_bytes // START_PARTS
    async with own_embedded(state.data_dir, free_min_bytes=free_min_bytes) as server:
        yield server


async def _check_install(settings: Settings) -> None:
    link = open_link(settings.state)
    try:
        await open_install(link, settings.state)
    finally:
        await link.aclose()


async def _greet(supervisor: Supervisor, say: Say, url: str, admin: str, left_to_do: str) -> None:
    await supervisor.until_ready()
    say(f"listening on {url}")
    if admin:
        say(f"for operators: {admin}/readyz and {admin}/metrics")
    if left_to_do:
        say(left_to_do)


@contextmanager
def _metrics_folder(data_dir: Path) -> Iterator[Path]:
    """Where the children count: emptied, because counts begin with the service.

    The variable is set here as well, for this process's reading; nothing is counted in it.
    """
    folder = data_dir / "metrics"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{folder}: {error.strerror}") from error
    held = try_lock(folder / "lock")
    if held is None:
        raise ServeError(Code.STORE_BUSY, f"another `limen run` uses {data_dir}")
    try:
        for path in folder.glob("*.db"):
            path.unlink()
        os.environ[FOLDER_VARIABLE] = str(folder)
        yield folder
    finally:
        held.release()
