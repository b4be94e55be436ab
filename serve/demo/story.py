"""The story: one customer, one stranger, every step of a session, each expectation a line.

It is played with a key of the test world, against whatever server stands at the other end of
the URL, and leaves the tenant's settings as they were.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from serve.demo.caller import Answer
from serve.demo.capture import do_the_challenge, hold_up_a_photo, only_a_selfie
from serve.demo.cast import Cast, data_url, open_session, submit_selfie
from serve.demo.notebook import Notebook

RETRIES = 1  # so that two selfies of the stranger exhaust them
FREEZE_MINUTES = 60
THRESHOLD_USD = 1_000
TRIGGERS = {"login": True, "withdrawal": {"enabled": True, "threshold": THRESHOLD_USD}}
REACTIONS = {
    "max_retry_attempts": RETRIES,
    "trigger_alert": True,
    "enforce_logout": True,
    "freeze_account": True,
    "freeze_duration_minutes": FREEZE_MINUTES,
}
PREFERENCES = "/api/v1/kyc/preferences"
TENANT = "/api/v1/tenant"
ALERTS = "/api/v1/kyc/alerts"


async def play(cast: Cast, notes: Notebook) -> None:
    """Every scene in order. Raises `server_unreachable`."""
    async with _prepared(cast, notes):
        await _enrol(cast, notes)
        approved = await _approve(cast, notes)
        await only_a_selfie(cast, notes)
        declined = await _decline(cast, notes)
        await _alert(cast, notes, declined)
        await _thresholds(cast, notes)
        await _callbacks(cast, notes, approved, declined)
        await _erase(cast, notes)


@asynccontextmanager
async def _prepared(cast: Cast, notes: Notebook) -> AsyncIterator[None]:
    """The tenant allows the receiver's origin, and triggers are on, while the story lasts."""
    notes.step("A tenant turns face verification on")
    tenant = await cast.tenant.call("GET", TENANT)
    notes.expect("the tenant's key is accepted", tenant.status, 200)
    before = await cast.tenant.call("GET", PREFERENCES)
    if tenant.at("liveness_policy") == "match_only":
        notes.note(
            "This tenant's liveness policy is match_only: an approval says that the face matches, "
            "not that a live person was there. Never run production so."
        )
    origins = [*(tenant.at("allowed_origins") or ()), cast.receiver.origin]
    try:
        allowed = await cast.tenant.call("PATCH", TENANT, {"allowed_origins": origins})
        notes.expect(f"callbacks may go to {cast.receiver.origin}", allowed.status, 200)
        body = {
            "is_reuse_kyc_enabled": True,
            "reuse_kyc_triggers": TRIGGERS,
            "reuse_kyc_reactions": REACTIONS,
        }
        after = await cast.tenant.call("PATCH", PREFERENCES, body)
        notes.expect(
            "a login now calls for a face", after.at("reuse_kyc_triggers.login"), wanted=True
        )
        yield
    finally:
        kept = ("is_reuse_kyc_enabled", "reuse_kyc_triggers", "reuse_kyc_reactions")
        if before.status == 200:
            await cast.tenant.call("PATCH", PREFERENCES, {name: before.at(name) for name in kept})
        if tenant.status == 200:
            was = {"allowed_origins": tenant.at("allowed_origins")}
            await cast.tenant.call("PATCH", TENANT, was)


async def _enrol(cast: Cast, notes: Notebook) -> None:
    notes.step("The customer was verified before: his reference faces are enrolled")
    unknown = await open_session(cast, "login")
    notes.expect("before that a login passes through", unknown.at("is_required"), wanted=False)
    notes.expect("and says why", unknown.at("reason"), "The customer has no prior KYC.")
    for selfie in cast.selfies.enrolled:
        body = {"image": data_url(selfie), "consent_id": "consent-demo"}
        path = f"/api/v1/customers/{cast.customer_id}/faces"
        answer = await cast.tenant.call_patiently("POST", path, body)  # models may still be loading
        notes.expect("a reference is enrolled", answer.status, 201)
        notes.expect("with nothing to improve", answer.at("feedback"), ["ok"])


async def _approve(cast: Cast, notes: Notebook) -> str:
    """The id of a session that ends approved."""
    notes.step("He logs in from a new browser: a session, a hand-off to his phone, a challenge")
    opened = await open_session(cast, "login")
    token = str(opened.at("token"))
    notes.expect("the login calls for a face", opened.at("is_required"), wanted=True)
    notes.expect(f"{RETRIES + 1} attempts are given", opened.at("max_attempts"), RETRIES + 1)
    notes.expect("none of them is used up", opened.at("attempts"), 0)
    path = f"/api/v1/kyc/session/{token}"
    seen = await cast.desktop.call("GET", path)
    notes.expect("the desktop waits for a phone", seen.at("mobile_connected"), wanted=False)
    connected = await cast.phone.call("PUT", "/api/v1/kyc/session/connect", {"token": token})
    notes.expect("the phone attaches itself", connected.at("mobile_connected"), wanted=True)
    seen = await cast.desktop.call("GET", path)
    notes.expect("the desktop sees it", seen.at("mobile_connected"), wanted=True)
    refused = await submit_selfie(cast.desktop, token, cast.selfies.same_man)
    notes.expect("a selfie from the desktop is refused", refused.status, 400)
    unfit = await submit_selfie(cast.phone, token, cast.selfies.blank)
    notes.expect("a capture without a face is answered 422", unfit.status, 422)
    notes.expect("with a hint", unfit.at("feedback"), ["face_not_found"])
    status = await cast.phone.call("GET", f"/api/v1/kyc/face/verify/{token}")
    notes.expect("and costs no attempt", status.at("data.retries_remaining"), RETRIES + 1)
    await hold_up_a_photo(cast, notes, token, RETRIES)
    answer = await do_the_challenge(cast, notes, token)
    return str(answer.at("resource_id"))


