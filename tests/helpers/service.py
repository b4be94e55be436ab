"""A service on a real Redis, its engine scripted and its clock set at will."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from redis.asyncio import Redis

from pipeline.decision.policy import LivenessPolicy
from serve.app import Models, build_deps
from serve.deps import Deps
from serve.domain.audit import Actor, ActorKind
from serve.domain.callback import CallbackEvent
from serve.domain.change import Change, Snapshot
from serve.domain.handoff import Handoff
from serve.domain.ids import Mode, Subject
from serve.domain.operation import Operation
from serve.domain.progress import SubmitAnswer
from serve.domain.session import Session
from serve.domain.tenancy.api_key import Principal, Scope
from serve.domain.tenancy.preferences import Event, PreferencesPatch
from serve.domain.tenancy.tenant import Tenant, TenantPatch
from serve.errors import Code, ServeError
from serve.flows import preferences
from serve.flows.access import authenticate
from serve.flows.customers import EnrolAnswer, EnrolRequest, enrol
from serve.flows.events import page
from serve.flows.sessions import OpenAnswer, OpenRequest, list_sessions, open_session
from serve.flows.submit import submit
from serve.flows.tenants import create_tenant
from serve.flows.transact import new_operation
from serve.ports import Committed, Records
from serve.settings import Settings
from serve.store.ledger import RedisLedger
from serve.store.vault.keyring import Keyring
from tests.helpers.scripted_faces import ScriptedFaces
from tests.helpers.search.read_index import ReadIndex
from tests.helpers.toy_faces import MODEL, SCALE

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HOOK = "https://shop.example/hook"
WAIT_S = 20.0  # for what comes in milliseconds


class Fault(StrEnum):
    """What becomes of a commit."""

    NONE = "none"
    BEFORE = "before"  # it is not carried out
    AFTER = "after"  # it is, but the reply is lost


@dataclass(slots=True)
class Clock:
    """How far the records' clock is from Redis's, in ms. Set back, what is made now is old.

    `faults` are those of the next commits, in order; then all goes well.
    """

    shift_ms: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShiftedLedger(RedisLedger):
    """The ledger, dated by the shifted clock, with the faults of a bad link."""

    clock: Clock = field(default_factory=Clock)

    async def snapshot(self, subject: Subject) -> Snapshot:
        found = await RedisLedger.snapshot(self, subject)
        return replace(found, now_ms=found.now_ms + self.clock.shift_ms)

    async def read(
        self, subject: Subject, session_id: str, op_id: str, *, to_judge: bool = False
    ) -> Records:
        found = await RedisLedger.read(self, subject, session_id, op_id, to_judge=to_judge)
        now_ms = found.snapshot.now_ms + self.clock.shift_ms
        return replace(found, snapshot=replace(found.snapshot, now_ms=now_ms))

    async def commit(self, snapshot: Snapshot, change: Change, op_id: str) -> Committed:
        fault = self.clock.faults.pop(0) if self.clock.faults else Fault.NONE
        if fault is Fault.BEFORE:
            raise ServeError(Code.STATE_UNAVAILABLE, "the link broke")
        done = await RedisLedger.commit(self, snapshot, change, op_id)
        if fault is Fault.AFTER:
            raise ServeError(Code.STATE_UNAVAILABLE, "the link broke")
        return done

    def later(self, snapshot: Snapshot, elapsed_s: float) -> Snapshot:
        found = RedisLedger.later(self, snapshot, elapsed_s)  # from a commit, which is not shifted
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
        request = EnrolRequest(customer_id, image.encode())
        return await enrol(self.deps, self.live, request, new_operation(self.deps))

    async def opened(self, customer_id: str = "alice", **changes: Any) -> OpenAnswer:
        """A session of the customer's, for a login."""
        fields = {"reference": "order-1", "event": "login", "callback_url": HOOK, **changes}
        request = OpenRequest(customer_id=customer_id, **fields)
        self.asked += 1
        return await open_session(self.deps, self.live, request, repeatable(f"open-{self.asked}"))

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

    async def named(self, token: str) -> tuple[Subject, str]:
        """Whose session a token is of, and its id."""
        found = await self.deps.ledger.handoff(token)
        assert found is not None
        return found[0].subject, found[0].session_id

    async def record(self, subject: Subject, session_id: str) -> Session:
        """A session as it is written down."""
        snapshot = await self.deps.ledger.snapshot(subject)
        session = await self.deps.ledger.session(snapshot, session_id)
        assert session is not None
        return session

    async def advance(self, minutes: int) -> None:
        """Let time pass for records, and for what Redis keeps only so long.

        Answers of operations are kept for a while by Redis's clock, all else until a date.
        """
        step_ms = minutes * MINUTE_MS
        self.clock.shift_ms += step_ms
        keys = await self.keys("*")
        async with self.link.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pttl(key)
            lives_ms = await pipe.execute()
            for key, life_ms in zip(keys, lives_ms, strict=True):
                is_answer = ":op:" in key or ":idem:" in key
                if 0 <= life_ms <= (step_ms if is_answer else self.clock.shift_ms):
                    pipe.delete(key)
                elif is_answer:
                    pipe.pexpire(key, life_ms - step_ms)
            await pipe.execute()

    async def callbacks(self, principal: Principal | None = None) -> list[CallbackEvent]:
        """All callbacks of the tenant, or of another principal's, oldest first."""
        found: list[CallbackEvent] = []
        cursor = ""
        while True:
            events = await page(self.deps, principal or self.live, cursor, 100)
            found += events.items
            cursor = events.next_cursor
            if not cursor:
                return sorted(found, key=lambda event: (event.created_at_ms, event.sequence))

    async def make_due(self, pattern: str) -> None:
        """Queues count in Redis's own time: have them say that the time of all has come."""
        for key in await self.keys(pattern):
            members: Any = await self.link.zrange(key, 0, -1)
            await self.link.zadd(key, dict.fromkeys(members, 0))

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
    built = build_deps(link, keyring, Settings(), Models(faces, SCALE, MODEL))
    deps = replace(
        built,
        ledger=ShiftedLedger(link, keyring, 2**26, 7, clock=clock),
        index=ReadIndex(built.face_log),
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


def repeatable(op_id: str = "op") -> Operation:
    """An operation under an id of the caller's."""
    return Operation(op_id, may_repeat=True)


def stranger() -> Principal:
    """A principal of another tenant, with every scope."""
    return Principal("ten_other", Mode.LIVE, frozenset(Scope), Actor(ActorKind.KEY, "key"))


async def refusal(call: Any) -> str:
    """The code that awaiting `call` is refused with."""
    try:
        async with asyncio.timeout(WAIT_S):
            await call
    except ServeError as error:
        return error.code.value
    return "nothing refused"
