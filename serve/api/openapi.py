"""`/openapi.json`: OpenAPI 3.1 out of the table of routes and the models that validate."""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from pipeline.errors import Code as PipelineCode
from serve.api import problem
from serve.api.call import Route
from serve.api.links import links_of
from serve.domain.liveness import wire as stream
from serve.domain.liveness.wire import STREAM_PATH, SUBPROTOCOL
from serve.errors import STATUSES, Code

VERSION = "1.0.0"
SCHEMA_REF = "#/components/schemas/{model}"
_PUBLIC = "The session token is the credential."

Node = dict[str, Any]
PREFER: Node = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: accept it now, judge it later.",
    "schema": {"type": "string"},
}
IDEMPOTENCY_KEY: Node = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Names this request, so that it can be sent again: for 24 hours the same request under "
        "the same key gets the same answer, and does nothing again."
    ),
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,  # as it is, or in quotes; blanks around it are not the header's
        "pattern": r'^([!#-~]([ -~]*[!-~])?|"([ !#-\[\]-~]|\\["\\])+")$',
    },
}
REPLAYED: Node = {
    "description": "It was answered before, under the same `Idempotency-Key`.",
    "schema": {"const": "true"},
}
REQUEST_ID: Node = {"required": True, "schema": {"type": "string", "pattern": "^req_[0-9a-f]{32}$"}}
RETRY_AFTER: Node = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
CHALLENGE: Node = {"required": True, "schema": {"const": "Bearer"}}
RATE_LIMIT: Node = {
    "description": "Requests left of this policy, and seconds until all of them are.",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[a-z]+";r=[0-9]+;t=[0-9]+$'},
}
RATE_LIMIT_POLICY: Node = {
    "description": "The policy: requests (`q`) in a window of seconds (`w`).",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[a-z]+";q=[0-9]+;w=[0-9]+$'},
}
HEADERS: Node = {"RateLimit": RATE_LIMIT, "RateLimit-Policy": RATE_LIMIT_POLICY}
"""On every answer, and so written out once."""
HEADER_REFS: Node = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}
APPLIED: Node = {"schema": {"const": "respond-async"}}
STREAM_SUMMARY = "Stream a capture, frame by frame, over a WebSocket."
OFFERED: Node = {
    "name": "Sec-WebSocket-Protocol",
    "in": "header",
    "required": True,
    "description": "The subprotocols that the client speaks.",
    "schema": {"type": "string", "pattern": SUBPROTOCOL.replace(".", "[.]")},
}
CHOSEN: Node = {"Sec-WebSocket-Protocol": {"required": True, "schema": {"const": SUBPROTOCOL}}}
HANDSHAKE_CODES = (
    Code.UPGRADE_INVALID,
    Code.MOBILE_REQUIRED,
    Code.ORIGIN_REFUSED,
    Code.OVERLOADED,
    Code.TOO_MANY_REQUESTS,
    Code.REQUEST_MALFORMED,
    Code.STATE_UNAVAILABLE,
    Code.INTERNAL_ERROR,
)
"""What a stream is refused with before it is one."""
Refs = Mapping[tuple[Any, JsonSchemaMode], Node]


def document(routes: Iterable[Route[Any, Any]], *, has_streams: bool = False) -> bytes:
    """The description of `routes` as JSON; with that of streams, which are no exchange of one
    request and one answer, where it `has_streams`.
    """
    table = tuple(routes)
    refs, schemas = _schemas(table)
    paths: dict[str, Node] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, refs, links_of(route, table)
        )
    if has_streams:
        paths[STREAM_PATH] = {"get": _stream(refs)}
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "Limen",
            "version": VERSION,
            "description": "Event-based face verification. Errors are RFC 9457 problems.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "token": {"type": "http", "scheme": "bearer", "description": "A session token."},
            },
        },
    }
    return json.dumps(described, separators=(",", ":")).encode()


