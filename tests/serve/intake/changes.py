"""One request for each route that changes something, with what it needs made ready; the effects
that it has, counted; and faults between an effect and its answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import pytest

from serve.api.routes import ROUTES
from serve.domain.callback import CallbackEvent
from serve.domain.sweeps.sweep import Sweep
from serve.errors import Code, ServeError
from serve.store.directory import RedisDirectory
from serve.store.intake.idempotency import RedisIdempotency
from serve.store.ledger import RedisLedger
from serve.store.queues import RedisOutbox
from serve.store.sweeps.sweeps import RedisSweeps
from tests.helpers.front_door import JOHN, KYC, ORIGIN, Answer, Door, text
from tests.helpers.service import Fault

KEY = "a key of the caller's, with spaces"
TAKING = [route for route in ROUTES if route.takes_idempotency_key]
FOLLOWING = (
    "screen-",
    "told-",
    "signals-",
)  # operations that follow from an effect, under ids of its own
EFFECTS: tuple[tuple[type[Any], str], ...] = (
    (RedisLedger, "commit"),
    (RedisLedger, "erase"),
    (RedisDirectory, "put_tenant"),
    (RedisOutbox, "resend"),
    (RedisSweeps, "create"),
    (RedisSweeps, "cancel"),
)


@dataclass(frozen=True)
class Request:
    """What is asked. `other` is the same route asked for something else."""

    method: str
    path: str
    body: Any = None
    api_key: str | None = None
    other: "Request | None" = None

    async def send(self, door: Door, idempotency_key: str = KEY, **headers: str) -> Answer:
        """Ask, under a key."""
        headers = {"Idempotency_Key": idempotency_key, **headers}
        return await door.call(self.method, self.path, self.body, key=self.api_key, **headers)

    def with_body(self, **members: Any) -> "Request":
        """The same route, asked for this as well."""
        return replace(self, other=replace(self, body={**(self.body or {}), **members}))

    def with_path(self, path: str) -> "Request":
        """The same route, asked of another record."""
        return replace(self, other=replace(self, path=path))


async def _open(door: Door) -> Request:
    await door.ready_token()
    body = {"reference": "order-2", "customer_id": "alice", "event": "password_change"}
    return Request("POST", f"{KYC}/face/session", body).with_body(reference="order-3")


async def _enrol(_door: Door) -> Request:
    path = "/api/v1/customers/alice/faces"
    return Request("POST", path, {"image": text(JOHN)}).with_body(image=text(b"mary"))


async def _cancel(door: Door) -> Request:
    await door.ready_token()
    await door.open(event="password_change", callback_url=f"{ORIGIN}/hook")
    path, other = [f"{KYC}/face/sessions/{each}/cancel" for each in await sessions(door)]
    return Request("POST", path).with_path(other)


async def _review(door: Door) -> Request:
    token = await door.ready_token()
    await door.call("PATCH", "/api/v1/tenant", {"liveness_policy": "required"})
    assert (await door.submit(token)).body["status"] == "needs_review"
    (session_id,) = await sessions(door)
    path = f"{KYC}/face/sessions/{session_id}/review"
    return Request("POST", path, {"decision": "approved"}).with_body(decision="declined")


async def _erase(door: Door) -> Request:
    await door.ready_token()
    return Request("DELETE", "/api/v1/customers/alice").with_path("/api/v1/customers/bob")


async def _preferences(_door: Door) -> Request:
    path, reactions = f"{KYC}/preferences", {"max_retry_attempts": 5}
    request = Request("PATCH", path, {"reuse_kyc_reactions": reactions})
    return request.with_body(is_reuse_kyc_enabled=True)


async def _alert(door: Door) -> Request:
    token = await door.ready_token()
    for image in (b"mary", b"paul", b"zoe."):
        await door.submit(token, image)
    (alert,) = (await door.call("GET", f"{KYC}/alerts")).body["data"]
    path = f"{KYC}/alerts/{alert['id']}"
    return Request("PATCH", path, {"status": "resolved"}).with_body(status="in_review")


async def _tenant(_door: Door) -> Request:
    request = Request("PATCH", "/api/v1/tenant", {"session_retention_days": 9})
    return request.with_body(session_retention_days=8)


async def _resend(door: Door) -> Request:
    await door.ready_token()
    token = (await door.open(callback_url=f"{ORIGIN}/hook")).body["token"]
    await door.submit(token)
    (event,) = (await door.call("GET", "/api/v1/events")).body["data"]
    path = f"/api/v1/events/{event['id']}"
    return Request("POST", f"{path}/resend").with_path(f"{path[:-1]}x/resend")


async def _create_verification(_door: Door) -> Request:
    request = Request("POST", "/api/v1/verifications", {"reference": "order-7"})
    return request.with_body(reference="order-8")


async def _review_verification(door: Door) -> Request:
    session = await _review(door)
    name = session.path.split("/")[-2].removeprefix("ses_")
    path = f"/api/v1/verifications/ver_{name}/review"
    return Request("POST", path, {"decision": "approved"}).with_body(decision="rejected")


async def _identity(door: Door) -> Request:
    await door.enrol()
    path = "/api/v1/customers/{}/identity-token"
    return Request("POST", path.format("alice")).with_path(path.format("bob"))


async def _reverify(door: Door) -> Request:
    asked = await _identity(door)
    token = (await door.call("POST", asked.path)).body["token"]
    body = {"token": token, "selfie": text(JOHN)}
    return Request("POST", "/api/v1/reverify", body).with_body(selfie=text(b"mary"))


async def _block(_door: Door) -> Request:
    return Request("POST", "/api/v1/blocklist", {"selfie": text(JOHN)}).with_body(reason="fraud")


async def _unblock(door: Door) -> Request:
    made = await door.call("POST", "/api/v1/blocklist", {"selfie": text(JOHN)})
    path = f"/api/v1/blocklist/{made.body['id']}"
    return Request("DELETE", path).with_path(f"{path[:-1]}{'A' if path[-1] != 'A' else 'Q'}")


async def _flag(door: Door) -> Request:
    await door.enrol()
    verification_id = (await door.enrol(customer="bob")).body["verification_id"]
    path = f"/api/v1/verifications/{verification_id}/duplicates"
    (flag,) = (await door.call("GET", path)).body["data"]
    request = Request("PATCH", f"{path}/{flag['id']}", {"status": "resolved"})
    return request.with_body(status="open")


async def _sweep(_door: Door) -> Request:
    return Request("POST", "/api/v1/sweeps", {"threshold": 0.5}).with_body(threshold=0.6)


async def _cancel_sweep(door: Door) -> Request:
    made = [await door.call("POST", "/api/v1/sweeps") for _ in range(2)]
    path, other = [f"/api/v1/sweeps/{each.body['id']}/cancel" for each in made]
    return Request("POST", path).with_path(other)


ASKED: dict[str, Callable[[Door], Awaitable[Request]]] = {
    "open_session": _open,
    "enrol": _enrol,
    "cancel_session": _cancel,
    "review_session": _review,
    "erase": _erase,
    "change_preferences": _preferences,
    "change_alert": _alert,
    "change_tenant": _tenant,
    "resend_event": _resend,
    "create_verification": _create_verification,
    "review_verification": _review_verification,
    "issue_identity": _identity,
    "repeat_verification": _reverify,
    "change_duplicate": _flag,
    "block_face": _block,
    "unblock_face": _unblock,
    "create_sweep": _sweep,
    "cancel_sweep": _cancel_sweep,
}


async def sessions(door: Door) -> list[str]:
    """The ids of alice's sessions, the newest first."""
    found = await door.call("GET", f"{KYC}/face/sessions?customer_id=alice")
    return [item["id"] for item in found.body["data"]]


