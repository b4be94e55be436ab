"""Four worlds behind one front door: two tenants in two modes, each with keys of every kind.

The door, its Redis and its flows are real and live on a thread of their own, so that a client
that blocks can talk to it. Only the models and the clock of the records are scripted.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.decision.policy import LivenessPolicy
from serve.api.application import build_application
from serve.deps import Deps
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Scope
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows.jobs import run_jobs
from serve.flows.tenants import create_key, create_tenant
from serve.flows.upkeep.deadlines import SWEEP_MAX, sweep_deadlines
from serve.settings import Server, Settings, State
from serve.store.ledger import RedisLedger
from serve.store.link import open_link
from serve.store.vault.keyring import open_keyring
from tests.helpers.front_door import deps_on, serving
from tests.helpers.service import MINUTE_MS, Clock, ShiftedLedger

Result = TypeVar("Result")
WAIT_S = 60.0
WORK_S = 0.2  # for what waits in a queue of an idle machine
REFUSALS_MAX = 10**6  # every other call of these tests is a guess that must not succeed


@dataclass(frozen=True)
class World:
    """One tenant in one mode: its keys, and the words that only its own requests contain."""

    name: str
    tenant_id: str
    mode: Mode
    key: str = field(repr=False)
    scoped: dict[Scope, str] = field(repr=False)

    @property
    def tenant(self) -> str:
        """`a` or `b`."""
        return self.name[0]

    def word(self, what: str) -> str:
        """Free text that nobody else says of their own accord."""
        return f"canary-{self.name}-{what}"

    def url(self, what: str) -> str:
        """A URL at the tenant's origin."""
        return f"https://{self.tenant}.example/{self.word(what)}"


@dataclass
class Stage:
    """A running door and who may come to it."""

    url: str
    deps: Deps
    worlds: tuple[World, ...]
    loop: asyncio.AbstractEventLoop
    clock: Clock

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something where the door lives, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def work(self) -> None:
        """Judge the captures that were accepted for later."""
        self.run(_worked(self.deps))

    def let_pass(self, minutes: int) -> None:
        """Records are that much older, and what time alone moves has been moved."""
        self.clock.shift_ms += minutes * MINUTE_MS
        self.run(_swept(self.deps))


@contextmanager
def isolation_stage(
    state: State, keys: Path, alter: Callable[[Deps], Deps] = lambda deps: deps
) -> Iterator[Stage]:
    """Four worlds on an emptied Redis. `alter` may plant a defect into the ports."""
    ready: list[Stage | BaseException] = []
    told, over = threading.Event(), threading.Event()

    async def live() -> None:
        link = open_link(state)
        await link.flushall()
        clock = Clock()
        deps = deps_on(link, open_keyring(keys, 0, create=True))
        members = {item.name: getattr(deps.ledger, item.name) for item in fields(RedisLedger)}
        deps = alter(replace(deps, ledger=ShiftedLedger(**members, clock=clock)))
        worlds = [world for name in "ab" for world in await _worlds(deps, name)]
        server = Server(refusals_per_minute_max=REFUSALS_MAX)
        async with serving(build_application(deps, Settings(server=server))) as url:
            loop = asyncio.get_running_loop()
            ready.append(Stage(url, deps, tuple(worlds), loop, clock))
            told.set()
            await asyncio.to_thread(over.wait)
        await link.aclose()

    def main() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            ready.append(error)
            told.set()
            raise

    thread = threading.Thread(target=main, name="isolation stage")
    thread.start()
    try:
        assert told.wait(WAIT_S), "no front door"
        (found,) = ready
        assert isinstance(found, Stage), found
        yield found
    finally:
        over.set()
        thread.join(WAIT_S)


async def _worlds(deps: Deps, name: str) -> list[World]:
    patch = TenantPatch(
        liveness_policy=LivenessPolicy.MATCH_ONLY, allowed_origins=(f"https://{name}.example",)
    )
    created = await create_tenant(deps, f"canary-{name}-both-tenant", patch)
    tenant_id = created.tenant.id
    found = []
    for mode in Mode:
        _, key = await create_key(deps, tenant_id, mode, tuple(Scope))
        scoped = {scope: (await create_key(deps, tenant_id, mode, (scope,)))[1] for scope in Scope}
        found.append(World(f"{name}-{mode}", tenant_id, mode, key, scoped))
    return found


async def _worked(deps: Deps) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_jobs(deps, stop))
        await asyncio.sleep(WORK_S)
        stop.set()


async def _swept(deps: Deps) -> None:
    ledger = deps.ledger
    assert isinstance(ledger, RedisLedger)
    async for key in ledger.link.scan_iter("*:deadlines"):  # they count in Redis's own time
        members: Any = await ledger.link.zrange(key, 0, -1)
        await ledger.link.zadd(key, dict.fromkeys(members, 0), xx=True)
    while await sweep_deadlines(deps) == SWEEP_MAX:
        pass
