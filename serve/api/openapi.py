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
from serve.errors import STATUSES, Code

VERSION = "1.0.0"
SCHEMA_REF = "#/components/schemas/{model}"
_PUBLIC = "The session token is the credential."

Node = dict[str, Any]
Refs = Mapping[tuple[Any, JsonSchemaMode], Node]


def document(routes: Iterable[Route[Any, Any]]) -> bytes:
    """The description of `routes` as JSON."""
    table = tuple(routes)
    refs, schemas = _schemas(table)
    paths: dict[str, Node] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
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
    return refs, schemas


def _operation(route: Route[Any, Any], refs: Refs) -> Node:
    operation: Node = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": {**_successes(route, refs), **_refusals(route, refs)},
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
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route[Any, Any]) -> list[Node]:
    schema = route.parameters.model_json_schema(ref_template=SCHEMA_REF)
    inlined: Node = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "path" if name in route.path_names else "query",
            "required": name in schema.get("required", ()),
            "schema": _resolved(node, inlined),
        }
        for name, node in schema.get("properties", {}).items()
    ]


def _resolved(node: Any, inlined: Node) -> Any:  # noqa: ANN401 (a JSON schema is any JSON)
    """`node` with the few enumerations of parameters written out in place."""
    if isinstance(node, list):
        return [_resolved(item, inlined) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(inlined[node["$ref"].rpartition("/")[2]], inlined)
    return {key: _resolved(value, inlined) for key, value in node.items()}


def _successes(route: Route[Any, Any], refs: Refs) -> Node:
    content = _content("application/json", refs[route.response, "serialization"])
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": content}
        for status in route.statuses
    }


def _refusals(route: Route[Any, Any], refs: Refs) -> Node:
    by_status: dict[int, list[PipelineCode | Code]] = {}
    for code in sorted(route.codes):
        by_status.setdefault(STATUSES[code], []).append(code)
    base = refs[problem.ProblemResponse, "serialization"]
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
            "content": _content(
                problem.CONTENT_TYPE,
                {"allOf": [base, {"properties": {"code": {"enum": list(codes)}}}]},
            ),
        }
        for status, codes in sorted(by_status.items())
    }


def _content(media_type: str, schema: Node) -> Node:
    return {media_type: {"schema": schema}}
