"""Links of `/openapi.json`: which member of an answer is good for which parameter, and where.

Every route that takes a parameter of that name, in its path, query or body, is a target. Who
tries the routes in all orders finds by them what to call next, and so does a reader.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from serve.api import answers, session_answers
from serve.api.audit import AuditResponse
from serve.api.call import Route
from serve.api.search.blocklist import BlocklistResponse, BlockResponse
from serve.api.search.duplicates import DuplicateFlagResponse, DuplicatesResponse
from serve.api.search.faces import FaceSearchResponse
from serve.api.sweeps.answers import PairsResponse, RingsResponse, SweepResponse, SweepsResponse
from serve.api.sweeps.calibration import CalibrationResponse
from serve.api.verifications.answers import (
    IdentityResponse,
    VerificationResponse,
    VerificationsResponse,
)
from serve.domain.callback import CallbackObject

Node = dict[str, Any]

# Response model -> pointer into the answer -> the parameter that its value is good for.
NAMED: Mapping[type[BaseModel], Mapping[str, str]] = {
    session_answers.OpenResponse: {"/token": "token"},
    CallbackObject: {"/resource_id": "session_id", "/data/alert_id": "alert_id"},
    session_answers.SessionResponse: {
        "/id": "session_id",
        "/customer_id": "customer_id",
        "/alert_id": "alert_id",
    },
    session_answers.SessionsResponse: {"/data/0/id": "session_id", "/data/0/alert_id": "alert_id"},
    answers.EnrolResponse: {"/customer_id": "customer_id"},
    answers.ErasureResponse: {"/erasure_id": "erasure_id"},
    answers.AlertResponse: {
        "/id": "alert_id",
        "/session_id": "session_id",
        "/customer_id": "customer_id",
    },
    answers.AlertsResponse: {
        "/data/0/id": "alert_id",
        "/data/0/session_id": "session_id",
        "/next_cursor": "cursor",
    },
    answers.EventResponse: {"/id": "event_id", "/session_id": "session_id"},
    answers.EventsResponse: {
        "/data/0/id": "event_id",
        "/data/0/session_id": "session_id",
        "/next_cursor": "cursor",
    },
    VerificationResponse: {
        "/id": "verification_id",
        "/session_id": "session_id",
        "/customer_id": "customer_id",
    },
    VerificationsResponse: {
        "/data/0/id": "verification_id",
        "/data/0/session_id": "session_id",
        "/next_cursor": "cursor",
    },
    IdentityResponse: {"/token": "token", "/customer_id": "customer_id"},
    FaceSearchResponse: {"/matches/0/verificationId": "verification_id"},
    DuplicatesResponse: {
        "/data/0/id": "flag_id",
        "/data/0/matched_verification_id": "verification_id",
        "/next_cursor": "cursor",
    },
    DuplicateFlagResponse: {"/id": "flag_id", "/verification_id": "verification_id"},
    BlockResponse: {"/id": "block_id"},
    BlocklistResponse: {"/data/0/id": "block_id", "/next_cursor": "cursor"},
    SweepResponse: {"/id": "sweep_id"},
    SweepsResponse: {"/data/0/id": "sweep_id", "/next_cursor": "cursor"},
    PairsResponse: {"/data/0/customer_a": "customer_id", "/next_cursor": "cursor"},
    CalibrationResponse: {"/sweep_id": "sweep_id"},
    RingsResponse: {"/data/0/id": "ring_id", "/next_cursor": "cursor"},
    AuditResponse: {"/next_cursor": "cursor"},
}


def links_of(route: Route[Any, Any], routes: Iterable[Route[Any, Any]]) -> Node:
    """The links of `route`'s successes, by a name of their own; empty where it names nothing."""
    table = tuple(routes)
    return {
        f"{target.name}_by{pointer.replace('/', '_')}": link
        for pointer, name in NAMED.get(route.response, {}).items()
        for target in table
        for link in _link(route, target, name, f"$response.body#{pointer}")
    }


def _link(
    source: Route[Any, Any], target: Route[Any, Any], name: str, expression: str
) -> Iterator[Node]:
    if name == "cursor" and source is not target:
        return  # a cursor is one list's own
    if name == "token" and target.is_guessed != (source.response is IdentityResponse):
        return  # a session's token is no identity token
    if name in target.parameters.model_fields:
        place = "path" if name in target.path_names else "query"
        parameters = {f"{place}.{name}": expression}
        yield {"operationId": target.name, "parameters": parameters}
    elif target.has_body and name in target.body.model_fields:
        yield {"operationId": target.name, "requestBody": {name: expression}}
