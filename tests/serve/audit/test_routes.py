"""Every route against the trail: what it declares is what it leaves, and it is written by it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from redis.asyncio import Redis

from serve.api.routes import ROUTES
from serve.domain.audit import PERSON, Action, Actor, AuditEntry, Concern
from serve.domain.ids import Mode, Prefix, Subject, renamed
from serve.domain.tenancy.api_key import Principal, Scope
from serve.flows.access import authenticate
from serve.flows.tenants import create_key
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, KYC, MARY, Answer, Door, front_door, text
from tests.serve.audit.trail import trail_of

UNDER_REVIEW = {Action.TENANT_CHANGED, Action.SESSION_JUDGED}
TO_COME_THERE: Mapping[str, set[Action]] = {  # by the route that is meant
    "review_session": UNDER_REVIEW,
    "review_verification": UNDER_REVIEW,
    "repeat_verification": {Action.IDENTITY_ISSUED},
}
OF_A_TENANT = {"tenant.created", "key.created", "audit.read"}
HOOK = "https://tenant.example/hook"


@dataclass(frozen=True)
class Scene:
    """A tenant with whatever the routes ask for: alice, bob, sessions, an alert, a callback."""

    door: Door
    actor: Actor
    principal: Principal
    alice: Subject
    token: str
    session_id: str
    alert_id: str
    event_id: str
    erasure_id: str

    @property
    def verification_id(self) -> str:
        """That of the session."""
        return renamed(Prefix.VERIFICATION, self.session_id)

    @property
    def of_alice(self) -> Concern:
        return Concern.of(self.alice)

    @property
    def world(self) -> Concern:
        return Concern(self.principal.tenant_id, self.principal.mode)


async def played(door: Door) -> Scene:
    """The scene, on the first tenant's test key."""
    principal = await authenticate(door.deps, door.tenant.test_api_key)
    await door.enrol(customer="bob")
    erased = await door.call("DELETE", "/api/v1/customers/bob")
    await door.ready_token()
    declined = await door.open(event="password_change", reference="order-2", callback_url=HOOK)
    for image in (MARY, b"paul", b"zoe."):
        told = await door.submit(declined.body["token"], image)
    opened = await door.open()
    (event, *_) = (await door.call("GET", "/api/v1/events?limit=1")).body["data"]
    token = opened.body["token"]
    verified = await door.call("GET", f"{KYC}/face/verify/{token}", key="")
    return Scene(
        door,
        principal.actor,
        principal,
        door.deps.ledger.subject(principal.tenant_id, principal.mode, "alice"),
        token,
        verified.body["resource_id"],
        told.body["data"]["alert_id"],
        event["id"],
        erased.body["erasure_id"],
    )


Call = Callable[[Scene], Awaitable[Answer]]
Left = Callable[[Scene, Answer], tuple[Concern, AuditEntry]]


def asks(method: str, path: str, body: object = None) -> Call:
    """A call with the tenant's key; `path` may name what the scene holds."""

    async def call(scene: Scene) -> Answer:
        named = path.format(
            token=scene.token, session=scene.session_id, alert=scene.alert_id,
            event=scene.event_id, erasure=scene.erasure_id, verification=scene.verification_id,
        )  # fmt: skip
        return await scene.door.call(method, named, body)

    return call


async def submits(scene: Scene) -> Answer:
    return await scene.door.submit(scene.token, JOHN)


async def enrols(scene: Scene) -> Answer:
    return await scene.door.enrol(b"john again")


async def connects(scene: Scene) -> Answer:
    body = {"token": scene.token}
    return await scene.door.call("PUT", f"{KYC}/session/connect", body, key="")


async def reviews(scene: Scene) -> Answer:
    return await _reviewed(scene, f"{KYC}/face/sessions/{scene.session_id}/review")


async def reviews_verification(scene: Scene) -> Answer:
    return await _reviewed(scene, f"/api/v1/verifications/{scene.verification_id}/review")


async def repeats(scene: Scene) -> Answer:
    issued = await scene.door.call("POST", "/api/v1/customers/alice/identity-token")
    body = {"token": issued.body["token"], "selfie": text(JOHN)}
    return await scene.door.call("POST", "/api/v1/reverify", body)


async def _reviewed(scene: Scene, path: str) -> Answer:
    """There must be something to review: with liveness asked for nothing else comes of a match."""
    strict = {"liveness_policy": "required"}
    assert (await scene.door.call("PATCH", "/api/v1/tenant", strict)).status == 200
    assert (await scene.door.submit(scene.token)).body["status"] == "needs_review"
    return await scene.door.call("POST", path, {"decision": "approved"})


def by_key(
    action: Action, concern: Callable[[Scene], Concern], target: str = "", outcome: str = "",
    count: int | None = None,
) -> Left:  # fmt: skip
    """An entry of the key; `target` names what the scene or, after a dot, the answer holds."""

    def left(scene: Scene, answer: Answer) -> tuple[Concern, AuditEntry]:
        name = answer.body[target[1:]] if target.startswith(".") else getattr(scene, target, "")
        return concern(scene), AuditEntry(action, scene.actor, name, outcome, count)

    return left


def of_alice(scene: Scene) -> Concern:
    return scene.of_alice


def of_world(scene: Scene) -> Concern:
    return scene.world


def judged(scene: Scene, _: Answer) -> tuple[Concern, AuditEntry]:
    entry = AuditEntry(Action.SESSION_JUDGED, PERSON, scene.session_id, "approved")
    return scene.of_alice, entry


def listed(scene: Scene, answer: Answer) -> tuple[Concern, AuditEntry]:
    entry = AuditEntry(Action.VERIFICATION_READ, scene.actor, count=len(answer.body["data"]))
    return scene.world, entry


def repeated(scene: Scene, answer: Answer) -> tuple[Concern, AuditEntry]:
    told = answer.body["id"], answer.body["status"]
    return scene.of_alice, AuditEntry(Action.VERIFICATION_REPEATED, scene.actor, *told)


def passed(scene: Scene, _: Answer) -> tuple[Concern, AuditEntry]:
    entry = AuditEntry(Action.SESSION_PASSED, scene.actor, outcome="event_disabled")
    return scene.of_alice, entry


OPEN = {"reference": "order-9", "customer_id": "alice", "event": "name_change"}
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
        before_it = TO_COME_THERE.get(name, set())
        assert {record.entry.action for record in new} >= before_it
        new = [record for record in new if record.entry.action not in before_it]
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
        assert [item["action"] for item in erased] == ["customer.erased", "customer.enrolled"]
        assert erased[0]["target"] == scene.erasure_id
        assert erased[0]["actor"] == {"kind": "key", "key_id": scene.actor.key_id}
        assert len(erased[0]["customer_digest"]) == 32
        for other in (door.stranger.test_api_key, door.tenant.api_key):
            foreign = (await door.call("GET", "/api/v1/audit?limit=100", key=other)).body["data"]
            assert not {item["id"] for item in foreign} & set(ids[:-3])
            assert {item["action"] for item in foreign} <= OF_A_TENANT
        assert (await door.call("GET", "/api/v1/audit?cursor=x")).code == "cursor_invalid"
