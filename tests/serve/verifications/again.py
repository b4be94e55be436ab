"""A customer with a reusable identity token, and selfies that are live, spoofed or neither."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.decision.policy import LivenessPolicy
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, PassiveLiveness
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.tenant import TenantPatch
from serve.domain.verifications.verification import Verification
from serve.flows.tenants import change_own_settings
from serve.flows.transact import new_operation
from serve.flows.verifications.identity import issue
from serve.flows.verifications.records import page
from serve.flows.verifications.reverify import ReverifyRequest, reverify
from tests.helpers.service import Service
from tests.helpers.toy_faces import ToyFaces

SCORES = {"live": 0.9, "spoof": 0.2}


class WatchedFaces(ToyFaces):
    """Toy faces with presentation attack detection: `live 0` and `spoof 0` show the same face."""

    def run(self, images: Sequence[bytes], /) -> list[FaceEvidence | Failure]:
        found = super().run(images)
        kinds = [image.decode().partition(" ")[0] for image in images]
        return [
            replace(item, passive_liveness=PassiveLiveness(SCORES[kind], 0.5))
            if isinstance(item, FaceEvidence) and kind in SCORES
            else item
            for item, kind in zip(found, kinds, strict=True)
        ]


async def issued(service: Service, customer_id: str = "alice") -> str:
    """A fresh token of the customer's."""
    op = new_operation(service.deps)
    return (await issue(service.deps, service.live, customer_id, op)).token


async def holding(service: Service, customer_id: str = "alice") -> str:
    """The token of a customer who is enrolled as `face 0`."""
    await service.enrolled(customer_id)
    return await issued(service, customer_id)


async def again(
    service: Service,
    token: str,
    image: str = "face 0",
    principal: Principal | None = None,
    op: Operation | None = None,
) -> Verification:
    """The person verified once more."""
    request = ReverifyRequest(token, image.encode())
    op = op or new_operation(service.deps)
    return await reverify(service.deps, principal or service.live, request, op)


async def ask_for(service: Service, policy: LivenessPolicy) -> None:
    """Let the tenant's liveness policy be that one."""
    patch = TenantPatch(liveness_policy=policy)
    op = new_operation(service.deps)
    await change_own_settings(service.deps, service.live, patch, op)


async def listed(
    service: Service, limit: int = 100, principal: Principal | None = None
) -> list[Verification]:
    """Every verification of the tenant's, page by page."""
    found: list[Verification] = []
    cursor = ""
    while True:
        got = await page(service.deps, principal or service.live, cursor, limit)
        assert len(got.items) <= limit
        found += got.items
        cursor = got.next_cursor
        if not cursor:
            return found
