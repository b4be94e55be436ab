"""What is begun and what goes on while the store is short of room."""

from dataclasses import dataclass, replace

import pytest

from pipeline.decision.policy import LivenessPolicy
from pipeline.decision.verdict import Outcome
from serve.domain.headroom import Shortage
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows.customers import EnrolRequest, enrol, erase
from serve.flows.sessions import OpenRequest, cancel_session, open_session, review_session
from serve.flows.submit import accept
from serve.flows.tenants import change_settings
from serve.flows.transact import new_operation
from tests.helpers.service import Service, refusal, repeatable


@dataclass
class Scripted:
    """A store that is as short of room as the test says."""

    short: Shortage | None = None

    async def check(self) -> None:
        if self.short is not None:
            raise ServeError(Code.STORAGE_LOW, "planned")

    async def short_of(self) -> Shortage | None:
        return self.short


@pytest.fixture
def store(service: Service) -> Scripted:
    """How much room the service's store has."""
    scripted = Scripted()
    service.deps = replace(service.deps, headroom=scripted)
    return scripted


async def test_nothing_new_is_begun(service: Service, store: Scripted) -> None:
    """Sessions, enrolments and waiting captures are refused, before a model is asked, and no key
    is written.
    """
    token = await service.ready()
    before, asked = await service.keys("*"), len(service.faces.asked)
    store.short = Shortage.DISK
    assert await refusal(service.opened()) == "storage_low"
    assert await refusal(service.enrolled("bob")) == "storage_low"
    assert await refusal(accept(service.deps, token, b"face 5")) == "storage_low"
    assert len(service.faces.asked) == asked
    assert sorted(await service.keys("*")) == sorted(before)
    store.short = None
    assert (await accept(service.deps, token, b"face 5")).http_status == 202


async def test_what_has_begun_goes_on(service: Service, store: Scripted) -> None:
    """An open session is judged and told, another canceled, a third reviewed, a customer erased."""
    for name in ("alice", "bob", "carol"):
        await service.enrolled(name)
    verdict_token = (await service.opened("alice")).token
    await service.opened("bob")
    canceled = await service.only_session("bob")
    await change_settings(
        service.deps, service.tenant.id, TenantPatch(liveness_policy=LivenessPolicy.REQUIRED)
    )
    review_token = (await service.opened("carol")).token
    store.short = Shortage.MEMORY
    await service.submitted(review_token, "face 0")
    held = await service.only_session("carol")
    await service.submitted(verdict_token, "face 5")
    await cancel_session(service.deps, service.live, canceled.id, new_operation(service.deps))
    await review_session(
        service.deps, service.live, held.id, Outcome.APPROVED, new_operation(service.deps)
    )
    told = sorted(await service.told())
    assert told == ["approved", "canceled", "needs_review", "needs_review"]
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert await refusal(service.opened("alice")) == "nothing refused"  # nobody to open one for


async def test_who_was_answered_is_answered_again(service: Service, store: Scripted) -> None:
    """A repeat of what was done before the shortage gets the same answer; it needs no room."""
    face = await service.enrolled()
    request = OpenRequest(reference="order-1", customer_id="alice", event="login")
    opened = await open_session(service.deps, service.live, request, repeatable("open"))
    accepted = await accept(service.deps, opened.token, b"face 5")
    store.short = Shortage.DISK
    again = await enrol(
        service.deps, service.live, EnrolRequest("alice", b"face 0"), new_operation(service.deps)
    )
    assert (again.face_id, again.is_repeat) == (face.face_id, True)
    assert await open_session(service.deps, service.live, request, repeatable("open")) == opened
    assert await accept(service.deps, opened.token, b"face 5") == accepted
