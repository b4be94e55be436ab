"""Every route against the trail: what it declares is what it leaves, and it is written by it."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from redis.asyncio import Redis

from serve.api.routes import ROUTES
from serve.domain.audit import Action, AuditEntry
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Scope
from serve.flows.tenants import create_key
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, KYC, front_door, text
from tests.serve.audit.scene import (
    BLOCKLIST,
    SWEEPS,
    Call,
    Left,
    asks,
    asks_what_to_do,
    blocked,
    by_key,
    connects,
    dismisses,
    enrols,
    flag_changed,
    flags_read,
    judged,
    listed,
    lists_duplicates,
    of_alice,
    of_eve,
    of_world,
    passed,
    played,
    repeated,
    repeats,
    reviews,
    reviews_verification,
    submits,
    sweeps,
)
from tests.serve.audit.trail import trail_of

SCREENED = {Action.CUSTOMER_SCREENED}
ENROLLED = {Action.CUSTOMER_ENROLLED, *SCREENED}
SWEPT = {Action.SWEEP_CREATED}
UNDER_REVIEW = {Action.TENANT_CHANGED, Action.SESSION_JUDGED}
BESIDE_IT: Mapping[str, set[Action]] = {  # what else is done, or has to be to come there
    "enrol": SCREENED,
    "review_session": UNDER_REVIEW,
    "review_verification": UNDER_REVIEW,
    "repeat_verification": {Action.IDENTITY_ISSUED},
    "list_duplicates": ENROLLED,
    "change_duplicate": {*ENROLLED, Action.FLAG_READ},
    "read_sweep": SWEPT,
    "cancel_sweep": SWEPT,
    "list_pairs": {*SWEPT, *ENROLLED},
    "list_sweep_rings": SWEPT,
    "list_rings": SWEPT,
    "read_ring": {*SWEPT, *ENROLLED},
    "read_calibration": SWEPT,
}
OF_A_TENANT = {"tenant.created", "key.created", "audit.read"}

OPEN = {"reference": "order-9", "customer_id": "alice", "event": "name_change"}
ACTIVE = "/api/v1/active-liveness"
FACES = "/api/v1/customers/alice/faces"
SESSION = f"{KYC}/face/sessions/{{session}}"

# What a call of each route leaves; None for nothing. Written out, so that whoever adds a route has
# to decide.
EXPECTED: Mapping[str, tuple[Call, Left | None]] = MappingProxyType(
    {
        "open_session": (asks("POST", f"{KYC}/face/session", OPEN), passed),
        "submit_capture": (submits, judged),
        "verify": (asks("GET", f"{KYC}/face/verify/{{token}}"), None),
        "read_handoff": (asks("GET", f"{KYC}/session/{{token}}"), None),
        "find_handoff": (asks("GET", f"{KYC}/session?token={{token}}"), None),
        "connect": (connects, None),
        "read_challenge": (asks_what_to_do, None),
        "check_liveness": (asks("POST", ACTIVE, {"frames": [text(JOHN)] * 3}), None),
        "estimate_age": (asks("POST", "/api/v1/age-estimate", {"image": text(JOHN)}), None),
        "overview": (asks("GET", f"{KYC}/overview"), None),
        "list_sessions": (
            asks("GET", f"{KYC}/face/sessions?customer_id=alice"),
            by_key(Action.SESSION_READ, of_alice, count=3),
        ),
        "read_session": (asks("GET", SESSION), by_key(Action.SESSION_READ, of_alice, "session_id")),
        "cancel_session": (
            asks("POST", f"{SESSION}/cancel"),
            by_key(Action.SESSION_CANCELED, of_alice, "session_id"),
        ),
        "review_session": (
            reviews,
            by_key(Action.SESSION_REVIEWED, of_alice, "session_id", "approved"),
        ),
        "kyc_status": (
            asks("GET", f"{KYC}/status?customer_id=alice"),
            by_key(Action.CUSTOMER_READ, of_alice),
        ),
        "enrol": (enrols, by_key(Action.CUSTOMER_ENROLLED, of_alice, ".face_id")),
        "erase": (
            asks("DELETE", "/api/v1/customers/alice"),
            by_key(Action.CUSTOMER_ERASED, of_alice, ".erasure_id"),
        ),
        "read_erasure": (
            asks("GET", "/api/v1/erasures/{erasure}"),
            by_key(Action.ERASURE_READ, of_world, "erasure_id"),
        ),
        "create_verification": (
            asks("POST", "/api/v1/verifications", {"customer_id": "alice"}),
            by_key(Action.VERIFICATION_CREATED, of_alice, ".id"),
        ),
        "list_verifications": (asks("GET", "/api/v1/verifications"), listed),
        "read_verification": (
            asks("GET", "/api/v1/verifications/{verification}"),
            by_key(Action.VERIFICATION_READ, of_alice, "verification_id"),
        ),
        "review_verification": (
            reviews_verification,
            by_key(Action.SESSION_REVIEWED, of_alice, "session_id", "approved"),
        ),
        "issue_identity": (
            asks("POST", "/api/v1/customers/alice/identity-token"),
            by_key(Action.IDENTITY_ISSUED, of_alice),
        ),
        "repeat_verification": (repeats, repeated),
        "search_face": (
            asks("POST", "/api/v1/face-search", {"selfie": text(JOHN)}),
            by_key(Action.FACE_SEARCHED, of_world, count=1),
        ),
        "list_duplicates": (lists_duplicates, flags_read),
        "change_duplicate": (dismisses, flag_changed),
        "block_face": (asks("POST", BLOCKLIST, {"selfie": text(JOHN)}), blocked),
        "list_blocked": (
            asks("GET", BLOCKLIST),
            by_key(Action.BLOCKLIST_READ, of_world, count=1),
        ),
        "read_blocked": (
            asks("GET", f"{BLOCKLIST}/{{block}}"),
            by_key(Action.BLOCKLIST_READ, of_eve, "block_id"),
        ),
        "unblock_face": (
            asks("DELETE", f"{BLOCKLIST}/{{block}}"),
            by_key(Action.FACE_UNBLOCKED, of_eve, ".erasure_id"),
        ),
        "create_sweep": (asks("POST", SWEEPS), by_key(Action.SWEEP_CREATED, of_world, ".id")),
        "list_sweeps": (asks("GET", SWEEPS), by_key(Action.SWEEP_READ, of_world, count=0)),
        "read_sweep": (
            sweeps("GET", f"{SWEEPS}/{{sweep}}"),
            by_key(Action.SWEEP_READ, of_world, "sweep_id", "queued"),
        ),
        "cancel_sweep": (
            sweeps("POST", f"{SWEEPS}/{{sweep}}/cancel"),
            by_key(Action.SWEEP_CANCELED, of_world, "sweep_id"),
        ),
        "list_pairs": (
            sweeps("GET", f"{SWEEPS}/{{sweep}}/pairs", "alice", "dora"),
            by_key(Action.SWEEP_READ, of_world, "sweep_id", count=1),
        ),
        "list_sweep_rings": (
            sweeps("GET", f"{SWEEPS}/{{sweep}}/rings", "alice"),
            by_key(Action.RING_READ, of_world, "sweep_id", count=0),
        ),
        "list_rings": (
            sweeps("GET", "/api/v1/rings", "alice"),
            by_key(Action.RING_READ, of_world, "sweep_id", count=0),
        ),
        "read_ring": (
            sweeps("GET", "/api/v1/rings/{ring}", "alice", "dora"),
            by_key(Action.RING_READ, of_world, ".id"),
        ),
        "read_calibration": (
            sweeps("GET", "/api/v1/calibration", "alice"),
            by_key(Action.SWEEP_READ, of_world, "sweep_id"),
        ),
        "read_preferences": (asks("GET", f"{KYC}/preferences"), None),
        "change_preferences": (
            asks("PATCH", f"{KYC}/preferences", {"is_reuse_kyc_enabled": False}),
            by_key(Action.PREFERENCES_CHANGED, of_world),
        ),
        "list_alerts": (
            asks("GET", f"{KYC}/alerts"),
            by_key(Action.ALERT_READ, of_world, count=1),
        ),
        "read_alert": (
            asks("GET", f"{KYC}/alerts/{{alert}}"),
            by_key(Action.ALERT_READ, of_alice, "alert_id"),
        ),
        "change_alert": (
            asks("PATCH", f"{KYC}/alerts/{{alert}}", {"status": "resolved"}),
            by_key(Action.ALERT_CHANGED, of_alice, "alert_id", "resolved"),
        ),
        "read_tenant": (asks("GET", "/api/v1/tenant"), None),
        "change_tenant": (
            asks("PATCH", "/api/v1/tenant", {"session_retention_days": 3}),
            by_key(Action.TENANT_CHANGED, of_world),
        ),
        "list_events": (
            asks("GET", "/api/v1/events"),
            by_key(Action.EVENT_READ, of_world, count=3),
        ),
        "read_event": (
            asks("GET", "/api/v1/events/{event}"),
            by_key(Action.EVENT_READ, of_alice, "event_id"),
        ),
        "resend_event": (
            asks("POST", "/api/v1/events/{event}/resend"),
            by_key(Action.EVENT_RESENT, of_alice, "event_id"),
        ),
        "read_trail": (
            asks("GET", "/api/v1/audit?customer_id=alice&limit=3"),
            by_key(Action.AUDIT_READ, of_alice, count=3),
        ),
    }
)


def test_every_route_is_expected_to_leave_something_or_nothing() -> None:
    """No route is missing here, and none declares what is not expected of it."""
    assert set(EXPECTED) == {route.name for route in ROUTES}
    for route in ROUTES:
        assert bool(route.audits) == (EXPECTED[route.name][1] is not None), route.path


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_a_call_leaves_the_entry_of_its_route(
    link: Redis, keyring: Keyring, name: str
) -> None:
    """One entry that says who did what to whom: no more, no less, and one that it declares."""
    (route,) = (item for item in ROUTES if item.name == name)
    call, left = EXPECTED[name]
    async with front_door(link, keyring) as door:
        scene = await played(door)
        before = await trail_of(door.deps.audit, scene.principal)
        answer = await call(scene)
        assert answer.status in route.statuses, answer
        after = await trail_of(door.deps.audit, scene.principal)
        assert [record for record in after if record in before] == before
        new = [record for record in after if record not in before]
        beside_it = BESIDE_IT.get(name, set())
        assert {record.entry.action for record in new} >= beside_it
        new = [record for record in new if record.entry.action not in beside_it]
        expected = [] if left is None else [left(scene, answer)]
        assert [(record.concern, record.entry) for record in new] == expected
        assert {record.entry.action for record in new} <= set(route.audits)


async def test_what_was_refused_or_is_not_there_leaves_nothing(
    link: Redis, keyring: Keyring
) -> None:
    """Neither a stranger nor a mistake writes into a tenant's trail."""
    async with front_door(link, keyring) as door:
        scene = await played(door)
        before = await trail_of(door.deps.audit, scene.principal)
        for path in (SESSION, f"{KYC}/alerts/{{alert}}", "/api/v1/events/{event}"):
            named = path.format(
                session=scene.session_id, alert=scene.alert_id, event=scene.event_id
            )
            for key in (door.stranger.test_api_key, door.tenant.api_key):
                assert (await door.call("GET", named, key=key)).status == 404
        broken = {"status": "no such status"}
        wrong = await door.call("PATCH", f"{KYC}/alerts/{scene.alert_id}", broken)
        assert wrong.status == 422
        assert await trail_of(door.deps.audit, scene.principal) == before