def _schemas(routes: tuple[Route[Any, Any], ...]) -> tuple[Refs, Node]:
    """A reference to the schema of each model, and the schemas."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for route in routes:
        if route.has_body:
            wanted[route.body, "validation"] = None
        wanted[route.response, "serialization"] = None
    wanted[problem.ProblemResponse, "serialization"] = None
    refs, found = models_json_schema(list(wanted), ref_template=SCHEMA_REF)
    schemas: Node = found["$defs"]
    for schema in schemas.values():
        for member in schema.get("properties", {}).values():
            if member.get("default", ...) is None and "type" in member:
                del member["default"]  # absent where there is none, and never null
    return refs, schemas


def _operation(route: Route[Any, Any], refs: Refs, links: Node) -> Node:
    operation: Node = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": {**_successes(route, refs, links), **_refusals(route.codes, refs)},
    }
    if route.scope is None:
        operation["description"] = _PUBLIC
        operation["security"] = [{}, {"token": []}]
    else:
        operation["description"] = f"Needs an API key with the scope `{route.scope}`."
        operation["security"] = [{"bearer": []}, {"key": []}]
        operation["x-scope"] = str(route.scope)
    if route.has_body:
        content = _content("application/json", refs[route.body, "validation"])
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _parameters(route: Route[Any, Any]) -> list[Node]:
    schema = route.parameters.model_json_schema(ref_template=SCHEMA_REF)
    inlined: Node = schema.get("$defs", {})
    given = [
        {
            "name": name,
            "in": "path" if name in route.path_names else "query",
            "required": name in schema.get("required", ()),
            "schema": _resolved(node, inlined),
        }
        for name, node in schema.get("properties", {}).items()
    ]
    by_key = [IDEMPOTENCY_KEY] if route.takes_idempotency_key else []
    return [*given, *(PREFER for _ in range(route.may_be_later)), *by_key]


def _resolved(node: Any, inlined: Node) -> Any:  # noqa: ANN401 (a JSON schema is any JSON)
    """`node` with the few enumerations of parameters written out in place."""
    if isinstance(node, list):
        return [_resolved(item, inlined) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(inlined[node["$ref"].rpartition("/")[2]], inlined)
    return {key: _resolved(value, inlined) for key, value in node.items()}


def _successes(route: Route[Any, Any], refs: Refs, links: Node) -> Node:
    content = _content("application/json", refs[route.response, "serialization"])
    found: Node = {}
    for status in route.statuses:
        headers = _headers(status)
        if route.may_be_later and status == HTTPStatus.ACCEPTED:
            headers["Preference-Applied"] = APPLIED
        if route.takes_idempotency_key:
            headers["Idempotency-Replayed"] = REPLAYED
        told = {"description": HTTPStatus(status).phrase, "headers": headers}
        found[str(status)] = {**told, "content": content, **({"links": links} if links else {})}
    return found


def _stream(refs: Refs) -> Node:
    """The handshake of a stream; what follows it is no HTTP."""
    switched = {"description": "Switching Protocols", "headers": {**_headers(101), **CHOSEN}}
    return {
        "operationId": "stream_capture",
        "summary": STREAM_SUMMARY,
        "description": (
            f"A WebSocket of the subprotocol `{SUBPROTOCOL}`. The session token comes in its first "
            f"message; one in the URL or in a header is not read.\n\n{stream.__doc__}"
        ),
        "parameters": [OFFERED],
        "responses": {"101": switched, **_refusals(HANDSHAKE_CODES, refs)},
        "security": [{}],
    }


def _refusals(codes: Iterable[PipelineCode | Code], refs: Refs) -> Node:
    by_status: dict[int, list[PipelineCode | Code]] = {}
    for code in sorted(codes):
        by_status.setdefault(STATUSES[code], []).append(code)
    base = refs[problem.ProblemResponse, "serialization"]
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
            "headers": _headers(status, codes),
            "content": _content(
                problem.CONTENT_TYPE,
                {"allOf": [base, {"properties": {"code": {"enum": list(codes)}}}]},
            ),
        }
        for status, codes in sorted(by_status.items())
    }


def _headers(status: int, codes: Iterable[PipelineCode | Code] = ()) -> Node:
    """What a response with this status says in its head; `codes` are what it may refuse with."""
    found = {"X-Request-Id": REQUEST_ID, **HEADER_REFS}
    waits = [code in problem.RETRY_AFTER_S for code in codes]
    if any(waits):
        found["Retry-After"] = {**RETRY_AFTER, "required": all(waits)}
    if status == HTTPStatus.UNAUTHORIZED:
        found["WWW-Authenticate"] = CHALLENGE
    return found


def _content(media_type: str, schema: Node) -> Node:
    return {media_type: {"schema": schema}}