async def _decline(cast: Cast, notes: Notebook) -> Answer:
    """The last answer of a session that ends declined."""
    notes.step("Somebody else has his password: a stranger's selfies")
    token = str((await open_session(cast, "login")).at("token"))
    first = await submit_selfie(cast.phone, token, cast.selfies.stranger[0])
    notes.expect("the stranger is declined", first.at("status"), "declined")
    notes.expect("because of the face", first.at("reasons.0.code"), "face_mismatch")
    notes.expect(f"retries left: {RETRIES}", first.at("data.retries_remaining"), RETRIES)
    notes.expect("nothing is blocked yet", first.at("data.block"), wanted=False)
    last = await submit_selfie(cast.phone, token, cast.selfies.stranger[1])
    notes.expect("the retries are exhausted", last.at("data.retry_limit_exceeded"), wanted=True)
    notes.expect("the tenant's app is told to block", last.at("data.block"), wanted=True)
    notes.expect("to log the user out", last.at("data.enforce_logout"), wanted=True)
    notes.expect("to freeze the account", last.at("data.freeze_account"), wanted=True)
    minutes = last.at("data.freeze_duration_minutes")
    notes.expect(f"for {FREEZE_MINUTES} minutes", minutes, FREEZE_MINUTES)
    over = await submit_selfie(cast.phone, token, cast.selfies.same_man)
    notes.expect("not even the right face is taken now", over.status, 409)
    return last


async def _alert(cast: Cast, notes: Notebook, declined: Answer) -> None:
    notes.step("The fraud team finds an alert")
    listed = await cast.tenant.call("GET", f"{ALERTS}?status=open&limit=100")
    alert_id = declined.at("data.alert_id")
    (found,) = [item for item in listed.at("data") or () if item.get("id") == alert_id] or [{}]
    notes.expect("it is in the list", found.get("alert_type"), "retry_limit_exceeded")
    notes.expect(
        "and names the customer", found.get("customer_id") == cast.customer_id, wanted=True
    )
    solved = await cast.tenant.call("PATCH", f"{ALERTS}/{alert_id}", {"status": "resolved"})
    notes.expect("it is resolved", solved.at("status"), "resolved")


async def _thresholds(cast: Cast, notes: Notebook) -> None:
    notes.step(f"He withdraws money; from {THRESHOLD_USD} USD his face is asked for")
    small = await open_session(cast, "withdrawal", amount=THRESHOLD_USD - 1)
    notes.expect("below the threshold it passes through", small.at("is_required"), wanted=False)
    notes.expect("no token is given out", small.at("token") == "", wanted=True)
    large = await open_session(cast, "withdrawal", amount=THRESHOLD_USD)
    notes.expect("at the threshold it does not", large.at("is_required"), wanted=True)


async def _callbacks(cast: Cast, notes: Notebook, approved: str, declined: Answer) -> None:
    notes.step("The tenant's server has heard of it all, signed")
    told = await cast.receiver.wait_for(approved, 2, cast.callback_s_max)
    words = [callback.status for callback in told]
    notes.expect("of the photo, and of the approval", words, ["declined", "approved"])
    told = await cast.receiver.wait_for(str(declined.at("resource_id")), 2, cast.callback_s_max)
    notes.expect("of both declines", [callback.status for callback in told], ["declined"] * 2)
    notes.expect("in this sequence", [callback.sequence for callback in told], [1, 2])
    is_same = bool(told) and told[-1].document == declined.document
    notes.expect("the last word is what the phone was told", is_same, wanted=True)
    notes.expect("every signature was valid", cast.receiver.refused, 0)


async def _erase(cast: Cast, notes: Notebook) -> None:
    notes.step("The customer asks to be forgotten")
    receipt = await cast.tenant.call("DELETE", f"/api/v1/customers/{cast.customer_id}")
    notes.expect("the receipt is there at once", receipt.status, 200)
    steps: list[Mapping[str, Any]] = receipt.at("steps") or []
    names = [step.get("step") for step in steps]
    notes.expect("with its four steps", names, ["search", "store", "log", "backups"])
    for step in steps:
        done = step.get("done_at")
        when = f"done {done}" if done else f"due by {step.get('due_at')}"
        notes.note(f"{step.get('step')}: {when}")
    done = [step.get("step") for step in steps if step.get("done_at")]
    notes.expect("two of them are done", done[:2], ["search", "store"])
    kept = await cast.tenant.call("GET", f"/api/v1/erasures/{receipt.at('erasure_id')}")
    notes.expect("it can be read again", kept.at("erasure_id"), receipt.at("erasure_id"))
    after = await open_session(cast, "login")
    notes.expect("his face is gone", after.at("reason"), "The customer has no prior KYC.")
