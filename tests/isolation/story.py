"""The directed half: every route by its owner, then the same calls by everybody else.

The same `Idempotency-Key` is sent in every world at the same place of the story.
"""

import base64
import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from schemathesis.core import NOT_SET

from tests.helpers.records import MODEL, a_template
from tests.isolation.driver import (
    BAD_KEY,
    EVERY_TRIGGER,
    IMAGES,
    NONE,
    RARE,
    AnyCase,
    Driver,
    Operation,
    callers,
)
from tests.isolation.oracle import Caller
from tests.isolation.stage import Stage, World
from tests.serve.sweeps.planted import ended

JOHN, MARY, ZOE = IMAGES[0], IMAGES[3], base64.b64encode(b"zoe.").decode()
EMBEDDING = [float(number) for number in a_template(seed=int.from_bytes(b"john")).vector]
UNKNOWN = "st_00" + "A" * 43
LATER = {"Prefer": "respond-async"}


class Story:
    """What a tenant lives through in one of its worlds."""

    def __init__(self, driver: Driver, world: World) -> None:
        self.driver, self.world = driver, world
        self.caller = callers(world)[0]
        self.told = 0
        self.asked: set[str] = set()

    def ask(self, operation: str, body: Any = ..., **given: Any) -> Any:
        """One call with the world's key; what changes something carries an idempotency key."""
        self.told += 1
        self.asked.add(operation)
        headers = dict(given.pop("headers", {}))
        target = self.driver.operations[operation]
        if "Idempotency-Key" in {item.name for item in target.iter_parameters()}:
            headers["Idempotency-Key"] = f"story-{self.told}"
        rest = () if body is ... else (body,)
        return self.driver.ask(operation, self.caller, *rest, headers=headers, **given)

    def tell(self) -> None:
        """Every route, and a session in every state that the clock need not make."""
        word = self.world.word
        self.settings("match_only")
        for number in range(3):
            given = {"consent_id": word("consent"), "signals": {"phone": word("signal-phone")}}
            self.ask("enrol", {"image": JOHN, **given}, customer_id=word(f"customer-{number}"))
        self.ask("enrol", {"image": JOHN}, customer_id=word("customer-0"))
        token = self.open("login")
        self.ask("verify", token=token)
        self.ask("connect", {"token": token})
        self.ask("connect", {"token": token, "is_disconnect": True})
        self.ask("read_handoff", token=token)
        self.ask("find_handoff", token=token)
        self.clips(token)
        self.ask("submit_capture", {"token": token, "proof": JOHN})
        for event in ("password_change", "name_change"):
            token = self.open(event)
            for _ in range(2):
                self.ask("submit_capture", {"token": token, "proof": MARY})
        self.ask("submit_capture", {"token": self.open("login"), "proof": MARY})  # a retry left
        self.ask("submit_capture", {"token": self.open("deposit"), "proof": JOHN}, headers=LATER)
        self.settings("required")
        for decision in ("approved", "declined", None):
            found = self.ask("submit_capture", {"token": self.open("withdrawal"), "proof": JOHN})
            assert "resource_id" in found, found
            if decision is not None:
                self.ask("review_session", {"decision": decision}, session_id=found["resource_id"])
        self.settings("match_only")
        self.open("login", customer="customer-2")
        customer = word("customer-0")
        sessions = self.ask(
            "list_sessions", customer_id=customer, reference=word("reference-login")
        )
        newest = sessions["data"][0]["id"]
        self.ask("read_session", session_id=newest)
        self.ask("cancel_session", session_id=self.open_id("phone_number_change"))
        self.ask("kyc_status", customer_id=customer)
        self.lists()
        self.verifications()
        self.searches()
        self.sweeps()
        self.ask("enrol", {"image": JOHN}, customer_id=word("customer-9"))
        receipt = self.ask("erase", customer_id=word("customer-9"))
        self.ask("read_erasure", erasure_id=receipt["erasure_id"])
        self.rest()

    def clips(self, token: str) -> None:
        """A challenge, a clip of it and one of another, and opinions of what belongs to nobody."""
        drawn = self.ask("read_challenge", {"token": token})
        assert self.ask("read_challenge", {"token": token}) == drawn
        frames = [{"image": JOHN, "captured_ms": 100 * number} for number in range(8)]
        for nonce in (drawn["nonce"], drawn["nonce"][::-1]):
            clip = {"token": token, "proof": JOHN, "nonce": nonce, "frames": frames}
            self.ask("submit_capture", clip)
        self.ask("check_liveness", {"frames": [JOHN] * 3})
        assert self.ask("estimate_age", {"image": JOHN})["face_found"]

    def searches(self) -> None:
        """One face searched, two flags decided, and two faces blocked, one for good."""
        word = self.world.word
        found = self.ask("search_face", {"selfie": JOHN, "limit": 50})
        assert found["count"] >= 3, found
        self.ask("search_face", {"embedding": EMBEDDING, "model": MODEL, "threshold": 0.36})
        self.ask("search_face", {"embedding": EMBEDDING[1:]})
        verification_id = found["matches"][0]["verificationId"]
        page = self.ask("list_duplicates", verification_id=verification_id, limit=1)
        for status in ("resolved", "dismissed"):
            wanted = {"status": status, "reviewer": word("reviewer"), "reason": word("reason")}
            place = {"verification_id": verification_id, "flag_id": page["data"][0]["id"]}
            self.ask("change_duplicate", wanted, **place)
        cursor = page["next_cursor"]
        self.ask("list_duplicates", verification_id=verification_id, limit=1, cursor=cursor)
        self.ask("enrol", {"image": ZOE}, customer_id=word("customer-8"))
        for body in ({"customer_id": word("customer-8")}, {"selfie": RARE}):
            made = self.ask("block_face", {**body, "reason": word("reason")})
        self.ask("read_blocked", block_id=made["id"])
        blocked = self.ask("list_blocked", limit=1)
        self.ask("list_blocked", limit=1, cursor=blocked["next_cursor"])
        self.ask("unblock_face", block_id=made["id"])

    def sweeps(self) -> None:
        """One done, with its pairs and its ring; one that goes on from it, canceled; one waits."""
        word, stage = self.world.word, self.driver.stage
        done = self.ask("create_sweep", {"threshold": 0.5})["id"]
        stage.run(swept(stage, self.world, done, [word(f"customer-{each}") for each in range(3)]))
        self.ask("read_sweep", sweep_id=done)
        pairs = self.ask("list_pairs", sweep_id=done, limit=1)
        self.ask("list_pairs", sweep_id=done, limit=1, cursor=pairs["next_cursor"])
        (ring,) = self.ask("list_sweep_rings", sweep_id=done)["data"]
        assert self.ask("list_rings", limit=1)["data"] == [ring]
        self.ask("read_ring", ring_id=ring["id"])
        assert self.ask("read_calibration")["sweep_id"] == done
        later = self.ask("create_sweep", {"since": done})
        self.ask("cancel_sweep", sweep_id=later["id"])
        self.ask("create_sweep", {"target_fpir": 0.01})
        page = self.ask("list_sweeps", limit=1)
        self.ask("list_sweeps", limit=1, cursor=page["next_cursor"])

    def settings(self, policy: str) -> None:
        """Every event calls for a face, one retry; this liveness policy."""
        tenant = {
            "liveness_policy": policy,
            "allowed_origins": [f"https://{self.world.tenant}.example"],
        }
        self.ask("change_tenant", tenant)
        self.ask("read_tenant")
        wanted = {
            "is_reuse_kyc_enabled": True,
            "reuse_kyc_triggers": EVERY_TRIGGER,
            "reuse_kyc_reactions": {"max_retry_attempts": 1, "trigger_alert": True},
        }
        self.ask("change_preferences", wanted)
        self.ask("read_preferences")

    def lists(self) -> None:
        """Alerts and callbacks, page by page, and what is done with them."""
        alerts = self.ask("list_alerts", limit=1)
        self.ask("list_alerts", limit=1, cursor=alerts["next_cursor"])
        self.ask("list_alerts", status="open", alert_type="retry_limit_exceeded")
        alert_id = alerts["data"][0]["id"]
        self.ask("read_alert", alert_id=alert_id)
        self.ask("change_alert", {"status": "in_review"}, alert_id=alert_id)
        events = self.ask("list_events", limit=1)
        self.ask("list_events", limit=1, cursor=events["next_cursor"])
        event_id = events["data"][0]["id"]
        self.ask("read_event", event_id=event_id)
        self.ask("resend_event", event_id=event_id)
        self.ask("overview")

    def verifications(self) -> None:
        """One created, and one of a customer who is verified again, with a reviewer and without."""
        word = self.world.word
        wanted = {"reference": word("reference-made"), "applicant": {"name": word("name")}}
        made = self.ask("create_verification", {**wanted, "customer_id": word("customer-1")})
        self.ask("read_verification", verification_id=made["id"])
        page = self.ask("list_verifications", limit=1)
        self.ask("list_verifications", limit=1, cursor=page["next_cursor"])
        token = self.ask("issue_identity", customer_id=word("customer-1"))["token"]
        again = {"token": token, "selfie": JOHN}
        self.settings("required")
        held = self.ask("repeat_verification", again)
        self.ask("review_verification", {"decision": "approved"}, verification_id=held["id"])
        self.settings("match_only")
        self.ask("repeat_verification", again)

    def rest(self) -> None:
        """What there is to read that the story does not know."""
        for name, target in self.driver.operations.items():
            if target.method == "get" and name not in self.asked:
                shapes = {
                    item.name: item.definition["schema"].get("pattern", "")
                    for item in target.iter_parameters()
                    if item.location == "path"
                }
                newest = {
                    parameter: self.driver.newest(self.world, shape)
                    for parameter, shape in shapes.items()
                }
                self.ask(name, **newest)

    def open(self, event: str, customer: str = "customer-0") -> str:
        """The token of a new session."""
        word, url = self.world.word, self.world.url
        body = {
            "reference": word(f"reference-{event}"),
            "customer_id": word(customer),
            "event": event,
            "callback_url": url("hook"),
            "redirect_url": url("back"),
        }
        opened = self.ask("open_session", body)
        assert opened["is_required"], opened
        return str(opened["token"])

    def open_id(self, event: str) -> str:
        """The id of a new session."""
        return str(self.ask("verify", token=self.open(event))["resource_id"])

    def seen(self) -> Mapping[str, Any]:
        """Everything that this world's lists and counts say."""
        found = {
            name: self.driver.ask(name, self.caller, limit=100)
            for name in (
                "list_alerts",
                "list_events",
                "list_verifications",
                "list_blocked",
                "list_sweeps",
                "list_rings",
            )
        }
        body = {"selfie": JOHN, "limit": 50}
        found["search_face"] = self.driver.ask("search_face", self.caller, body)
        for name in ("overview", "read_preferences"):
            found[name] = self.driver.ask(name, self.caller)
        for number in range(3):
            customer_id = self.world.word(f"customer-{number}")
            found[customer_id] = self.driver.ask(
                "list_sessions", self.caller, customer_id=customer_id, limit=100
            )
        return found


