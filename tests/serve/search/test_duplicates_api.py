"""Duplicate flags over HTTP: from both sides of a pair, under the names of the seed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Scope
from serve.flows.tenants import create_key
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    JOHN,
    MARY,
    Answer,
    Door,
    assert_documented,
    front_door,
    text,
)
from tests.helpers.search.seeds import differences, read_seed

VERIFICATIONS = "/api/v1/verifications"
TEMPLATE = "/api/v1/verifications/{verification_id}/duplicates"


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door behind which nobody is enrolled."""
    async with front_door(link, keyring) as opened:
        yield opened


async def enrolled(door: Door, customer: str, image: bytes = JOHN) -> str:
    """The verification of a customer with that face."""
    return str((await door.enrol(image, customer)).body["verification_id"])


async def duplicates(door: Door, verification_id: str, query: str = "", key: str = "") -> Answer:
    """The flags of a verification."""
    path = f"{VERIFICATIONS}/{verification_id}/duplicates{query}"
    return await door.call("GET", path, key=key or None)


async def change(door: Door, verification_id: str, flag_id: str, **body: object) -> Answer:
    """A flag, as a reviewer leaves it."""
    path = f"{VERIFICATIONS}/{verification_id}/duplicates/{flag_id}"
    answer = await door.call("PATCH", path, body)
    if answer.status != 200:
        assert_documented(answer, "PATCH", TEMPLATE + "/{flag_id}")
    return answer


async def test_a_pair_is_seen_from_both_sides(door: Door, shared: Path) -> None:
    """One flag, turned about for the other; the answer is the seed's."""
    alice, bob = await enrolled(door, "alice"), await enrolled(door, "bob")
    mary = await enrolled(door, "mary", MARY)
    (of_bob,) = (await duplicates(door, bob)).body["data"]
    (of_alice,) = (await duplicates(door, alice)).body["data"]
    assert (of_bob["verification_id"], of_bob["matched_verification_id"]) == (bob, alice)
    assert (of_alice["verification_id"], of_alice["matched_verification_id"]) == (alice, bob)
    assert of_alice["id"] == of_bob["id"]
    assert (of_bob["type"], of_bob["score"], of_bob["status"]) == ("face", 1.0, "open")
    assert (await duplicates(door, mary)).body["data"] == []
    seed = read_seed(shared)
    assert list(differences(seed, {"$ref": "/DuplicateFlag"}, of_bob)) == []


async def test_flags_are_paged(door: Door) -> None:
    """Each once, page by page, until there are no more."""
    others = {await enrolled(door, f"customer-{number}") for number in range(3)}
    last = await enrolled(door, "last")
    seen: list[str] = []
    cursor = ""
    for _ in others:
        page = (await duplicates(door, last, f"?limit=1&cursor={cursor}")).body
        seen += [flag["matched_verification_id"] for flag in page["data"]]
        cursor = page["next_cursor"]
    assert (sorted(seen), page["has_more"]) == (sorted(others), False)
    assert (await duplicates(door, last, "?cursor=x")).code == "cursor_invalid"


async def test_a_dismissal_is_for_ever(door: Door) -> None:
    """It needs a reason, keeps who decided, and cannot be taken back from either side."""
    alice, bob = await enrolled(door, "alice"), await enrolled(door, "bob")
    (flag,) = (await duplicates(door, bob)).body["data"]
    name = flag["id"]
    assert (await change(door, bob, name, status="dismissed")).code == "field_invalid"
    words = {"reviewer": "ann", "reason": "twins, seen with both documents"}
    done = await change(door, alice, name, status="dismissed", **words)
    assert {**done.body, **words, "status": "dismissed", "verification_id": alice} == done.body
    for side in (alice, bob):
        assert (await change(door, side, name, status="open")).code == "flag_closed"
    again = await enrolled(door, "bob", b"john's other photo")
    assert {item["status"] for item in (await duplicates(door, again)).body["data"]} == {
        "dismissed"
    }


async def test_a_flag_is_changed_by_its_own_verification_alone(door: Door) -> None:
    """Under another's, an unknown one, or with another key there is no such flag."""
    bob = [await enrolled(door, name) for name in ("alice", "bob")][1]
    mary = await enrolled(door, "mary", MARY)
    (flag,) = (await duplicates(door, bob)).body["data"]
    for other in (mary, f"ver_00{'a' * 22}", "x"):
        assert (await change(door, other, flag["id"], status="resolved")).code == "not_found"
    for flag_id in (f"flg_00{'a' * 22}", "x", bob):
        assert (await change(door, bob, flag_id, status="resolved")).code == "not_found"
    for key in (door.tenant.api_key, door.stranger.test_api_key):
        path = f"{VERIFICATIONS}/{bob}/duplicates/{flag['id']}"
        refused = await door.call("PATCH", path, {"status": "resolved"}, key=key)
        assert refused.code == "not_found"
        assert (await duplicates(door, bob, key=key)).code == "not_found"
    assert (await duplicates(door, bob)).body["data"] == [flag]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "shut"},
        {"status": "resolved", "reviewer": ""},
        {"status": "resolved", "reason": "x" * 501},
        {"status": "resolved", "score": 0},
    ],
)
async def test_what_is_no_decision_changes_nothing(door: Door, body: dict[str, object]) -> None:
    """422, before anybody asks whether there is such a flag."""
    assert (await change(door, "x", "x", **body)).code == "field_invalid"


async def test_names_are_shown_to_who_may_see_them(door: Door) -> None:
    """With the scope `pii`, here and in a search: the name that the tenant gave last, if any."""
    alice, bob = await enrolled(door, "alice"), await enrolled(door, "bob")
    for name in ("Alice", "Alice Ann"):
        body = {"customer_id": "alice", "applicant": {"name": name}}
        assert (await door.call("POST", VERIFICATIONS, body)).status == 201
    scopes = [Scope.SEARCH, Scope.PII]
    _, key = await create_key(door.deps, door.tenant.tenant.id, Mode.TEST, scopes)
    for allowed in (key, ""):
        known = "Alice Ann" if allowed else None
        for verification_id, shown in ((bob, known), (alice, None)):
            (flag,) = (await duplicates(door, verification_id, key=allowed)).body["data"]
            assert flag["matched_name"] == shown
        body = {"selfie": text(JOHN)}
        found = (await door.call("POST", "/api/v1/face-search", body, key=allowed or None)).body
        names = {item["verificationId"]: item["applicantName"] for item in found["matches"]}
        assert names == {alice: known, bob: None}


async def test_flags_go_with_either_customer(door: Door) -> None:
    """Once one of the pair is erased the other has no flag, and nothing of them is left."""
    alice, bob = await enrolled(door, "alice"), await enrolled(door, "bob")
    assert (await door.call("DELETE", "/api/v1/customers/alice")).status == 200
    assert (await duplicates(door, bob)).body["data"] == []
    assert (await duplicates(door, alice)).code == "not_found"
