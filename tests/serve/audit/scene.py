"""What every route of the trail's tests acts upon: a tenant's scene, calls, and what they leave."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from index.rings.explain import ring_id
from serve.domain.audit import PERSON, Action, Actor, AuditEntry, Concern
from serve.domain.ids import Prefix, Subject, renamed
from serve.domain.search.gallery import blocked_customer_id
from serve.domain.tenancy.api_key import Principal
from serve.flows.access import authenticate
from tests.helpers.front_door import JOHN, KYC, MARY, PHONE, Answer, Door, text
from tests.serve.sweeps.planted import ended

BLOCKLIST = "/api/v1/blocklist"
SWEEPS = "/api/v1/sweeps"
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
    block_id: str
    sweep_ids: list[str] = field(default_factory=list)

    @property
    def sweep_id(self) -> str:
        """That of the last sweep that was asked for, or none."""
        return self.sweep_ids[-1] if self.sweep_ids else ""

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
    blocked = await door.call("POST", BLOCKLIST, {"selfie": text(b"eve.")})
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
        blocked.body["id"],
    )


Call = Callable[[Scene], Awaitable[Answer]]
Left = Callable[[Scene, Answer], tuple[Concern, AuditEntry]]


def asks(method: str, path: str, body: object = None) -> Call:
    """A call with the tenant's key; `path` may name what the scene holds."""

    async def call(scene: Scene) -> Answer:
        named = path.format(
            token=scene.token, session=scene.session_id, alert=scene.alert_id,
            event=scene.event_id, erasure=scene.erasure_id, verification=scene.verification_id,
            block=scene.block_id,
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


async def asks_what_to_do(scene: Scene) -> Answer:
    body = {"token": scene.token}
    path = f"{KYC}/face/challenge"
    return await scene.door.call("POST", path, body, key="", User_Agent=PHONE)


async def reviews(scene: Scene) -> Answer:
    return await _reviewed(scene, f"{KYC}/face/sessions/{scene.session_id}/review")


async def reviews_verification(scene: Scene) -> Answer:
    return await _reviewed(scene, f"/api/v1/verifications/{scene.verification_id}/review")


async def repeats(scene: Scene) -> Answer:
    issued = await scene.door.call("POST", "/api/v1/customers/alice/identity-token")
    body = {"token": issued.body["token"], "selfie": text(JOHN)}
    return await scene.door.call("POST", "/api/v1/reverify", body)


async def lists_duplicates(scene: Scene) -> Answer:
    return await scene.door.call("GET", await _flagged(scene))


async def dismisses(scene: Scene) -> Answer:
    path = await _flagged(scene)
    (flag,) = (await scene.door.call("GET", path)).body["data"]
    body = {"status": "dismissed", "reason": "twins"}
    return await scene.door.call("PATCH", f"{path}/{flag['id']}", body)


def sweeps(method: str, path: str, *people: str) -> Call:
    """A call about a sweep that was asked for just now; it is done where it says of whom, whom it
    then found alike.
    """

    async def call(scene: Scene) -> Answer:
        door, principal = scene.door, scene.principal
        for name in people[1:]:
            await door.enrol(MARY, name)
        scene.sweep_ids.append((await door.call("POST", SWEEPS)).body["id"])
        world = principal.tenant_id, principal.mode
        ring = ""
        if people:
            sweep = await door.deps.sweeps.one(*world, scene.sweep_id)
            assert sweep is not None
            await ended(door.deps, sweep, people)
            ring = ring_id(min(door.deps.ledger.subject(*world, name).key for name in people))
        return await door.call(method, path.format(sweep=scene.sweep_id, ring=ring))

    return call


async def _flagged(scene: Scene) -> str:
    """The path to the flags of carol, who has the face of alice."""
    enrolled = await scene.door.enrol(customer="carol")
    return f"/api/v1/verifications/{enrolled.body['verification_id']}/duplicates"


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


def of_customer(scene: Scene, customer_id: str) -> Concern:
    alice = scene.alice
    return Concern.of(scene.door.deps.ledger.subject(alice.tenant_id, alice.mode, customer_id))


def flags_read(scene: Scene, answer: Answer) -> tuple[Concern, AuditEntry]:
    (flag,) = answer.body["data"]
    entry = AuditEntry(Action.FLAG_READ, scene.actor, flag["verification_id"], count=1)
    return of_customer(scene, "carol"), entry


def flag_changed(scene: Scene, answer: Answer) -> tuple[Concern, AuditEntry]:
    entry = AuditEntry(Action.FLAG_CHANGED, scene.actor, answer.body["id"], "dismissed")
    return of_customer(scene, "carol"), entry


def blocked(scene: Scene, answer: Answer) -> tuple[Concern, AuditEntry]:
    block_id = answer.body["id"]
    entry = AuditEntry(Action.FACE_BLOCKED, scene.actor, block_id)
    return of_customer(scene, blocked_customer_id(block_id)), entry


def of_eve(scene: Scene) -> Concern:
    return of_customer(scene, blocked_customer_id(scene.block_id))


def passed(scene: Scene, _: Answer) -> tuple[Concern, AuditEntry]:
    entry = AuditEntry(Action.SESSION_PASSED, scene.actor, outcome="event_disabled")
    return scene.of_alice, entry
