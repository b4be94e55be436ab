"""Verifications over HTTP: as the seed has them, what is refused, and what is shown to whom."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from redis.asyncio import Redis

from serve.api.application import build_application
from serve.api.openapi import document
from serve.api.routes import ROUTES
from serve.domain.ids import Mode, digest
from serve.domain.tenancy.api_key import Scope
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows.tenants import create_key, create_tenant
from serve.observe import logs
from serve.settings import Settings
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    JOHN,
    MARY,
    NOBODY,
    Answer,
    Door,
    assert_documented,
    deps_on,
    front_door,
    serving,
    text,
)
from tests.helpers.search.seeds import differences, read_seed

PATH = "/api/v1/verifications"
ONE = PATH + "/{verification_id}"
REVERIFY = "/api/v1/reverify"
TOKEN = "/api/v1/customers/{customer_id}/identity-token"  # noqa: S105 (a path)
APPLICANT = {"name": "Ada L.", "email": "ada@example.org", "dob": "1990-02-28", "country": "NLD"}
NULLS = dict.fromkeys(APPLICANT)


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door with two tenants."""
    async with front_door(link, keyring) as opened:
        yield opened


async def create(door: Door, body: object = None, **headers: str) -> Answer:
    """One created, or refused as the document says."""
    answer = await door.call("POST", PATH, body, **headers)
    if answer.status != 201:
        assert_documented(answer, "POST", PATH)
    return answer


async def a_token(door: Door) -> str:
    """The identity token of alice, who looks like john."""
    await door.enrol()
    answer = await door.call("POST", TOKEN.format(customer_id="alice"))
    assert answer.status == 201
    return str(answer.body["token"])


async def again(door: Door, token: str, image: bytes = JOHN, key: str | None = None) -> Answer:
    """Alice once more."""
    answer = await door.call("POST", REVERIFY, {"token": token, "selfie": text(image)}, key=key)
    if answer.status != 201:
        assert_documented(answer, "POST", REVERIFY)
    return answer


async def pii_key(door: Door) -> str:
    """A key that may see names."""
    scopes = (Scope.CUSTOMERS, Scope.PII)
    return (await create_key(door.deps, door.tenant.tenant.id, Mode.TEST, scopes))[1]


async def test_answers_are_the_seed_s(door: Door, shared: Path) -> None:
    """Created, listed, read, from a session, an enrolment and a re-verification: every member of
    the seed's, of its type and among its words.
    """
    seed = read_seed(shared)
    wanted = seed["components"]["schemas"]["Verification"]
    listing = seed["paths"]["/verifications"]["get"]["responses"]["200"]
    of_lists = listing["content"]["application/json"]["schema"]
    await create(door, {"applicant": APPLICANT})
    token = await door.ready_token()
    await door.submit(token)
    repeated = await again(door, await a_token(door), MARY)
    whole = await door.call("GET", PATH, key=await pii_key(door))
    assert list(differences(seed, of_lists, whole.body)) == []
    kinds = {item["kind"] for item in whole.body["data"]}
    assert kinds == {"created", "enrolment", "session", "reverification"}
    for item in [*whole.body["data"], repeated.body]:
        assert list(differences(seed, wanted, item)) == []
        assert (item["result"] is None) == (item["status"] in {"pending", "processing"})
        if item["result"] is not None:
            assert item["result"]["screening"] == {"available": False}
            assert item["result"]["document"] == {"available": False}
            assert item["result"]["risk"] is None
        one = await door.call("GET", f"{PATH}/{item['id']}", key=await pii_key(door))
        assert {**one.body, "applicant": None} == {**item, "applicant": None}
    refused = await door.call("GET", f"{PATH}/nobody")
    assert list(differences(seed, seed["components"]["schemas"]["Error"], refused.body)) == []


async def test_the_body_may_be_left_out(door: Door) -> None:
    """None, and an empty object, are the same; the document says that none is needed."""
    bodies: tuple[object, ...] = (None, {})
    for body in bodies:
        made = await create(door, body)
        assert (made.status, made.body["document_type"]) == (201, "passport")
        assert made.body["hosted_url"] == f"https://limen.example/verify/{made.body['id']}"
    assert (await create(door, b"")).status == 201
    described = document(ROUTES).decode()
    assert '"required":false,"content"' in described