@dataclass
class Effects:
    """How often the records changed, and the faults of the next changes, in order.

    `unfinished` says that no answer can be kept, as if the process died before that.
    """

    number: int = 0
    faults: list[Fault] = field(default_factory=list)
    unfinished: bool = False


def is_new(done: Any, seen: set[bytes]) -> bool:
    """Whether an adapter wrote something that it had not written before."""
    if isinstance(done, CallbackEvent | Sweep):  # each time that it is made due is another
        is_known = done.dump() in seen
        seen.add(done.dump())
        return not is_known
    return done is not None and not done.is_repeat


@pytest.fixture
def effects(monkeypatch: pytest.MonkeyPatch) -> Effects:
    """Counts the effects of all that is asked from here on."""
    seen, made_due = Effects(), set[bytes]()

    def watched(change: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(change)
        async def changed(*args: Any, **named: Any) -> Any:
            if str(args[-1]).startswith(FOLLOWING):
                return await change(*args, **named)
            fault = seen.faults.pop(0) if seen.faults else Fault.NONE
            if fault is Fault.BEFORE:
                raise ServeError(Code.STATE_UNAVAILABLE, "the link broke")
            done = await change(*args, **named)
            seen.number += is_new(done, made_due)
            if fault is Fault.AFTER:
                raise ServeError(Code.STATE_UNAVAILABLE, "the link broke")
            return done

        return changed

    for adapter, verb in EFFECTS:
        monkeypatch.setattr(adapter, verb, watched(getattr(adapter, verb)))
    finish = RedisIdempotency.finish

    async def finished(*args: Any) -> bool:
        if seen.unfinished:
            raise ServeError(Code.STATE_UNAVAILABLE, "the link broke")
        return await finish(*args)

    monkeypatch.setattr(RedisIdempotency, "finish", finished)
    return seen
