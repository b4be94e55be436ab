"""The callback object: what the wire says of a session, and what it never says."""

import json

import pytest

from pipeline.decision.reasons import Reason
from serve.domain.callback import CallbackEvent, DeliveryState, callback_for, callback_object
from serve.domain.session import Session, State
from serve.domain.tenancy.preferences import Reactions
from tests.helpers.records import NOW_MS, a_session

HARSH = Reactions(
    max_retry_attempts=2,
    trigger_alert=True,
    enforce_logout=True,
    freeze_account=True,
    freeze_duration_minutes=60,
)
FLAGS = ("retry_limit_exceeded", "trigger_alert", "enforce_logout", "freeze_account", "block")


def wire(session: Session) -> dict[str, object]:
    said = json.loads(callback_object(session).to_wire())
    assert isinstance(said, dict)
    return said


def data(session: Session) -> dict[str, object]:
    found = wire(session)["data"]
    assert isinstance(found, dict)
    return found


def test_the_names_are_the_contracts() -> None:
    """The object has exactly the members that the contract lists."""
    said = wire(a_session())
    assert list(said) == [
        "event", "reference", "resource_id", "status", "reasons", "declined_reason", "warnings",
        "data",
    ]  # fmt: skip
    assert said["event"] == "reuse_kyc"
    assert set(data(a_session())) == {*FLAGS, "retries_remaining", "freeze_duration_minutes"}


@pytest.mark.parametrize("state", State)
def test_reactions_only_when_the_limit_is_exceeded(state: State) -> None:
    """Whatever the tenant configured, flags and `block` are false until retries have run out."""
    session = a_session(state=state, reactions=HARSH, tries=1, failed_attempts=1)
    exceeded = state is State.DECLINED
    assert all(data(session)[flag] is exceeded for flag in FLAGS)
    assert data(session)["freeze_duration_minutes"] == (60 if exceeded else 0)
    assert data(session)["retries_remaining"] == 2


@pytest.mark.parametrize("flag", ["trigger_alert", "enforce_logout", "freeze_account"])
def test_each_reaction_is_the_tenants_choice(flag: str) -> None:
    """A reaction that is off stays off, and `block` holds all the same."""
    reactions = HARSH.model_copy(update={flag: False})
    said = data(a_session(state=State.DECLINED, reactions=reactions))
    assert said[flag] is False
    assert said["block"] is True
    assert said["freeze_duration_minutes"] == (0 if flag == "freeze_account" else 60)


def test_the_alert_is_named_only_where_there_is_one() -> None:
    """`alert_id` is absent rather than null."""
    assert "alert_id" not in data(a_session())
    assert data(a_session(state=State.DECLINED, alert_id="alr_1"))["alert_id"] == "alr_1"


def test_reasons_are_told_in_three_ways() -> None:
    """Structured reasons, and the deprecated sentence and warnings made of them."""
    reasons = (Reason.FACE_MISMATCH, Reason.PRESENTATION_ATTACK)
    said = wire(a_session(state=State.CAPTURING, tries=1, reasons=reasons))
    assert said["reasons"] == [
        {"code": reason.value, "description": reason.description} for reason in reasons
    ]
    assert said["declined_reason"] == Reason.FACE_MISMATCH.description
    assert said["warnings"] == {"face": {reason.value: reason.description for reason in reasons}}
    assert wire(a_session())["declined_reason"] == ""
    assert wire(a_session())["warnings"] == {}


@pytest.mark.parametrize("state", State)
def test_the_holder_of_a_token_learns_nothing_else(state: State) -> None:
    """Neither the customer's id nor digests nor URLs are in the object, in any state."""
    session = a_session(state=state, redirect_url="https://tenant.example/back", tries=1)
    text = callback_object(session).to_wire().decode()
    for secret in ("alice", session.token_sha256, "tenant.example", "similarity", "threshold"):
        assert secret not in text


def test_callbacks_are_counted() -> None:
    """Each callback takes the session's next number and is due at once."""
    first, one = callback_for(a_session(), "msg_1", NOW_MS)
    second, two = callback_for(first, "msg_2", NOW_MS + 1)
    assert (one.sequence, two.sequence, second.sequence) == (1, 2, 2)
    assert (one.state, one.next_attempt_at_ms) == (DeliveryState.PENDING, NOW_MS)
    assert one.url == "https://tenant.example/hook"
    assert json.loads(one.body) == wire(a_session())


def test_a_callback_survives_being_written_down() -> None:
    """What is read back is what was written, body included."""
    _, event = callback_for(a_session(), "msg_1", NOW_MS)
    assert CallbackEvent.model_validate_json(event.dump()) == event
    assert "order-1" not in repr(event)
