"""Customers over real HTTP: enrolled, asked after, erased."""

from redis.asyncio import Redis

from serve.domain.customer import REFERENCES_MAX
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    KYC,
    NOBODY,
    assert_documented,
    front_door,
    text,
)
from tests.helpers.records import MODEL

FACES = "/api/v1/customers/{customer_id}/faces"


async def test_a_face_is_enrolled_once(link: Redis, keyring: Keyring) -> None:
    """201 with the face, and 200 with the very same for the same bytes again."""
    async with front_door(link, keyring) as door:
        first = await door.enrol()
        assert first.status == 201
        assert first.body["face_id"].startswith("fac_")
        assert first.body["customer_id"] == "alice"
        assert (first.body["feedback"], first.body["model"]) == (["ok"], MODEL)
        assert first.body["verification_id"] == f"ver_{first.body['face_id'][4:]}"
        assert (first.body["status"], first.body["duplicates"]) == ("approved", 0)
        assert set(first.body) == {
            "face_id", "customer_id", "quality", "feedback", "model",
            "verification_id", "status", "duplicates",
        }  # fmt: skip
        again = await door.enrol()
        assert (again.status, again.body) == (200, first.body)
        data_url = f"data:image/jpeg;base64,{text(b'john')}"
        path = FACES.format(customer_id="alice")
        assert (await door.call("POST", path, {"image": data_url})).body == first.body


async def test_an_unfit_photo_is_no_reference(link: Redis, keyring: Keyring) -> None:
    """422 with hints, or with the code of what made it unreadable."""
    async with front_door(link, keyring) as door:
        for image, code, hint in (
            (NOBODY, "capture_unfit", "face_not_found"),
            (BROKEN, "image_corrupt", "other"),
        ):
            answer = await door.enrol(image)
            assert (answer.status, answer.code) == (422, code)
            assert answer.body["feedback"] == [hint]
            assert_documented(answer, "POST", FACES)


async def test_text_that_is_no_image_is_refused(link: Redis, keyring: Keyring) -> None:
    """What is not base64 is 422 before any model is asked."""
    async with front_door(link, keyring) as door:
        for image in ("", "not base64!", "data:text/plain;base64,am9obg=="):
            answer = await door.call("POST", FACES.format(customer_id="alice"), {"image": image})
            assert (answer.status, answer.code) == (422, "proof_invalid")
            assert_documented(answer, "POST", FACES)


async def test_references_are_bounded(link: Redis, keyring: Keyring) -> None:
    """One face more than is kept is 409."""
    async with front_door(link, keyring) as door:
        for number in range(REFERENCES_MAX):
            assert (await door.enrol(f"{number:04}".encode())).status == 201
        full = await door.enrol(b"more")
        assert (full.status, full.code) == (409, "references_full")
        assert_documented(full, "POST", FACES)


async def test_a_name_of_any_kind_is_one_customer(link: Redis, keyring: Keyring) -> None:
    """Slashes, spaces and other alphabets in a customer's id survive the path."""
    async with front_door(link, keyring) as door:
        answer = await door.enrol(customer="a%2Fb%20%C3%A9%3F")
        assert answer.body["customer_id"] == "a/b é?"
        bad = await door.enrol(customer="a%00b")
        assert (bad.status, bad.body["errors"][0]["parameter"]) == (422, "customer_id")


async def test_status_tells_of_a_verified_face(link: Redis, keyring: Keyring) -> None:
    """Pending before enrolment and approved after it, in the key's world only."""
    async with front_door(link, keyring) as door:
        path = f"{KYC}/status?customer_id=alice"
        before = await door.call("GET", path)
        assert (before.status, before.body["kyc_status"]) == (200, "pending")
        await door.enrol()
        after = await door.call("GET", path)
        assert after.body["kyc_status"] == "approved"
        assert set(after.body) == {"kyc_status", "message"}
        for key in (door.tenant.api_key, door.stranger.test_api_key):
            other = await door.call("GET", path, key=key)
            assert other.body == before.body


async def test_an_erasure_is_dated_step_by_step(link: Redis, keyring: Keyring) -> None:
    """The receipt names four steps; the customer and the token are gone; nobody else reads it."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        path = "/api/v1/customers/alice"
        foreign = await door.call("DELETE", path, key=door.stranger.test_api_key)
        assert (foreign.status, foreign.code) == (404, "not_found")
        receipt = await door.call("DELETE", path)
        assert receipt.status == 200
        steps = {step["step"]: step for step in receipt.body["steps"]}
        assert list(steps) == ["search", "store", "log", "backups"]
        assert steps["search"]["done_at"] == receipt.body["requested_at"]
        assert steps["backups"]["done_at"] is None
        assert not receipt.body["is_complete"]
        assert "alice" not in str(receipt.body)
        found = f"/api/v1/erasures/{receipt.body['erasure_id']}"
        assert (await door.call("GET", found)).body == receipt.body
        hidden = await door.call("GET", found, key=door.stranger.test_api_key)
        assert hidden.status == 404
        assert (await door.submit(token)).status == 404
        assert (await door.call("DELETE", path)).status == 404
