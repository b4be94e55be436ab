"""Sessions over real HTTP, from their opening to their end."""

import pytest
from redis.asyncio import Redis

from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    DESKTOP,
    JOHN,
    KYC,
    MARY,
    NOBODY,
    assert_documented,
    front_door,
)

SUBMIT = f"{KYC}/face/submit"


async def test_an_event_that_calls_for_no_face_passes(link: Redis, keyring: Keyring) -> None:
    """An empty, unknown or missing event is answered 200 with a reason and nothing to do."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        for event in ("", "no such event", None):
            answer = await door.open(event=event)
            assert answer.status == 200
            assert answer.body == {
                "reference": "order-1",
                "token": "",
                "reason": "The event is empty or unknown and passes through.",
                "is_required": False,
                "link": "",
                "attempts": 0,
                "max_attempts": 3,
            }
        missing = await door.call(
            "POST", f"{KYC}/face/session", {"reference": "r", "customer_id": "alice"}
        )
        assert missing.body["is_required"] is False


async def test_the_same_person_is_approved(link: Redis, keyring: Keyring) -> None:
    """Open, read the hand-off, connect, submit, verify: the story of the contract."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        read = await door.call("GET", f"{KYC}/session/{token}", key="")
        assert read.body == {
            "document": "",
            "document_backside": "",
            "document_two": "",
            "document_two_backside": "",
            "address": "",
            "face": "",
            "mobile_connected": False,
            "is_submitted": False,
        }
        connected = await door.call("PUT", f"{KYC}/session/connect", {"token": token}, key="")
        assert connected.body == {"mobile_connected": True}
        assert (await door.call("GET", f"{KYC}/session?token={token}", key="")).body[
            "mobile_connected"
        ]
        submitted = await door.submit(token)
        assert submitted.status == 200
        assert submitted.body["status"] == "approved"
        assert submitted.body["event"] == "reuse_kyc"
        verified = await door.call("GET", f"{KYC}/face/verify/{token}", key="")
        assert verified.body == submitted.body
        assert "customer_id" not in str(verified.body)


@pytest.mark.parametrize("name", ["is_disconnect", "isDisconnect"])
async def test_a_phone_lets_go(link: Redis, keyring: Keyring, name: str) -> None:
    """Both spellings of the flag release the phone."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        path = f"{KYC}/session/connect"
        await door.call("PUT", path, {"token": token}, key="")
        answer = await door.call("PUT", path, {"token": token, name: True}, key="")
        assert answer.body == {"mobile_connected": False}


async def test_the_last_failed_try_sets_the_reactions_off(link: Redis, keyring: Keyring) -> None:
    """Three strangers decline the session; the fourth submission is refused."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        for tries, image in enumerate((MARY, b"paul", b"zoe.")):
            answer = await door.submit(token, image)
            assert answer.body["status"] == "declined"
            assert answer.body["data"]["retries_remaining"] == 2 - tries
        assert answer.body["data"]["retry_limit_exceeded"]
        assert answer.body["data"]["block"]
        assert answer.body["data"]["alert_id"].startswith("alr_")
        refused = await door.submit(token, JOHN)
        assert (refused.status, refused.code) == (409, "attempts_exhausted")
        assert_documented(refused, "POST", SUBMIT)


@pytest.mark.parametrize(
    ("image", "code", "feedback"),
    [(NOBODY, "capture_unfit", ["face_not_found"]), (BROKEN, "image_corrupt", ["other"])],
)
async def test_an_unfit_capture_says_how_to_do_better(
    link: Redis, keyring: Keyring, image: bytes, code: str, feedback: list[str]
) -> None:
    """422 with hints, and the same again for the same bytes; no attempt is used up."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        for _ in range(2):
            answer = await door.submit(token, image)
            assert (answer.status, answer.code) == (422, code)
            assert answer.body["feedback"] == feedback
            assert_documented(answer, "POST", SUBMIT)
        told = await door.call("GET", f"{KYC}/face/verify/{token}", key="")
        assert told.body["data"]["retries_remaining"] == 3


async def test_a_desktop_is_sent_to_a_phone(link: Redis, keyring: Keyring) -> None:
    """400 in the seed's own words, before anything is read of the body."""
    async with front_door(link, keyring) as door:
        answer = await door.submit(await door.ready_token(), User_Agent=DESKTOP)
        assert answer.status == 400
        assert answer.body["error"] == {
            "message": "face capture must be completed on a mobile device",
            "code": "mobile_required",
        }
        assert_documented(answer, "POST", SUBMIT)


