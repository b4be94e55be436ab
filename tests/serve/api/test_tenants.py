"""What belongs to a tenant, over real HTTP: settings, preferences, alerts, callbacks."""

from redis.asyncio import Redis

from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import KYC, ORIGIN, Door, assert_documented, front_door

TENANT, PREFERENCES = "/api/v1/tenant", f"{KYC}/preferences"


async def test_a_tenant_sets_itself_up(link: Redis, keyring: Keyring) -> None:
    """Only what is given changes, and no secret is shown."""
    async with front_door(link, keyring) as door:
        before = await door.call("GET", TENANT)
        assert set(before.body) == {
            "id",
            "name",
            "liveness_policy",
            "duplicates",
            "allowed_origins",
            "frontend_base_url",
            "keep_reference_images",
            "duplicate_target_fpir",
            "session_retention_days",
            "created_at",
            "updated_at",
        }
        wanted = {"session_retention_days": 7, "allowed_origins": ["https://A.example:443"]}
        changed = await door.call("PATCH", TENANT, wanted)
        assert changed.status == 200
        assert changed.body["allowed_origins"] == ["https://a.example"]
        assert changed.body["session_retention_days"] == 7
        assert changed.body["name"] == before.body["name"]
        assert changed.body["updated_at"] > before.body["updated_at"]
        assert (await door.call("GET", TENANT)).body == changed.body
        live = await door.call("GET", TENANT, key=door.tenant.api_key)
        assert {**live.body, "updated_at": ""} == {**before.body, "updated_at": ""}
        other = await door.call("GET", TENANT, key=door.stranger.api_key)
        assert other.body["name"] == "Second"


async def test_bad_settings_are_refused(link: Redis, keyring: Keyring) -> None:
    """A path in an origin, a number out of range, an unknown name, a URL of another scheme."""
    async with front_door(link, keyring) as door:
        for body, pointer in (
            ({"allowed_origins": [f"{ORIGIN}/path"]}, "/allowed_origins/0"),
            ({"session_retention_days": 0}, "/session_retention_days"),
            ({"name": "x"}, "/name"),
            ({"keep_reference_images": "yes"}, "/keep_reference_images"),
        ):
            answer = await door.call("PATCH", TENANT, body)
            assert (answer.status, answer.code) == (422, "field_invalid")
            assert answer.body["errors"][0]["pointer"] == pointer
        url = await door.call("PATCH", TENANT, {"frontend_base_url": "ftp://tenant.example"})
        assert (url.status, url.code) == (422, "url_refused")
        assert_documented(url, "PATCH", TENANT)


async def test_a_new_tenant_asks_for_no_face(link: Redis, keyring: Keyring) -> None:
    """The preferences of a new tenant are the contract's, with server-set fields beside them."""
    async with front_door(link, keyring) as door:
        body = (await door.call("GET", PREFERENCES)).body
        assert body["is_reuse_kyc_enabled"] is False
        assert body["reuse_kyc_triggers"]["login"] is False
        assert body["reuse_kyc_reactions"] == {
            "max_retry_attempts": 2,
            "trigger_alert": True,
            "enforce_logout": False,
            "freeze_account": False,
            "freeze_duration_minutes": 0,
        }
        assert body["tenant_id"] == door.tenant.tenant.id
        assert body["created_at"].endswith("Z")
        assert "created_at_ms" not in body


async def test_rules_are_replaced_and_reactions_merged(link: Redis, keyring: Keyring) -> None:
    """An event given replaces its whole rule; a reaction given leaves the others; one world."""
    async with front_door(link, keyring) as door:
        first = {
            "reuse_kyc_triggers": {"deposit": {"enabled": True, "threshold": 50.5}, "login": True},
            "reuse_kyc_reactions": {"freeze_account": True},
        }
        assert (await door.call("PATCH", PREFERENCES, first)).status == 200
        second = {
            "reuse_kyc_triggers": {"deposit": {"enabled": True}},
            "reuse_kyc_reactions": {"max_retry_attempts": 0},
        }
        body = (await door.call("PATCH", PREFERENCES, second)).body
        assert body["reuse_kyc_triggers"]["deposit"] == {"enabled": True, "threshold": 0}
        assert body["reuse_kyc_triggers"]["login"] is True
        assert body["reuse_kyc_reactions"]["freeze_account"] is True
        assert body["reuse_kyc_reactions"]["max_retry_attempts"] == 0
        live = await door.call("GET", PREFERENCES, key=door.tenant.api_key)
        assert live.body["reuse_kyc_triggers"]["login"] is False


