"""Whether an answer is what a seed of `../shared` promises: types, members, enumerations."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SEED = "seeds/avalkyc.openapi.json"
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "null": (type(None),),
    "boolean": (bool,), "integer": (int,), "number": (int, float),
}  # fmt: skip


def read_seed(shared: Path) -> dict[str, Any]:
    """The document of the dialect."""
    found: dict[str, Any] = json.loads((shared / SEED).read_text())
    return found


def differences(
    seed: Mapping[str, Any], schema: Mapping[str, Any], value: Any, place: str = ""
) -> Iterator[str]:
    """Where `value` is not as `schema` has it; a member that the schema names has to be there."""
    if "$ref" in schema:
        schema = seed["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if not _is_of(schema.get("type", list(TYPES)), value):
        yield f"{place}: {value!r} is no {schema['type']}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    elif isinstance(value, dict):
        for name, member in schema.get("properties", {}).items():
            if name not in value:
                yield f"{place}/{name} is not there"
            else:
                yield from differences(seed, member, value[name], f"{place}/{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from differences(seed, schema.get("items", {}), item, f"{place}/{number}")


def _is_of(types: str | list[str], value: Any) -> bool:
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, TYPES[name]) for name in names)
