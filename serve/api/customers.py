"""Customers over HTTP: their reference faces, their status, and their erasure."""

from aiohttp import web

from serve.api.answers import EnrolResponse, ErasureResponse, StatusResponse, answered
from serve.api.call import Call
from serve.api.intake import proof
from serve.api.wire import CustomerParameters, Empty, EnrolBody, ErasureParameters
from serve.flows import customers


async def enrol(call: Call[EnrolBody, CustomerParameters]) -> web.Response:
    """Adds a reference face; the same bytes again add nothing."""
    body = call.body
    image = await proof.decoded(body.image)
    request = customers.EnrolRequest(
        call.parameters.customer_id, image, body.consent_id, body.signals.given
    )
    answer = await customers.enrol(call.deps, call.tenant, request, call.operation)
    return answered(EnrolResponse.of(answer), 200 if answer.is_repeat else 201)


async def erase(call: Call[Empty, CustomerParameters]) -> web.Response:
    """Erases a customer and says by when each copy is gone."""
    receipt = await customers.erase(
        call.deps, call.tenant, call.parameters.customer_id, call.operation
    )
    return answered(ErasureResponse.of(receipt))


async def read_erasure(call: Call[Empty, ErasureParameters]) -> web.Response:
    """Shows how far an erasure has come."""
    receipt = await customers.erasure(call.deps, call.tenant, call.parameters.erasure_id)
    return answered(ErasureResponse.of(receipt))


async def kyc_status(call: Call[Empty, CustomerParameters]) -> web.Response:
    """Tells where a customer's verification stands."""
    status, message = await customers.kyc_status(
        call.deps, call.tenant, call.parameters.customer_id
    )
    return answered(StatusResponse(kyc_status=status, message=message))