async def swept(stage: Stage, world: World, sweep_id: str, customer_ids: list[str]) -> None:
    """A sweep of a world done, which found all of these alike."""
    found = await stage.deps.sweeps.one(world.tenant_id, world.mode, sweep_id)
    assert found is not None
    await ended(stage.deps, found, customer_ids)


def tell_all(driver: Driver) -> list[Story]:
    """A story in each world, one after the other: no list and no count of another changes."""
    stories = [Story(driver, world) for world in driver.stage.worlds]
    for story in stories:
        others = [other for other in stories if other is not story]
        before = [other.seen() for other in others]
        try:
            story.tell()
        except (AssertionError, LookupError):
            if not driver.oracle.findings:
                raise
        for other, seen in zip(others, before, strict=True):
            if other.seen() != seen:
                driver.oracle.findings.append(
                    f"what {story.world.name} did has changed what {other.world.name} sees"
                )
    driver.stage.work()
    return stories


def go_across(driver: Driver) -> None:
    """Every route's newest success again, until there is a finding: by every other world, by each
    key of one scope, without a key and with a bad one. What names a record names the owner's.
    """
    for operation in driver.operations.values():
        if driver.oracle.findings:
            return
        case = driver.last.get(operation.label)
        assert case is not None, f"the story has no {operation.label}"
        if "x-scope" not in operation.definition.raw:
            again = _copy(operation, case)
            speaker = driver.stage.worlds[0]
            driver.fill(again, speaker, speaker, lambda _: UNKNOWN)
            driver.call(again, NONE)
        for owner in driver.stage.worlds:
            for caller in _others(driver, owner):
                again = _copy(operation, case)
                driver.fill(again, caller.world or owner, owner, partial(driver.newest, owner))
                driver.call(again, caller)


def _copy(operation: Operation, case: AnyCase) -> AnyCase:
    return operation.Case(
        path_parameters=dict(case.path_parameters),
        query=dict(case.query),
        body=copy.deepcopy(case.body) if isinstance(case.body, dict) else NOT_SET,
        media_type=case.media_type,
    )


def _others(driver: Driver, owner: World) -> list[Caller]:
    full = [callers(world)[0] for world in driver.stage.worlds if world != owner]
    return [*full, *callers(owner)[1:], NONE, Caller("a bad key", None, BAD_KEY)]
