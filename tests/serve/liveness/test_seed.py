"""Opinions are asked for and told as `../shared/seeds/avalkyc.openapi.json` has them.

A client that was made from the seed sends what is taken here, and can read every answer.
"""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from pipeline.evidence import Age, Missing
from serve.api.openapi import document
from serve.api.routes import ROUTES
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    CROWD,
    JOHN,
    NOBODY,
    Door,
    front_door,
    text,
)
from tests.helpers.search.seeds import differences, read_seed

RESULTS = {"/active-liveness": "ActiveLivenessResult", "/age-estimate": "AgeEstimateResult"}
AGES = [*(Age(float(years), 0.0, 99.0, 0.8) for years in (0, 17, 18, 27, 28, 39, 40, 60, 99)),
        Missing.MODEL_UNAVAILABLE]  # fmt: skip

Node = Mapping[str, Any]


@pytest.fixture(scope="module")
def seed(shared: Path) -> Node:
    """The document that such a client is made from."""
    return read_seed(shared)


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door with two tenants."""
    async with front_door(link, keyring) as opened:
        yield opened


@pytest.fixture(scope="module")
def described() -> Node:
    """What a door says of itself."""
    found: Node = json.loads(document(ROUTES))
    return found


def asked(said: Node, path: str) -> Node:
    """The schema of a route's body."""
    content = said["paths"][path]["post"]["requestBody"]["content"]
    return resolved(said, content["application/json"]["schema"])


def resolved(said: Node, schema: Node) -> Node:
    """What a reference leads to."""
    if "$ref" not in schema:
        return schema
    found: Node = said["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def types_of(said: Node, schema: Node) -> set[str]:
    """Those that a member may have: of several schemas all, of an enumeration its words."""
    schema = resolved(said, schema)
    if "anyOf" in schema:
        return set().union(*(types_of(said, each) for each in schema["anyOf"]))
    named = schema["type"]
    return {named} if isinstance(named, str) else set(named)


@pytest.mark.parametrize("path", RESULTS)
def test_what_the_seed_sends_is_taken(seed: Node, described: Node, path: str) -> None:
    """Every member under its name, of its type and with its default, and none besides is needed."""
    theirs, ours = asked(seed, path), asked(described, f"/api/v1{path}")
    assert ours["required"] == theirs["required"]
    for name, wanted in theirs["properties"].items():
        member = ours["properties"][name]
        assert types_of(described, member) == types_of(seed, wanted)
        assert member.get("default") == wanted.get("default")
        assert member.get("minItems") == wanted.get("minItems")
        if wanted["type"] == "array":
            assert member["items"]["type"] == wanted["items"]["type"]
        words = resolved(described, member).get("enum")
        assert words is None or wanted["example"] in words


@pytest.mark.parametrize("path", RESULTS)
def test_what_is_told_is_what_the_seed_reads(seed: Node, described: Node, path: str) -> None:
    """Statuses and members with their types and words, and nothing null that is not there."""
    theirs = seed["paths"][path]["post"]["responses"]
    ours = described["paths"][f"/api/v1{path}"]["post"]["responses"]
    assert set(theirs) <= set(ours)
    wanted = seed["components"]["schemas"][RESULTS[path]]["properties"]
    told = resolved(described, ours["200"]["content"]["application/json"]["schema"])
    assert set(wanted) <= set(told["required"])
    for name, schema in wanted.items():
        assert types_of(described, told["properties"][name]) <= types_of(seed, schema), name


@pytest.mark.parametrize("frame", [JOHN, NOBODY, CROWD])
async def test_every_opinion_can_be_read(seed: Node, door: Door, frame: bytes) -> None:
    """With the default and with another step, of people and of nobody."""
    body: dict[str, object] = {"frames": [text(frame)] * 3}
    for sent in (body, {**body, "challenge": "head_turn"}, {**body, "challenge": "nod"}):
        told = await door.call("POST", "/api/v1/active-liveness", sent)
        assert told.status == 200
        assert list(differences(seed, {"$ref": "/ActiveLivenessResult"}, told.body)) == []


@pytest.mark.parametrize("age", AGES)
async def test_every_age_can_be_read(seed: Node, door: Door, age: Age | Missing) -> None:
    """Of each band, near the line and far from it, and without a model."""
    door.faces.age = age
    for image in (JOHN, NOBODY):
        told = await door.call("POST", "/api/v1/age-estimate", {"image": text(image)})
        assert told.status == 200
        assert list(differences(seed, {"$ref": "/AgeEstimateResult"}, told.body)) == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/active-liveness", {"frames": [text(JOHN)] * 2}, 422),
        ("/active-liveness", {"frames": [text(BROKEN)] * 3}, 422),
        ("/age-estimate", {"image": text(BROKEN)}, 422),
        ("/age-estimate", {}, 422),
    ],
)
async def test_every_refusal_can_be_read(
    seed: Node, door: Door, path: str, body: dict[str, object], status: int
) -> None:
    """As the seed's error, with the status that it has for the kind."""
    for key, expected in ((None, status), ("", 401)):
        refused = await door.call("POST", f"/api/v1{path}", body, key=key)
        assert refused.status == expected
        assert str(expected) in seed["paths"][path]["post"]["responses"]
        assert list(differences(seed, {"$ref": "/Error"}, refused.body)) == []
