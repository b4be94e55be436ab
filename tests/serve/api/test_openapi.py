"""`/openapi.json`: the table of routes, and a sound document."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from serve.api.call import Route
from serve.api.openapi import document
from serve.api.routes import ROUTES
from serve.domain.liveness.wire import STREAM_PATH
from serve.errors import STATUSES


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The document, read back."""
    found: dict[str, Any] = json.loads(document(ROUTES))
    return found


def test_streams_are_described_beside_the_routes(described: dict[str, Any]) -> None:
    """Their handshake is in the document that is served, and nothing else has changed in it."""
    served = json.loads(document(ROUTES, has_streams=True))
    stream = served["paths"].pop(STREAM_PATH)["get"]
    assert served == described
    assert {"101", "400", "403", "429", "503"} <= set(stream["responses"])
    told = ('"start"', '"hello"', '"credits"', '"hint"', '"submit"', '"done"', '"problem"')
    assert all(kind in stream["description"] for kind in told)


def nodes(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_the_document_has_every_route_and_no_other(described: dict[str, Any]) -> None:
    """Paths and methods are those of the table."""
    found = {(method.upper(), path) for path, item in described["paths"].items() for method in item}
    assert found == {(route.method, route.path) for route in ROUTES}


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    """Each `$ref` points at a schema or header that is there, and each of them is pointed at."""
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "headers")
        for name in described["components"][kind]
    }
    assert {node["$ref"] for node in nodes(described) if "$ref" in node} == there


def test_every_answer_tells_its_limits(described: dict[str, Any]) -> None:
    """Whatever its status, it has the headers that tell a policy and how the caller stands."""
    for item in described["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                assert {"RateLimit", "RateLimit-Policy"} <= set(response["headers"]), status
            assert operation["responses"]["429"]["headers"]["Retry-After"]["required"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_is_described_whole(described: dict[str, Any], route: Route[Any, Any]) -> None:
    """Its parameters, body, successes, every code under its status, and who may call it."""
    operation = described["paths"][route.path][route.method.lower()]
    places = {item["name"]: item for item in operation["parameters"] if item["in"] != "header"}
    assert set(places) == set(route.parameters.model_fields)
    for name, item in places.items():
        assert item["in"] == ("path" if name in route.path_names else "query")
        assert item["required"] or item["in"] == "query"
    assert ("requestBody" in operation) == route.has_body
    responses = operation["responses"]
    assert {str(status) for status in route.statuses} <= set(responses)
    for code in route.codes:
        schema = responses[str(STATUSES[code])]["content"]["application/problem+json"]["schema"]
        assert code in schema["allOf"][1]["properties"]["code"]["enum"]
    assert operation.get("x-scope", "") == (route.scope or "")


READINGS = frozenset({"search_face", "check_liveness", "estimate_age"})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_an_idempotency_key_is_described_where_it_counts(
    described: dict[str, Any], route: Route[Any, Any]
) -> None:
    """For all that an API key may change, and nowhere else; it need not be sent. An answer that
    was found for a search is never kept: it would outlive who was found.
    """
    operation = described["paths"][route.path][route.method.lower()]
    found = [item for item in operation["parameters"] if item["name"] == "Idempotency-Key"]
    is_change = route.method != "GET" and route.name not in READINGS
    is_taken = route.scope is not None and is_change
    assert [(item["in"], item["required"]) for item in found] == [("header", False)] * is_taken
    headers = operation["responses"][str(route.statuses[0])]["headers"]
    assert ("Idempotency-Replayed" in headers) == is_taken
    refusals = {
        "idempotency_key_invalid", "idempotency_mismatch", "idempotency_in_progress",
        "answer_erased",
    }  # fmt: skip
    assert refusals & {str(code) for code in route.codes} == (refusals if is_taken else set())


def test_a_preference_is_described_where_it_counts(described: dict[str, Any]) -> None:
    """`Prefer` is for a capture alone: a sweep is always carried out later, asked or not."""
    operations = [operation for item in described["paths"].values() for operation in item.values()]
    prefer = {
        operation["operationId"]
        for operation in operations
        if "Prefer" in {item["name"] for item in operation["parameters"]}
    }
    applied = {
        operation["operationId"]
        for operation in operations
        for response in operation["responses"].values()
        if "Preference-Applied" in response["headers"]
    }
    assert prefer == applied == {"submit_capture"}
    sweep = described["paths"]["/api/v1/sweeps"]["post"]
    assert "202" in sweep["responses"]
    assert "200" not in sweep["responses"]


def test_links_lead_from_what_makes_something_to_what_takes_it(described: dict[str, Any]) -> None:
    """Each link names an operation that takes the parameter, and what takes an id has a link."""
    operations = {
        operation["operationId"]: operation
        for item in described["paths"].values() for operation in item.values()
    }  # fmt: skip
    fed: set[tuple[str, str]] = set()
    for name, operation in operations.items():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                (named,) = (link.get("parameters") or link["requestBody"]).keys()
                assert named != "cursor" or link["operationId"] == name
                fed.add((link["operationId"], named.rpartition(".")[2]))
    for name, operation in operations.items():
        for item in operation["parameters"]:
            if item["name"].endswith("_id") or item["name"] in {"token", "cursor"}:
                assert (name, item["name"]) in fed
    assert {
        ("connect", "token"),
        ("submit_capture", "token"),
        ("open_session", "customer_id"),
    } <= fed


def test_a_member_that_may_be_absent_is_never_null(described: dict[str, Any]) -> None:
    """What is rendered has every member; the few that may be absent are not required, nor null."""
    schemas = described["components"]["schemas"]
    assert "alert_id" not in schemas["ReactionResult"]["required"]
    assert schemas["ReactionResult"]["properties"]["alert_id"]["type"] == "string"
    assert "default" not in schemas["ReactionResult"]["properties"]["alert_id"]
    assert "is_submitted" in schemas["HandoffResponse"]["required"]
    assert {"detail", "feedback", "errors"}.isdisjoint(schemas["ProblemResponse"]["required"])


def test_a_document_is_a_json_schema_s_friend(described: dict[str, Any]) -> None:
    """Version, titles and unique operation ids, as OpenAPI 3.1 has them."""
    assert described["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(described["info"])
    ids = [
        operation["operationId"] for item in described["paths"].values()
        for operation in item.values()
    ]  # fmt: skip
    assert len(ids) == len(set(ids))
    schemes = set(described["components"]["securitySchemes"])
    used = {name for node in nodes(described) for row in node.get("security", ()) for name in row}
    assert used == schemes


def test_the_models_that_validate_are_described(described: dict[str, Any]) -> None:
    """Bounds of a field are in its schema."""
    body = described["components"]["schemas"]["OpenBody"]
    assert body["additionalProperties"] is False
    assert body["required"] == ["reference", "customer_id"]
    assert body["properties"]["reference"]["maxLength"] == 256
