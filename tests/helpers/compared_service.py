"""The ground of the session machine: a fresh service and its model, and how they are compared."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, initialize

from pipeline.decision.policy import LivenessPolicy
from serve.domain.api_key import Principal
from serve.domain.session import Session
from serve.domain.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows.access import authenticate
from serve.flows.customers import enrol
from serve.flows.preferences import change
from serve.flows.sessions import overview, status
from serve.flows.tenants import create_tenant
from serve.settings import State as StateSettings
from serve.store.keyring import open_keyring
from serve.store.link import open_link
from tests.helpers.service import Service, every_trigger, open_service
from tests.helpers.session_model import READABLE_MINUTES, ModelCustomer, ModelSession

Result = TypeVar("Result")
Who = tuple[bool, str]  # of the strict tenant or not, and the customer's id


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
            await enrol(service.deps, self.principals[is_strict], name, b"face 0", None)
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
