"""1:N search over HTTP: who is found, what is told of them, and every input that is refused."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Scope
from serve.flows.tenants import create_key
from serve.settings import Server
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    JOHN,
    MARY,
    NOBODY,
    SCALE,
    Answer,
    Door,
    assert_documented,
    front_door,
    text,
)
from tests.helpers.records import MODEL, a_template
from tests.helpers.search.seeds import differences, read_seed

SEARCH = "/api/v1/face-search"
CUSTOMERS = "/api/v1/customers"


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door with john's face enrolled as alice."""
    async with front_door(link, keyring) as opened:
        assert (await opened.enrol()).status == 201
        yield opened


async def key_of(door: Door, *scopes: Scope, mode: Mode = Mode.TEST) -> str:
    """A key of the first tenant's for these scopes alone."""
    return (await create_key(door.deps, door.tenant.tenant.id, mode, scopes))[1]


async def search(door: Door, body: object, key: str | None = None) -> Answer:
    """One search; its refusals are those that the document has."""
    answer = await door.call("POST", SEARCH, body, key=key)
    if answer.status != 200:
        assert_documented(answer, "POST", SEARCH)
    return answer


def vector_of(image: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The template that the models make of an image, of unit norm."""
    vector = a_template(seed=int.from_bytes(image[:4])).vector.astype(np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def near(image: bytes, similarity: float) -> list[float]:
    """An embedding as alike to an image as that."""
    known, native = vector_of(image), SCALE.native(similarity)
    other = vector_of(b"else")
    other -= (other @ known) * known
    other /= np.linalg.norm(other)
    return [float(number) for number in native * known + np.sqrt(1 - native**2) * other]


async def test_a_selfie_finds_its_customer(door: Door, shared: Path) -> None:
    """The answer is the seed's, and says beside what was looked at, by what model, and how."""
    await door.enrol(MARY, "bob")
    found = await search(door, {"selfie": text(JOHN)})
    (match,) = found.body["matches"]
    assert match["verificationId"].startswith("ver_")
    assert (match["similarity"], match["isMatch"]) == (1.0, True)
    assert (match["applicantName"], match["reference"]) == (None, "alice")
    rest = {name: value for name, value in found.body.items() if name != "matches"}
    assert rest == {
        "count": 1,
        "threshold": 0.3,
        "model": MODEL,
        "gallery_size": 2,
        "is_complete": True,
        "missing_partitions": [],
        "lost_shards": [],
        "method": "exact",
        "expected_false_matches": None,
        "expected_false_matches_max": None,
        "calibrated_from": None,
        "calibration_expires_at_size": None,
    }
    seed = read_seed(shared)
    assert list(differences(seed, {"$ref": "/FaceSearchResult"}, found.body)) == []


async def test_an_embedding_needs_a_scope_of_its_own(door: Door) -> None:
    """The usual keys cannot look for any vector they like; one with the scope finds by it."""
    body = {"embedding": near(JOHN, 0.99), "model": MODEL}
    assert (await search(door, body)).code == "scope_missing"
    only = await key_of(door, Scope.SEARCH_EMBEDDING)
    assert (await search(door, body, only)).code == "scope_missing"
    both = await key_of(door, Scope.SEARCH, Scope.SEARCH_EMBEDDING)
    assert (await search(door, body, both)).body["count"] == 1


@pytest.mark.parametrize(
    ("similarity", "shown", "is_match"),
    [(0.3551, 0.35, False), (0.3601, 0.36, True), (0.3449, 0.34, False), (0.5049, 0.5, True)],
)
async def test_a_score_is_rounded_on_its_side_of_a_match(
    door: Door, similarity: float, shown: float, *, is_match: bool
) -> None:
    """To 0.01, and what is no match is told as less than one."""
    key = await key_of(door, Scope.SEARCH, Scope.SEARCH_EMBEDDING)
    answer = await search(door, {"embedding": near(JOHN, similarity)}, key)
    (match,) = answer.body["matches"]
    assert match["similarity"] == shown
    assert match["isMatch"] is is_match


async def test_a_threshold_hides_who_is_less_alike(door: Door) -> None:
    """Below it nobody is told; `limit` tells the most alike alone, best first."""
    key = await key_of(door, Scope.SEARCH, Scope.SEARCH_EMBEDDING)
    embedding = near(JOHN, 0.5)
    assert (await search(door, {"embedding": embedding, "threshold": 0.49}, key)).body["count"] == 1
    assert (await search(door, {"embedding": embedding, "threshold": 0.51}, key)).body["count"] == 0
    for customer in ("bob", "carol"):
        await door.enrol(JOHN, customer)
    everybody = (await search(door, {"selfie": text(JOHN)})).body
    assert (everybody["count"], everybody["gallery_size"]) == (3, 3)
    few = (await search(door, {"selfie": text(JOHN), "limit": 2})).body["matches"]
    assert few == everybody["matches"][:2]


GOOD = near(JOHN, 0.9)
OF_EMBEDDINGS: dict[str, tuple[object, str]] = {
    "no numbers": ([], "embedding_invalid"),
    "one number short": (GOOD[:-1], "embedding_invalid"),
    "one number more": ([*GOOD, 0.0], "embedding_invalid"),
    "zero": ([0] * 128, "embedding_invalid"),
    "twice as long": ([2 * number for number in GOOD], "embedding_invalid"),
    "a little too long": ([1.002 * number for number in GOOD], "embedding_invalid"),
    "beyond float32": ([1e300] * 128, "embedding_invalid"),
    "as many as no model has": ([0.0] * 513, "field_invalid"),
    "a word": (["x"] * 128, "field_invalid"),
    "a truth": ([True] * 128, "field_invalid"),
    "nothing in it": ([None] * 128, "field_invalid"),
    "no list": ("AAAA", "field_invalid"),
    "lists": ([GOOD], "field_invalid"),
}
OF_FIELDS: dict[str, tuple[dict[str, object], str]] = {
    "limit 0": ({"limit": 0}, "field_invalid"),
    "limit 51": ({"limit": 51}, "field_invalid"),
    "limit 10.5": ({"limit": 10.5}, "field_invalid"),
    "threshold below the floor": ({"threshold": 0.29}, "threshold_too_low"),
    "threshold 0": ({"threshold": 0}, "threshold_too_low"),
    "threshold above 1": ({"threshold": 1.01}, "field_invalid"),
    "threshold below 0": ({"threshold": -0.01}, "field_invalid"),
    "another model": ({"model": "arcface.1"}, "model_mismatch"),
    "both": ({"selfie": text(JOHN)}, "field_invalid"),
    "an unknown member": ({"tenant_id": "ten_x"}, "field_invalid"),
}
# As bytes, for what Python's JSON does not write.
OF_BYTES: dict[str, tuple[bytes, str]] = {
    "NaN": (b'{"embedding": [%s]}' % b", ".join([b"NaN"] * 128), "embedding_invalid"),
    "a text NaN": (b'{"embedding": [%s]}' % b", ".join([b'"NaN"'] * 128), "field_invalid"),
    "beyond numbers": (b'{"embedding": [%s]}' % b", ".join([b"1e400"] * 128), "embedding_invalid"),
    "huge integers": (b'{"embedding": [%s]}' % b", ".join([b"9" * 400] * 128), "embedding_invalid"),
    "threshold NaN": (b'{"selfie": "aGk=", "threshold": NaN}', "field_invalid"),
    "threshold 1e400": (b'{"selfie": "aGk=", "threshold": 1e400}', "field_invalid"),
    "neither": (b"{}", "field_invalid"),
    "null": (b'{"selfie": null, "embedding": null}', "field_invalid"),
    "a member twice": (b'{"selfie": "aGk=", "selfie": "aGk="}', "body_invalid"),
    "10 MB of numbers": (b'{"embedding": [%s0]}' % (b"0," * 5_000_000), "body_invalid"),
    "long numbers": (b'{"embedding": [0.%s]}' % (b"1" * 4_000_000), "embedding_invalid"),
    "more than a body holds": (
        b'{"embedding": [0.%s]}' % (b"1" * Server().body_bytes_max), "body_too_large"
    ),
}  # fmt: skip


async def test_bad_input_is_refused_with_its_code(door: Door) -> None:
    """Each with 4xx, its own code and a sentence, and nothing of the vector in it."""
    key = await key_of(door, Scope.SEARCH, Scope.SEARCH_EMBEDDING)
    cases: list[tuple[str, object, str]] = [
        *((name, {"embedding": given}, code) for name, (given, code) in OF_EMBEDDINGS.items()),
        *((name, {"embedding": GOOD, **given}, code) for name, (given, code) in OF_FIELDS.items()),
        *((name, given, code) for name, (given, code) in OF_BYTES.items()),
    ]
    for name, body, code in cases:
        answer = await search(door, body, key)
        assert (answer.code, 400 <= answer.status < 500) == (code, True), (name, answer.body)
        assert len(json.dumps(answer.body)) < 4_000, name
        assert str(GOOD[0]) not in json.dumps(answer.body), name


async def test_what_is_wrong_with_an_embedding_is_said(door: Door) -> None:
    """The detail tells dimension from norm, and names the right ones."""
    key = await key_of(door, Scope.SEARCH, Scope.SEARCH_EMBEDDING)
    short = await search(door, {"embedding": GOOD[:-1]}, key)
    assert "128 numbers, not 127" in short.body["detail"]
    long = await search(door, {"embedding": [2 * number for number in GOOD]}, key)
    assert "norm" in long.body["detail"]
    other = await search(door, {"embedding": GOOD, "model": "arcface.1"}, key)
    assert MODEL in other.body["detail"]


@pytest.mark.parametrize(
    ("selfie", "code"),
    [
        (text(NOBODY), "capture_unfit"),
        (text(BROKEN), "image_corrupt"),
        ("", "proof_invalid"),
        ("data:text/plain;base64,aGk=", "proof_invalid"),
    ],
)
async def test_an_unfit_selfie_is_not_searched_with(door: Door, selfie: str, code: str) -> None:
    """The person is told what to do better, as at an enrolment."""
    answer = await search(door, {"selfie": selfie})
    assert (answer.status, answer.code) == (422, code)
    assert ("feedback" in answer.body) == (code != "proof_invalid")


async def test_only_a_key_with_the_scope_searches(door: Door) -> None:
    """No key, another scope's key, a session's token: refused, and nothing is looked at."""
    before = door.faces.examined
    body = {"selfie": text(JOHN)}
    assert (await search(door, body, "")).code == "key_invalid"
    others = tuple(scope for scope in Scope if scope is not Scope.SEARCH)
    assert (await search(door, body, await key_of(door, *others))).code == "scope_missing"
    assert door.faces.examined == before


async def test_an_erased_customer_is_not_found(door: Door) -> None:
    """By no search after the erasure's reply, by selfie or embedding, nor under a key sent again.

    The answer to a search is kept for nobody: it would outlive whom it names.
    """
    key = await key_of(door, Scope.SEARCH, Scope.SEARCH_EMBEDDING)
    again = {"Idempotency_Key": "search-1"}
    first = await door.call("POST", SEARCH, {"selfie": text(JOHN)}, **again)
    assert first.body["count"] == 1
    assert (await door.call("DELETE", f"{CUSTOMERS}/alice")).status == 200
    second = await door.call("POST", SEARCH, {"selfie": text(JOHN)}, **again)
    assert (second.body["count"], second.body["gallery_size"]) == (0, 0)
    assert "Idempotency-Replayed" not in second.headers
    assert (await search(door, {"embedding": GOOD}, key)).body["count"] == 0
    await door.enrol()
    assert (await search(door, {"selfie": text(JOHN)})).body["count"] == 1


async def test_worlds_are_searched_apart(door: Door) -> None:
    """The other mode and another tenant find nobody, though they have nobody at all."""
    for key in (door.tenant.api_key, door.stranger.test_api_key):
        found = await search(door, {"selfie": text(JOHN)}, key)
        assert (found.body["count"], found.body["gallery_size"]) == (0, 0)


async def test_a_search_is_in_the_trail_without_its_scores(door: Door, link: Redis) -> None:
    """Who searched, and how many were found; no face, no score, no customer, nor anything else."""
    await search(door, {"selfie": text(JOHN)})
    trail = await door.call("GET", "/api/v1/audit?action=face.searched")
    (entry,) = trail.body["data"]
    told = {name: entry.pop(name) for name in ("id", "at", "actor")}
    assert entry == {
        "action": "face.searched", "mode": "test", "count": 1,
        "customer_digest": None, "target": None, "outcome": None,
    }  # fmt: skip
    assert told["actor"].keys() == {"kind", "key_id"}
    assert told["actor"]["key_id"] is not None
    assert await link.exists(f"{{limen}}:audit:{door.tenant.tenant.id}:test")