async def test_a_session_superseded_and_one_opened_are_two_entries(
    link: Redis, keyring: Keyring
) -> None:
    """Whoever opens another session for the same event cancels the one before, and it says so."""
    async with front_door(link, keyring) as door:
        scene = await played(door)
        before = await trail_of(door.deps.audit, scene.principal)
        await door.open()
        after = await trail_of(door.deps.audit, scene.principal)
        canceled, opened = (record for record in after if record not in before)
        assert canceled.entry == AuditEntry(Action.SESSION_CANCELED, scene.actor, scene.session_id)
        assert (opened.entry.action, opened.entry.outcome) == (Action.SESSION_OPENED, "created")
        assert opened.entry.target not in {"", scene.session_id}


async def test_a_tenant_reads_its_trail(link: Redis, keyring: Keyring) -> None:
    """Page by page, by customer and action, with the scope alone; nobody sees another's."""
    async with front_door(link, keyring) as door:
        scene = await played(door)
        tenant_id = scene.principal.tenant_id
        _, key = await create_key(door.deps, tenant_id, Mode.TEST, [Scope.AUDIT])
        first = await door.call("GET", "/api/v1/audit?limit=2", key=key)
        assert (first.status, first.body["has_more"], len(first.body["data"])) == (200, True, 2)
        path = f"/api/v1/audit?limit=100&cursor={first.body['next_cursor']}"
        rest = (await door.call("GET", path, key=key)).body["data"]
        ids = [item["id"] for item in (*first.body["data"], *rest)]
        assert len(set(ids)) == len(ids) > 10
        enrolled = (await door.call("GET", "/api/v1/audit?action=customer.enrolled")).body["data"]
        assert len(enrolled) == 2
        erased = (await door.call("GET", "/api/v1/audit?customer_id=bob")).body["data"]
        assert [item["action"] for item in erased] == [
            "customer.erased", "customer.screened", "customer.enrolled",
        ]  # fmt: skip
        assert erased[0]["target"] == scene.erasure_id
        assert erased[0]["actor"] == {"kind": "key", "key_id": scene.actor.key_id}
        assert len(erased[0]["customer_digest"]) == 32
        for other in (door.stranger.test_api_key, door.tenant.api_key):
            foreign = (await door.call("GET", "/api/v1/audit?limit=100", key=other)).body["data"]
            assert not {item["id"] for item in foreign} & set(ids[:-3])
            assert {item["action"] for item in foreign} <= OF_A_TENANT
        assert (await door.call("GET", "/api/v1/audit?cursor=x")).code == "cursor_invalid"