def the_bad() -> Iterator[tuple[dict[str, Any], str]]:
    """Bodies, and where the fault lies."""
    wrong: dict[str, list[object]] = {
        "name": ["", "a" * 257, "a\x00b", 7],
        "email": ["", "nobody", "a@", "@b", "a@b@c", "a b@c", "a@" + "b" * 253, 7],
        "dob": ["", "1990-2-28", "1990-02-30", "28-02-1990", "19900228", "1990-W08-3", "x", 7],
        "country": ["", "NL", "nld", "NLDX", "N1D", "ÀBC", 7],
        "phone": ["1"],
    }
    for name, values in wrong.items():
        yield from (({"applicant": {name: value}}, f"/applicant/{name}") for value in values)
    yield {"document_type": "visa"}, "/document_type"
    yield {"customer_id": ""}, "/customer_id"
    yield {"reference": "a" * 257}, "/reference"
    yield {"applicant": "Ada"}, "/applicant"
    yield {"status": "approved"}, "/status"


async def test_bad_input_is_refused_where_it_is_bad(door: Door) -> None:
    """Lengths, dates that are not in the calendar, countries of two letters: 422, and a pointer;
    no refusal quotes what was sent.
    """
    for body, pointer in the_bad():
        answer = await create(door, body)
        assert (answer.status, answer.code) == (422, "field_invalid"), body
        assert {fault["pointer"] for fault in answer.body["errors"]} == {pointer}, body
        assert "1990" not in str(answer.body)
    assert (await door.call("GET", PATH)).body["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=1"])
async def test_bad_pages_are_refused(door: Door, query: str) -> None:
    """A page has 1 to 100 entries; 20 unless asked otherwise."""
    answer = await door.call("GET", f"{PATH}?{query}")
    assert (answer.status, answer.code) == (422, "field_invalid")
    wrong = await door.call("GET", f"{PATH}?cursor=nonsense")
    assert (wrong.status, wrong.code) == (422, "cursor_invalid")


async def test_pages_are_of_twenty(door: Door) -> None:
    """And join to the whole by their cursors."""
    made = [(await create(door)).body["id"] for _ in range(23)]
    first = await door.call("GET", PATH)
    assert (len(first.body["data"]), first.body["has_more"]) == (20, True)
    rest = await door.call("GET", f"{PATH}?cursor={first.body['next_cursor']}")
    assert (rest.body["has_more"], rest.body["next_cursor"]) == (False, "")
    found = [item["id"] for page in (first, rest) for item in page.body["data"]]
    assert sorted(found) == sorted(made)


async def test_who_the_applicant_is_needs_a_scope(door: Door) -> None:
    """Told to the request that brought it; later to a key with `pii`, and nulls to any other."""
    made = await create(door, {"applicant": APPLICANT})
    assert made.body["applicant"] == APPLICANT
    path = f"{PATH}/{made.body['id']}"
    key = await pii_key(door)
    for shown, asking in ((NULLS, None), (APPLICANT, key)):
        assert (await door.call("GET", path, key=asking)).body["applicant"] == shown
        (listed,) = (await door.call("GET", PATH, key=asking)).body["data"]
        assert listed["applicant"] == shown


async def test_strangers_find_nothing(door: Door) -> None:
    """Another tenant, the other mode and unknown ids get the same 404 from every route."""
    token = await a_token(door)
    made = (await again(door, token)).body["id"]
    calls = (
        ("GET", f"{PATH}/{made}", None, ONE),
        ("POST", f"{PATH}/{made}/review", {"decision": "approved"}, ONE + "/review"),
        ("POST", TOKEN.format(customer_id="alice"), None, TOKEN),
        ("POST", REVERIFY, {"token": token, "selfie": text(JOHN)}, REVERIFY),
    )
    for key in (door.stranger.test_api_key, door.tenant.api_key):
        for method, path, body, template in calls:
            answer = await door.call(method, path, body, key=key)
            assert (answer.status, answer.code) == (404, "not_found"), path
            assert_documented(answer, method, template)
        assert (await door.call("GET", PATH, key=key)).body["data"] == []


async def test_a_review_over_http(door: Door) -> None:
    """What needs one is decided by one word, once."""
    token = await a_token(door)
    await door.call("PATCH", "/api/v1/tenant", {"liveness_policy": "required"})
    held = await again(door, token)
    assert held.body["status"] == "needs_review"
    assert held.body["result"]["liveness"] == {"available": False}
    path = f"{PATH}/{held.body['id']}/review"
    for body in ({"decision": "declined"}, {"decision": "needs_review"}, {}):
        wrong = await door.call("POST", path, body)
        assert (wrong.status, wrong.code) == (422, "field_invalid")
    done = await door.call("POST", path, {"decision": "rejected"})
    assert (done.status, done.body["status"]) == (200, "rejected")
    codes = [item["code"] for item in done.body["result"]["reasons"]]
    assert codes == ["review_declined", "liveness_unavailable"]
    closed = await door.call("POST", path, {"decision": "approved"})
    assert (closed.status, closed.code) == (409, "verification_closed")
    assert_documented(closed, "POST", ONE + "/review")