async def test_a_capture_may_be_judged_later(link: Redis, keyring: Keyring) -> None:
    """`Prefer: respond-async` answers 202 with the session in processing, and says it obeyed."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        answer = await door.submit(token, Prefer="wait=10, Respond-Async")
        assert answer.status == 202
        assert answer.headers["Preference-Applied"] == "respond-async"
        assert answer.body["status"] == "processing"


async def test_the_token_may_come_in_the_head(link: Redis, keyring: Keyring) -> None:
    """`Authorization: Bearer st_…` stands for the body's token; another in the body is refused."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        proof = {"proof": "am9obg=="}
        other = await door.call("POST", SUBMIT, {**proof, "token": "st_x"}, key=token)
        assert (other.status, other.body["errors"][0]["pointer"]) == (422, "/token")
        missing = await door.call("POST", SUBMIT, proof, key="")
        assert (missing.status, missing.body["errors"][0]["pointer"]) == (422, "/token")
        passed_over = await door.call("POST", SUBMIT, {**proof, "token": "st_x"})
        assert passed_over.status == 404  # an API key in the head is nothing to a public route
        assert (await door.call("POST", SUBMIT, proof, key=token)).body["status"] == "approved"


async def test_an_unknown_token_in_the_head_costs_no_body(link: Redis, keyring: Keyring) -> None:
    """It is refused although the body that follows would be refused for other reasons."""
    async with front_door(link, keyring) as door:
        unknown = f"st_00{'a' * 43}"
        answer = await door.call("POST", SUBMIT, b"not json", key=unknown)
        assert (answer.status, answer.code) == (404, "not_found")


async def test_a_tenant_sees_and_ends_its_sessions(link: Redis, keyring: Keyring) -> None:
    """List by customer and reference, show, cancel; a stranger's key finds none of them."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        await door.open(reference="order-2", event="password_change")
        both = await door.call("GET", f"{KYC}/face/sessions?customer_id=alice")
        assert [item["reference"] for item in both.body["data"]] == ["order-2", "order-1"]
        assert (both.body["next_cursor"], both.body["has_more"]) == ("", False)
        query = "customer_id=alice&reference=order-1"
        one = await door.call("GET", f"{KYC}/face/sessions?{query}")
        (session,) = one.body["data"]
        assert session["created_at"].endswith("Z")
        assert session["status"] == "pending"
        path = f"{KYC}/face/sessions/{session['id']}"
        assert (await door.call("GET", path)).body == session
        for method, end in (("GET", ""), ("POST", "/cancel")):
            foreign = await door.call(method, path + end, key=door.stranger.test_api_key)
            assert foreign.status == 404
            assert (await door.call(method, path + end, key=door.tenant.api_key)).status == 404
        ended = await door.call("POST", f"{path}/cancel")
        assert (ended.status, ended.body["status"]) == (200, "canceled")
        again = await door.call("POST", f"{path}/cancel")
        assert (again.status, again.code) == (409, "session_closed")
        assert_documented(again, "POST", f"{KYC}/face/sessions/{{session_id}}/cancel")
        counts = await door.call("GET", f"{KYC}/overview")
        assert counts.body["sessions.total"] == 2


async def test_only_a_session_in_review_is_reviewed(link: Redis, keyring: Keyring) -> None:
    """A decision on any other is 409, and a decision of another word 422."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        listed = await door.call("GET", f"{KYC}/face/sessions?customer_id=alice")
        path = f"{KYC}/face/sessions/{listed.body['data'][0]['id']}/review"
        refused = await door.call("POST", path, {"decision": "approved"})
        assert (refused.status, refused.code) == (409, "session_closed")
        wrong = await door.call("POST", path, {"decision": "maybe"})
        assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (422, "/decision")
