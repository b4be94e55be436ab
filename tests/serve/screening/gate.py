"""What tests of the duplicate gate look at: standings, flags, alerts, what is owed."""

from dataclasses import replace

from pipeline.decision.policy import DuplicatePolicy
from serve.domain.alert import AlertType
from serve.domain.search.duplicate import DuplicateFlag
from serve.domain.search.gallery import Standing
from serve.domain.tenancy.tenant import TenantPatch
from serve.domain.verifications.verification import Verification, VerificationStatus
from serve.flows import alerts
from serve.flows.customers import EnrolAnswer
from serve.flows.search.flags import duplicates_of
from serve.flows.tenants import change_settings
from tests.helpers.search.scripted_index import ScriptedIndex
from tests.helpers.service import Service

APPROVED, HELD, REFUSED = (
    VerificationStatus.APPROVED,
    VerificationStatus.NEEDS_REVIEW,
    VerificationStatus.REJECTED,
)
TWIN = "face 7"  # within the threshold of `face 0`


def scripted_index(service: Service) -> ScriptedIndex:
    """The index of the service's ports, from now on open to trouble."""
    scripted = ScriptedIndex(service.deps.index)
    service.deps = replace(service.deps, index=scripted)
    return scripted


async def verification(service: Service, answer: EnrolAnswer) -> Verification:
    """The verification of an enrolment."""
    assert answer.verification_id is not None
    world = service.live.tenant_id, service.live.mode
    found = await service.deps.verifications.one(*world, answer.verification_id)
    assert found is not None
    return found[1]


async def standing(service: Service, customer_id: str) -> list[Standing]:
    """Of each of the customer's references."""
    subject = service.deps.ledger.subject(service.live.tenant_id, service.live.mode, customer_id)
    customer = (await service.deps.ledger.snapshot(subject)).customer
    return [] if customer is None else [item.standing for item in customer.references]


async def flags_of(service: Service, answer: EnrolAnswer) -> list[DuplicateFlag]:
    """The flags that are listed for an enrolment, newest first."""
    assert answer.verification_id is not None
    page = await duplicates_of(service.deps, service.live, answer.verification_id, "", 20)
    return list(page.items)


async def matched(service: Service, answer: EnrolAnswer) -> list[str]:
    """The other verifications that are listed for this one."""
    flags = await flags_of(service, answer)
    assert all(flag.verification_id == answer.verification_id for flag in flags)
    return [flag.matched_verification_id for flag in flags]


async def set_policy(service: Service, policy: DuplicatePolicy) -> None:
    """What becomes of duplicates from now on."""
    await change_settings(service.deps, service.tenant.id, TenantPatch(duplicates=policy))


async def owed(service: Service) -> int:
    """How many searches are still written down, each made due."""
    await service.make_due("*:screenings")
    return len(await service.keys("*:screening:*"))


async def raised(service: Service) -> list[AlertType]:
    """The tenant's alerts, newest first."""
    page = await alerts.page(service.deps, service.live, None, "", 50)
    return [alert.alert_type for alert in page.items]
