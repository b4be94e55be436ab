"""A small model of customers and their sessions, and a service that is compared with it.

Time is counted in steps of 7 minutes: none of the limits is a whole number of them, so the
milliseconds that a test takes decide nothing.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, initialize

from pipeline.decision.policy import LivenessPolicy
from serve.domain.ids import Subject
from serve.domain.progress import SubmitAnswer
from serve.domain.session import MOVES, Session, State
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows.access import authenticate
from serve.flows.customers import EnrolRequest, enrol
from serve.flows.preferences import change
from serve.flows.sessions import overview, status
from serve.flows.tenants import create_tenant
from serve.flows.transact import new_operation
from serve.settings import State as StateSettings
from serve.store.link import open_link
from serve.store.vault.keyring import open_keyring
from tests.helpers.service import Service, every_trigger, open_service

STEP_MINUTES = 7
TOKEN_MINUTES, READABLE_MINUTES, DAY_MINUTES = 10, 15, 24 * 60
LEASE_MINUTES, JOB_MINUTES = 0.5, 10
SUBMISSIONS, LOCKOUT = 3, 10
WORDS = {State.CREATED: "pending"}
MATCHES = ("face 3", "face 5")
IMAGES = (*MATCHES, "face 60", "face 61", "face 62", "face 63", "blurred 0", "blurred 1")

Result = TypeVar("Result")
Who = tuple[bool, str]  # of the strict tenant or not, and the customer's id


@dataclass(slots=True)
class ModelSession:
    """One session; `state` is as written down, `view` as time has left it."""

    token: str
    event: str
    reference: str
    opened: int
    state: State
    failed: int
    name: tuple[Subject, str] | None = None  # whose it is, and its id
    tries: int = 0
    captures: int = 0
    image: str = ""
    lease_until: float = 0
    is_connected: bool = False
    is_erased: bool = False
    answers: dict[str, SubmitAnswer] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def is_gone(self, now: int) -> bool:
        """Whether its token finds nothing any more."""
        return self.is_erased or now - self.opened >= DAY_MINUTES

    def view(self, now: int) -> State:
        state = self.state
        if state is State.PROCESSING and now >= self.lease_until:
            state = State.CAPTURING
        is_late = now >= self.opened + TOKEN_MINUTES
        return State.EXPIRED if is_late and state in {State.CREATED, State.CAPTURING} else state

    def status(self, state: State) -> str:
        if state is State.CAPTURING:
            return "declined" if self.tries else "pending"
        return WORDS.get(state, state.value)

    def move(self, state: State, *, tells: bool) -> None:
        assert state is self.state or state in MOVES[self.state]
        self.state = state
        if tells:
            self.told.append(self.status(state))


@dataclass(slots=True)
class ModelCustomer:
    """One customer of one tenant; `is_strict` tenants send every match to a reviewer."""

    is_strict: bool
    is_enrolled: bool = False
    listed: dict[str, ModelSession] = field(default_factory=dict)
    carried: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    sessions: list[ModelSession] = field(default_factory=list)
    alerts: int = 0
    is_lockout_told: bool = False

    def carried_failures(self, reference: str, now: int) -> int:
        count, since = self.carried.get(reference, (0, now))
        return count if now - since < DAY_MINUTES else 0

    def is_locked(self, now: int) -> bool:
        return sum(now - at < DAY_MINUTES for at in self.failures) >= LOCKOUT

    def open(self, token: str, event: str, reference: str, now: int) -> ModelSession:
        older = self.listed.get(event)
        if older is not None:
            self.supersede(older, now)
        failed = self.carried_failures(reference, now)
        is_shut = self.is_locked(now) or failed >= SUBMISSIONS
        state = State.DECLINED if is_shut else State.CREATED
        session = ModelSession(token, event, reference, now, state, failed)
        self.sessions.append(session)
        if not is_shut:
            self.listed[event] = session
            self.is_lockout_told = False
        elif self.is_locked(now) and not self.is_lockout_told:
            self.is_lockout_told = True
            self.alerts += 1
        return session

    def supersede(self, older: ModelSession, now: int) -> None:
        view = older.view(now)
        if view is State.EXPIRED:
            self.run_out(older, now)
        elif view in {State.CREATED, State.CAPTURING}:
            self.free(older, now)
            self.end(older, State.CANCELED)

    def free(self, session: ModelSession, now: int) -> None:
        """Write down that a lease ran out, if it did."""
        if session.state is State.PROCESSING and now >= session.lease_until:
            session.move(State.CAPTURING, tells=False)

    def run_out(self, session: ModelSession, now: int) -> None:
        """Write down what time has done."""
        self.free(session, now)
        if session.view(now) is State.EXPIRED:
            if session.state is not State.EXPIRED:
                self.end(session, State.EXPIRED)
        else:
            self.close_superseded(session, now)

    def close_superseded(self, session: ModelSession, now: int) -> None:
        if session.state is State.CAPTURING and self.listed.get(session.event) is not session:
            self.supersede(session, now)

    def end(self, session: ModelSession, state: State) -> None:
        session.move(state, tells=True)
        if self.listed.get(session.event) is session:
            del self.listed[session.event]

    def refusal(self, session: ModelSession, now: int) -> Code | None:
        """Why a submission is refused."""
        if session.is_gone(now):
            return Code.NOT_FOUND
        if now - session.opened >= TOKEN_MINUTES:
            return Code.TOKEN_EXPIRED
        match session.view(now):
            case State.CREATED | State.CAPTURING:
                return None
            case State.PROCESSING:
                return Code.SUBMISSION_IN_PROGRESS
            case State.DECLINED:
                return Code.ATTEMPTS_EXHAUSTED
            case _:
                return Code.SESSION_CLOSED

    def begin(self, session: ModelSession, image: str, now: int, minutes: float) -> None:
        self.free(session, now)
        if session.state is State.CREATED:
            session.move(State.CAPTURING, tells=False)
        session.move(State.PROCESSING, tells=False)
        session.image, session.lease_until = image, now + minutes

    def let_go(self, session: ModelSession, now: int) -> None:
        """No verdict was reached, and whoever judged says so."""
        session.move(State.CAPTURING, tells=False)
        self.close_superseded(session, now)

    def judge(self, session: ModelSession, image: str, now: int) -> int:
        """Move the session as the image deserves; the HTTP status that it is answered with."""
        if image.startswith("blurred"):
            session.captures += 1
            session.move(State.CAPTURING, tells=False)
            self.close_superseded(session, now)
            return 422
        session.tries += 1
        if image in MATCHES:
            if self.is_strict:
                session.move(State.NEEDS_REVIEW, tells=True)
                return 200
            self.carried.pop(session.reference, None)
            self.end(session, State.APPROVED)
            return 200
        session.failed += 1
        carried = self.carried_failures(session.reference, now)
        since = self.carried[session.reference][1] if carried else now
        self.carried[session.reference] = (carried + 1, since)
        self.failures.append(now)
        if session.failed >= SUBMISSIONS:
            self.end(session, State.DECLINED)
            self.alerts += 1
        else:
            session.move(State.CAPTURING, tells=True)
            self.close_superseded(session, now)
        return 200

    def erase(self) -> None:
        for session in self.sessions:
            session.is_erased = True
        self.is_enrolled = self.is_lockout_told = False
        self.listed, self.carried, self.failures, self.alerts = {}, {}, [], 0


@dataclass(frozen=True, slots=True)
class Store:
    """Where the machine runs."""

    state: StateSettings
    folder: Path


class ComparedService(RuleBasedStateMachine):
    """A service and the model of it: two tenants, one strict, and three customers.

    A machine adds the rules; each session is compared where it is touched, and all at the end.
    """

    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.minutes = 0
        self.customers: dict[Who, ModelCustomer] = {}
        self.opened: list[tuple[Who, ModelSession]] = []
        self.principals: dict[bool, Principal] = {}
        self.jobs: list[tuple[Who, ModelSession, str]] = []

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(call)

    def tried(self, call: Coroutine[Any, Any, Result]) -> Result | str:
        """The result, or the code it was refused with."""
        try:
            return self.run(call)
        except ServeError as error:
            return error.code.value

    @initialize()
    def begin(self) -> None:
        self.service = self.run(self._begin())

    async def _begin(self) -> Service:
        link = open_link(self.store.state)
        await link.flushall()
        service = await open_service(link, open_keyring(self.store.folder, 0, create=True))
        created = await create_tenant(
            service.deps,
            "Strict",
            TenantPatch(
                liveness_policy=LivenessPolicy.REQUIRED, allowed_origins=("https://shop.example",)
            ),
        )
        strict = await authenticate(service.deps, created.api_key)
        await change(service.deps, strict, every_trigger())
        self.principals = {False: service.live, True: strict}
        for is_strict in self.principals:
            self.customers[is_strict, "alice"] = ModelCustomer(is_strict)
        self.customers[False, "bob"] = ModelCustomer(is_strict=False)
        for (is_strict, name), customer in self.customers.items():
            await enrol(
                service.deps,
                self.principals[is_strict],
                EnrolRequest(name, b"face 0", None),
                new_operation(service.deps),
            )
            customer.is_enrolled = True
        return service

    def teardown(self) -> None:
        try:
            for number in range(len(self.opened)):
                self.check(number)
            self.check_tenants()
        finally:
            self.run(self.service.link.aclose())
            self.runner.close()

    def chosen(self, number: int) -> tuple[Who, ModelSession]:
        return self.opened[-1 - number % len(self.opened)]

    def number_of(self, session: ModelSession) -> int:
        return next(n for n, (_, item) in enumerate(self.opened) if item is session)

    def record(self, session: ModelSession) -> Session:
        assert session.name is not None
        return self.run(self.service.record(*session.name))

    def check(self, number: int) -> None:
        """The session is as the model has it, for its tenant and for its token's holder."""
        _, session = self.opened[number]
        said = self.tried(status(self.service.deps, session.token))
        if session.is_gone(self.minutes):
            assert said == Code.NOT_FOUND
        elif self.minutes - session.opened >= READABLE_MINUTES:
            assert said == Code.TOKEN_EXPIRED
        else:
            assert not isinstance(said, str)
            assert said.status == session.status(session.view(self.minutes))
            assert said.data.retries_remaining == max(0, 3 - session.failed)
        if session.is_erased:
            return
        record = self.record(session)
        assert record.state is session.state
        assert (record.failed_attempts, record.tries) == (session.failed, session.tries)
        assert record.captures == session.captures

    def check_tenants(self) -> None:
        """What each tenant was told, and its counts, are the model's."""
        for is_strict, principal in self.principals.items():
            ours = [session for who, session in self.opened if who[0] is is_strict]
            told: dict[str, list[str]] = {}
            for event in self.run(self.service.callbacks(principal)):
                told.setdefault(event.session_id, []).append(json.loads(event.body)["status"])
            kept = [session for session in ours if not session.is_erased]
            expected = {self.record(item).id: item.told for item in kept if item.told}
            assert told == expected
            counts = self.run(overview(self.service.deps, principal))
            statuses = Counter(f"sessions.{item.status(item.state)}" for item in ours)
            alerts = sum(
                who.alerts for who in self.customers.values() if who.is_strict is is_strict
            )
            statuses |= Counter({"sessions.total": len(ours), "alerts.open": alerts})
            assert {name: number for name, number in counts.items() if number} == +statuses
