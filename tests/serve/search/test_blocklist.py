"""The blocklist over HTTP: who is blocked, what comes of it, and that it goes like a customer."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.domain.ids import Mode
from serve.domain.search.gallery import blocked_customer_id
from serve.domain.tenancy.api_key import DEFAULT_SCOPES, Scope
from serve.flows.tenants import create_key
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    JOHN,
    KYC,
    MARY,
    NOBODY,
    Answer,
    Door,
    assert_documented,
    front_door,
    text,
)
from tests.helpers.records import MODEL

BLOCKLIST = "/api/v1/blocklist"
SEARCH = "/api/v1/face-search"
REASON = "a stolen passport"


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door behind which nobody is enrolled."""
    async with front_door(link, keyring) as opened:
        yield opened


async def block(door: Door, **body: object) -> Answer:
    """A face, blocked; its refusals are those that the document has."""
    answer = await door.call("POST", BLOCKLIST, body)
    if answer.status != 201:
        assert_documented(answer, "POST", BLOCKLIST)
    return answer


async def test_whoever_is_blocked_is_held(door: Door) -> None:
    """A face on the blocklist ends in review under any name, before and after others enrol."""
    made = await block(door, selfie=text(JOHN), reason=REASON)
    assert {**made.body, "id": "", "created_at": ""} == {
        "id": "", "created_at": "", "reason": REASON, "model": MODEL, "faces": 1,
    }  # fmt: skip
    held = await door.enrol()
    assert held.body["status"] == "needs_review"
    path = f"/api/v1/verifications/{held.body['verification_id']}"
    reasons = (await door.call("GET", path)).body["result"]["reasons"]
    assert [item["code"] for item in reasons] == ["blocklisted"]
    assert (await door.enrol(MARY, "bob")).body["status"] == "approved"


async def test_a_customer_s_faces_are_copied(door: Door) -> None:
    """All of them, held ones too: they stay blocked when the customer is erased."""
    for image in (JOHN, MARY):
        await door.enrol(image)
    assert (await block(door, customer_id="alice")).body["faces"] == 2
    await door.call("DELETE", "/api/v1/customers/alice")
    for image in (JOHN, MARY):
        assert (await door.enrol(image, "bob")).body["status"] == "needs_review"
    assert (await block(door, customer_id="bob")).body["faces"] == 2
    assert (await block(door, customer_id="nobody")).code == "not_found"


async def test_a_blocked_face_is_no_customer(door: Door, link: Redis) -> None:
    """It is found by no search, listed with no verification, counted in no overview; its name is
    one that no request can give, and nothing of it lies in the clear.
    """
    made = await block(door, selfie=text(JOHN), reason=REASON)
    found = (await door.call("POST", SEARCH, {"selfie": text(JOHN)})).body
    assert (found["count"], found["gallery_size"]) == (0, 0)
    assert (await door.call("GET", "/api/v1/verifications")).body["data"] == []
    assert not any((await door.call("GET", f"{KYC}/overview")).body.values())
    assert (await door.call("GET", f"{KYC}/alerts")).body["data"] == []
    name = blocked_customer_id(made.body["id"]).replace("\0", "%00")
    for method, path in (
        ("GET", f"{KYC}/status?customer_id={name}"),
        ("DELETE", f"/api/v1/customers/{name}"),
    ):
        assert (await door.call(method, path)).code == "field_invalid"
    async for key in link.scan_iter("*:block:*"):
        assert REASON.encode() not in (await link.hget(key, "d") or b"")


