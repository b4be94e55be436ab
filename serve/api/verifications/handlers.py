"""Verifications: created, read, reviewed and done again.

`applicant` is told to the request that brought it, and later only to a key with the scope `pii`.
"""

from typing import Any

from aiohttp import web

from serve.api.answers import answered
from serve.api.call import Call
from serve.api.intake import proof
from serve.api.verifications.answers import (
    IdentityResponse,
    VerificationResponse,
    VerificationsResponse,
)
from serve.api.verifications.wire import (
    CreateVerificationBody,
    ReverifyBody,
    VerificationParameters,
    VerificationReviewBody,
)
from serve.api.wire import CustomerParameters, Empty, PageParameters
from serve.domain.tenancy.api_key import Scope
from serve.domain.verifications.verification import Applicant, Verification, VerificationStatus
from serve.flows.verifications import identity, records, reverify

HOSTED_PATH = "/verify"


async def create_verification(call: Call[CreateVerificationBody, Empty]) -> web.Response:
    """Creates a verification that waits for the person."""
    body = call.body
    request = records.CreateRequest(
        document_type=body.document_type,
        applicant=Applicant(**body.applicant.model_dump()),
        reference=body.reference,
        customer_id=body.customer_id,
    )
    made = await records.create(call.deps, call.tenant, request, call.operation)
    return answered(_told(call, made, shows_applicant=True), 201)


async def list_verifications(call: Call[Empty, PageParameters]) -> web.Response:
    """Lists verifications."""
    asked = call.parameters
    page = await records.page(call.deps, call.tenant, asked.cursor, asked.limit)
    shows = Scope.PII in call.tenant.scopes
    told = VerificationsResponse.of(page, lambda item: _told(call, item, shows_applicant=shows))
    return answered(told)


async def read_verification(call: Call[Empty, VerificationParameters]) -> web.Response:
    """Shows a verification."""
    found = await records.verification(call.deps, call.tenant, call.parameters.verification_id)
    return answered(_told(call, found, shows_applicant=Scope.PII in call.tenant.scopes))


async def review_verification(
    call: Call[VerificationReviewBody, VerificationParameters],
) -> web.Response:
    """Decides a verification that needs a reviewer."""
    decided = await records.review(
        call.deps,
        call.tenant,
        call.parameters.verification_id,
        VerificationStatus(call.body.decision),
        call.operation,
    )
    return answered(_told(call, decided, shows_applicant=False))


async def issue_identity(call: Call[Empty, CustomerParameters]) -> web.Response:
    """Issues a reusable identity token; the one before is refused from now on."""
    issued = await identity.issue(
        call.deps, call.tenant, call.parameters.customer_id, call.operation
    )
    return answered(IdentityResponse.of(issued), 201)


async def repeat_verification(call: Call[ReverifyBody, Empty]) -> web.Response:
    """Verifies a person again by their token and a selfie."""
    image = await proof.decoded(call.body.selfie)
    request = reverify.ReverifyRequest(call.body.token, image)
    made = await reverify.reverify(call.deps, call.tenant, request, call.operation)
    return answered(_told(call, made, shows_applicant=False), 201)


def _told(
    call: Call[Any, Any], found: Verification, *, shows_applicant: bool
) -> VerificationResponse:
    base = call.deps.public_base_url
    hosted_url = f"{base}{HOSTED_PATH}/{found.id}" if base else ""
    return VerificationResponse.of(found, hosted_url, shows_applicant=shows_applicant)