async def test_a_token_is_shown_once(door: Door) -> None:
    """No other answer has it; the one after it takes its place."""
    token = await a_token(door)
    told = [await again(door, token), await door.call("GET", PATH),
            await door.call("GET", "/api/v1/audit")]  # fmt: skip
    assert [answer for answer in told if token in str(answer.body)] == []
    newer = await door.call("POST", TOKEN.format(customer_id="alice"))
    assert newer.body["token"] != token
    refused = await again(door, token)
    assert (refused.status, refused.code) == (403, "identity_refused")
    assert (await again(door, newer.body["token"])).status == 201


async def test_who_has_no_face_gets_no_token(door: Door) -> None:
    """Nobody is 404, and a customer without a verified face is 403."""
    nobody = await door.call("POST", TOKEN.format(customer_id="alice"))
    assert (nobody.status, nobody.code) == (404, "not_found")
    await create(door, {"customer_id": "alice"})
    faceless = await door.call("POST", TOKEN.format(customer_id="alice"))
    assert (faceless.status, faceless.code) == (403, "identity_refused")
    assert_documented(faceless, "POST", TOKEN)


async def test_scores_are_rounded_and_nothing_is_made_up(door: Door) -> None:
    """Two decimals of what was compared; what was not looked at is `available: false`."""
    made = await again(door, await a_token(door))
    result = made.body["result"]
    assert result["face_match"] == {
        "available": True, "similarity": 0.9, "threshold": 0.36, "is_match": True,
    }  # fmt: skip
    for name in ("document", "liveness", "screening"):
        assert result[name] == {"available": False}
    assert made.body["signals"] is None


async def test_unfit_selfies_are_refused(door: Door) -> None:
    """422 with hints; text that is no image 422 before anybody looks."""
    token = await a_token(door)
    looked = door.faces.examined
    for selfie in ("", "not base64!", "data:text/plain;base64,am9obg=="):
        answer = await door.call("POST", REVERIFY, {"token": token, "selfie": selfie})
        assert (answer.status, answer.code) == (422, "proof_invalid")
    assert door.faces.examined == looked
    for image, code, hint in (
        (NOBODY, "capture_unfit", "face_not_found"), (BROKEN, "image_corrupt", "other"),
    ):  # fmt: skip
        unfit = await again(door, token, image)
        assert (unfit.status, unfit.code, unfit.body["feedback"]) == (422, code, [hint])


async def test_a_door_without_a_public_url_has_no_hosted_page(
    link: Redis, keyring: Keyring
) -> None:
    """An empty string, and no invented host."""
    deps = replace(deps_on(link, keyring), public_base_url="")
    tenant = await create_tenant(deps, "First", TenantPatch())
    headers = {"Authorization": f"Bearer {tenant.api_key}"}
    async with (
        serving(build_application(deps, Settings())) as url,
        ClientSession(headers=headers) as client,
        client.post(url + PATH) as response,
    ):
        made = await response.json()
    assert (response.status, made["hosted_url"]) == (201, "")


async def test_wrong_tokens_are_counted_as_guesses(link: Redis, keyring: Keyring) -> None:
    """Whoever tries tokens is told to wait, whatever the key; a right one is no guess, and neither
    is another route's 404.
    """
    async with front_door(link, keyring, refusals_per_minute_max=3) as opened:
        token = await a_token(opened)
        for _ in range(5):
            assert (await again(opened, token)).status == 201
            assert (await opened.call("GET", f"{PATH}/nobody")).status == 404
        for _ in range(3):
            assert (await again(opened, "rid_00" + "A" * 43)).status == 404
        shut = await again(opened, token)
        assert (shut.status, shut.code) == (429, "too_many_requests")


async def test_nothing_of_a_token_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor its digest, nor whose it is."""
    token = await a_token(door)
    with caplog.at_level("DEBUG"):
        await again(door, token)
        await again(door, token[:-1])
    lines = [logs.JsonFormatter().format(record) for record in caplog.records]
    assert lines
    secrets = (token[6:-1], digest(token), "alice")
    assert [line for line in lines if any(secret in line for secret in secrets)] == []


async def test_two_creates_at_once_are_two(door: Door) -> None:
    """Without a key every request is its own."""
    made = await asyncio.gather(*(create(door) for _ in range(8)))
    assert len({answer.body["id"] for answer in made}) == 8