async def test_the_list_is_paged_newest_first(door: Door) -> None:
    """Every entry once, and none of the other mode's or another tenant's."""
    made = [(await block(door, selfie=text(image))).body["id"] for image in (JOHN, MARY, b"zoe.")]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await door.call("GET", f"{BLOCKLIST}?limit=2&cursor={cursor}")).body
        seen += [item["id"] for item in page["data"]]
        assert page["has_more"] == bool(page["next_cursor"])
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert sorted(seen) == sorted(made)
    for key in (door.tenant.api_key, door.stranger.test_api_key):
        assert (await door.call("GET", BLOCKLIST, key=key)).body["data"] == []
        for method in ("GET", "DELETE"):
            path = f"{BLOCKLIST}/{made[0]}"
            assert (await door.call(method, path, key=key)).code == "not_found"
    assert (await door.call("GET", f"{BLOCKLIST}/{made[0]}")).body["id"] == made[0]


async def test_unblocking_erases(door: Door, link: Redis) -> None:
    """The receipt is an erasure's; nobody is held any more, and not a key of it is left."""
    before = {key async for key in link.scan_iter("*:customer:*")}
    made = (await block(door, selfie=text(JOHN))).body["id"]
    path = f"{BLOCKLIST}/{made}"
    other = f"blk_{(int(made[4:6]) + 1) % 64:02d}{made[6:]}"
    assert (await door.call("DELETE", f"{BLOCKLIST}/{other}")).code == "not_found"
    receipt = await door.call("DELETE", path)
    assert (receipt.status, receipt.body["faces"]) == (200, 1)
    told = await door.call("GET", f"/api/v1/erasures/{receipt.body['erasure_id']}")
    assert told.body["steps"][0] == receipt.body["steps"][0]
    for method in ("GET", "DELETE"):
        assert (await door.call(method, path)).code == "not_found"
    assert (await door.call("GET", BLOCKLIST)).body["data"] == []
    assert {key async for key in link.scan_iter("*:customer:*")} == before
    assert [key async for key in link.scan_iter("*:block:*")] == []
    assert (await door.enrol()).body["status"] == "approved"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "field_invalid"),
        ({"selfie": text(JOHN), "customer_id": "alice"}, "field_invalid"),
        ({"selfie": None, "customer_id": None}, "field_invalid"),
        ({"customer_id": ""}, "field_invalid"),
        ({"customer_id": "\0blocked\0x"}, "field_invalid"),
        ({"selfie": text(JOHN), "reason": "x" * 501}, "field_invalid"),
        ({"selfie": text(JOHN), "reason": 1}, "field_invalid"),
        ({"selfie": text(NOBODY)}, "capture_unfit"),
        ({"selfie": text(BROKEN)}, "image_corrupt"),
        ({"selfie": "?"}, "proof_invalid"),
    ],
)
async def test_bad_input_blocks_nobody(door: Door, body: dict[str, object], code: str) -> None:
    """Each is refused with its own code, and leaves no entry."""
    assert (await block(door, **body)).code == code
    assert (await door.call("GET", BLOCKLIST)).body["data"] == []


async def test_the_blocklist_has_a_scope_of_its_own(door: Door) -> None:
    """The usual keys have it; all the other scopes together do not do."""
    assert Scope.BLOCKLIST in DEFAULT_SCOPES
    others = [scope for scope in Scope if scope is not Scope.BLOCKLIST]
    _, key = await create_key(door.deps, door.tenant.tenant.id, Mode.TEST, others)
    for method, path in (
        ("POST", BLOCKLIST), ("GET", BLOCKLIST), ("GET", f"{BLOCKLIST}/x"),
        ("DELETE", f"{BLOCKLIST}/x"),
    ):  # fmt: skip
        body = {"selfie": text(JOHN)} if method == "POST" else None
        assert (await door.call(method, path, body, key=key)).code == "scope_missing"


async def test_a_reason_is_never_told_to_who_is_blocked(door: Door) -> None:
    """A session that ends in review for it says the reason's code to a phone, and no more."""
    token = await door.ready_token()
    await block(door, selfie=text(JOHN), reason=REASON)
    answer = await door.submit(token)
    assert answer.body["status"] == "needs_review"
    assert REASON not in json.dumps(answer.body)
