"""A service on a real Redis, its engine scripted and its clock set at will."""

import asyncio
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import Redis

from pipeline.decision.policy import LivenessPolicy
from serve.deps import Deps
from serve.domain.api_key import Principal, Scope
from serve.domain.callback import CallbackEvent
from serve.domain.change import Snapshot
from serve.domain.handoff import Handoff
from serve.domain.ids import Mode, Subject
from serve.domain.preferences import Event, PreferencesPatch
from serve.domain.session import Session
from serve.domain.tenant import Tenant, TenantPatch
from serve.errors import ServeError
from serve.flows import preferences
from serve.flows.access import authenticate
from serve.flows.customers import EnrolAnswer, enrol
from serve.flows.events import page
from serve.flows.sessions import OpenAnswer, OpenRequest, list_sessions, open_session
from serve.flows.submit import SubmitAnswer, submit
from serve.flows.tenants import create_tenant
from serve.store.directory import RedisDirectory
from serve.store.epochs import RedisEpochs
from serve.store.erasures import RedisErasures
from serve.store.keyring import Keyring
from serve.store.ledger import RedisLedger
from serve.store.listings import RedisListings
from serve.store.queues import RedisDeadlines, RedisJobs, RedisOutbox
from tests.helpers.scripted_faces import ScriptedFaces
from tests.helpers.toy_faces import MODEL, SCALE

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HOOK = "https://shop.example/hook"
WAIT_S = 20.0  # for what comes in milliseconds


@dataclass(slots=True)
class Clock:
    """How far the records' clock is from Redis's, in ms. Set back, what is made now is old."""

    shift_ms: int = 0


@dataclass(frozen=True, slots=True)
class ShiftedLedger(RedisLedger):
    """The ledger, dated by the shifted clock."""

    clock: Clock = field(default_factory=Clock)

    async def snapshot(self, subject: Subject) -> Snapshot:
        found = await RedisLedger.snapshot(self, subject)
        return replace(found, now_ms=found.now_ms + self.clock.shift_ms)

    async def handoff(self, token: str) -> tuple[Handoff, int] | None:
        found = await RedisLedger.handoff(self, token)
        return None if found is None else (found[0], found[1] + self.clock.shift_ms)


@dataclass(slots=True)
class Service:
    """Everything a test of flows needs, for one tenant with every trigger on."""

    deps: Deps
    faces: ScriptedFaces
    clock: Clock
    link: Redis
    tenant: Tenant
    live: Principal
    test: Principal
    asked: int = 0

    async def enrolled(self, customer_id: str = "alice", image: str = "face 0") -> EnrolAnswer:
        """The customer with this reference face."""
        return await enrol(self.deps, self.live, customer_id, image.encode(), None)

    async def opened(self, customer_id: str = "alice", **changes: Any) -> OpenAnswer:
        """A session of the customer's, for a login."""
        fields = {"reference": "order-1", "event": "login", "callback_url": HOOK, **changes}
        request = OpenRequest(customer_id=customer_id, **fields)
        self.asked += 1
        return await open_session(self.deps, self.live, request, f"open-{self.asked}")

    async def ready(self, **changes: Any) -> str:
        """The token of an open session of a customer with a reference face."""
        await self.enrolled()
        return (await self.opened(**changes)).token

    async def submitted(self, token: str, image: str) -> SubmitAnswer:
        """The answer to a selfie."""
        return await submit(self.deps, token, image.encode())

    async def only_session(self, customer_id: str = "alice") -> Session:
        """The customer's newest session, as the tenant sees it."""
        found = await list_sessions(self.deps, self.live, customer_id, None, 10)
        return found[0]

    async def callbacks(self) -> list[CallbackEvent]:
        """The tenant's callbacks, oldest first."""
        found = await page(self.deps, self.live, "", 100)
        return sorted(found.items, key=lambda event: (event.created_at_ms, event.sequence))

    async def told(self) -> list[str]:
        """The statuses that callbacks have told, oldest first."""
        return [json.loads(event.body)["status"] for event in await self.callbacks()]

    async def stored(self, key: str) -> bytes:
        """What lies under a Redis key that holds a string."""
        found = await self.link.get(key)
        assert isinstance(found, bytes)
        return found

    async def keys(self, pattern: str) -> list[str]:
        """The Redis keys that match."""
        return [key.decode() async for key in self.link.scan_iter(pattern)]


async def open_service(link: Redis, keyring: Keyring) -> Service:
    """A service with one tenant, `match_only`, whose every event calls for a face."""
    clock, faces = Clock(), ScriptedFaces()
    deps = Deps(
        ledger=ShiftedLedger(link, keyring, 2**26, 7, clock=clock),
        listings=RedisListings(link, keyring),
        directory=RedisDirectory(link, keyring),
        outbox=RedisOutbox(link, keyring),
        jobs=RedisJobs(link, keyring),
        deadlines=RedisDeadlines(link),
        erasures=RedisErasures(link),
        epochs=RedisEpochs(link, keyring, 7),
        faces=faces,
        scale=SCALE,
        model_id=MODEL,
        random=secrets.token_bytes,
        pepper=keyring.pepper,
    )
    patch = TenantPatch(
        liveness_policy=LivenessPolicy.MATCH_ONLY, allowed_origins=("https://shop.example",)
    )
    created = await create_tenant(deps, "Shop", patch)
    live = await authenticate(deps, created.api_key)
    test = await authenticate(deps, created.test_api_key)
    for principal in (live, test):
        await preferences.change(deps, principal, every_trigger())
    return Service(deps, faces, clock, link, created.tenant, live, test)


def every_trigger() -> PreferencesPatch:
    """Preferences under which every event calls for a face."""
    amounts = (Event.DEPOSIT, Event.WITHDRAWAL, Event.LARGE_BET_PLACEMENT)
    rules: dict[str, object] = {event.value: True for event in Event}
    rules |= {event.value: {"enabled": True} for event in amounts}
    rules[Event.HIGH_FREQUENCY_BETTING.value] = {"enabled": True}
    return PreferencesPatch.model_validate(
        {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": rules}
    )


def stranger() -> Principal:
    """A principal of another tenant, with every scope."""
    return Principal("ten_other", Mode.LIVE, frozenset(Scope), "key")


async def refusal(call: Any) -> str:
    """The code that awaiting `call` is refused with."""
    try:
        async with asyncio.timeout(WAIT_S):
            await call
    except ServeError as error:
        return error.code.value
    return "nothing refused"