async def test_bad_preferences_are_refused(link: Redis, keyring: Keyring) -> None:
    """Out of range, unknown, server-set or of another type: 422 at the place."""
    async with front_door(link, keyring) as door:
        for body, pointer in (
            ({"reuse_kyc_reactions": {"max_retry_attempts": 11}}, "max_retry_attempts"),
            ({"reuse_kyc_reactions": {"freeze_duration_minutes": 525_601}}, "freeze_duration"),
            ({"reuse_kyc_triggers": {"logout": True}}, "/reuse_kyc_triggers/logout"),
            ({"reuse_kyc_triggers": {"login": 1}}, "/reuse_kyc_triggers/login"),
            ({"reuse_kyc_triggers": {"login": None}}, "/reuse_kyc_triggers/login"),
            ({"tenant_id": "ten_b"}, "/tenant_id"),
        ):
            answer = await door.call("PATCH", PREFERENCES, body)
            assert (answer.status, answer.code) == (422, "field_invalid"), body
            assert pointer in answer.body["errors"][0]["pointer"]


async def exhausted(door: Door, event: str) -> None:
    """A session whose retries have run out."""
    opened = await door.open(event=event, reference=f"order-{event}")
    for image in (b"mary", b"paul", b"zoe."):
        await door.submit(opened.body["token"], image)


async def test_alerts_are_listed_filtered_and_changed(link: Redis, keyring: Keyring) -> None:
    """Page by page, by status and type; a stranger neither sees nor changes them."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        await exhausted(door, "login")
        await exhausted(door, "password_change")
        path = f"{KYC}/alerts"
        first = (await door.call("GET", f"{path}?limit=1")).body
        assert first["has_more"] is True
        second = (await door.call("GET", f"{path}?limit=1&cursor={first['next_cursor']}")).body
        (newer,), (older,) = first["data"], second["data"]
        assert {newer["reference"], older["reference"]} == {"order-login", "order-password_change"}
        assert newer["alert_type"] == "retry_limit_exceeded"
        assert newer["customer_id"] == "alice"

        one = f"{path}/{newer['id']}"
        for method, body in (("GET", None), ("PATCH", {"status": "resolved"})):
            foreign = await door.call(method, one, body, key=door.stranger.test_api_key)
            assert foreign.status == 404
        changed = await door.call("PATCH", one, {"status": "resolved"})
        assert (changed.status, changed.body["status"]) == (200, "resolved")
        still_open = (await door.call("GET", f"{path}?status=open")).body["data"]
        assert [item["id"] for item in still_open] == [older["id"]]
        none = (await door.call("GET", f"{path}?alert_type=duplicate_face")).body["data"]
        assert none == []
        both = (await door.call("GET", f"{path}?alert_type=retry_limit_exceeded")).body["data"]
        assert len(both) == 2


async def test_a_made_up_cursor_is_refused(link: Redis, keyring: Keyring) -> None:
    """A cursor that no list has given out is 422."""
    async with front_door(link, keyring) as door:
        for path in (f"{KYC}/alerts", "/api/v1/events"):
            answer = await door.call("GET", f"{path}?cursor=made-up")
            assert (answer.status, answer.code) == (422, "cursor_invalid")
            assert_documented(answer, "GET", path)


async def test_callbacks_are_read_and_sent_again(link: Redis, keyring: Keyring) -> None:
    """Listed without what they say, shown with it, due again on demand; a stranger sees none."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        opened = await door.open(callback_url=f"{ORIGIN}/hook")
        told = await door.submit(opened.body["token"])
        (event,) = (await door.call("GET", "/api/v1/events")).body["data"]
        assert (event["url"], event["state"]) == (f"{ORIGIN}/hook", "pending")
        assert "body" not in event
        path = f"/api/v1/events/{event['id']}"
        shown = (await door.call("GET", path)).body
        assert shown["attempts"] == []
        assert told.body["resource_id"] in shown["body"]
        for method, end in (("GET", ""), ("POST", "/resend")):
            foreign = await door.call(method, path + end, key=door.stranger.test_api_key)
            assert foreign.status == 404
        again = await door.call("POST", f"{path}/resend")
        assert (again.status, again.body["id"]) == (200, event["id"])


async def test_urls_belong_to_the_tenant(link: Redis, keyring: Keyring) -> None:
    """A callback or redirect to an origin that is not the tenant's is 422."""
    async with front_door(link, keyring) as door:
        for name in ("callback_url", "redirect_url"):
            for url in ("https://evil.example/hook", "http://tenant.example", "javascript:1"):
                answer = await door.open(**{name: url})
                assert (answer.status, answer.code) == (422, "url_refused")
                assert_documented(answer, "POST", f"{KYC}/face/session")
