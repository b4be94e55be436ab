"""Sessions as the tenant sees them, on a real store."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from pipeline.decision.policy import LivenessPolicy
from pipeline.decision.verdict import Outcome
from serve.domain.ids import Mode, Prefix
from serve.domain.session import KycStatus, State
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.preferences import Event, PreferencesPatch
from serve.domain.tenancy.tenant import TenantPatch
from serve.domain.tenancy.trigger import Exemption
from serve.errors import Code
from serve.flows import preferences, sessions
from serve.flows.customers import erase
from serve.flows.sessions import OpenRequest, open_session, status
from serve.flows.tenants import change_settings
from serve.flows.transact import new_operation
from tests.helpers.records import an_id
from tests.helpers.service import HOOK, HOUR_MS, MINUTE_MS, Service, refusal, repeatable, stranger


@pytest.mark.parametrize("event", Event)
async def test_every_event_can_open_a_session(service: Service, event: Event) -> None:
    """Each of the 13 events, its trigger on, gives a token of ten minutes."""
    await service.enrolled()
    answer = await service.opened(event=event)
    assert (answer.is_required, answer.reason, answer.reference) == (True, "", "order-1")
    assert (answer.attempts, answer.max_attempts) == (0, 3)
    assert (await status(service.deps, answer.token)).status == "pending"
    assert (await service.only_session()).event is event


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("", Exemption.UNKNOWN_EVENT),
        ("logout", Exemption.UNKNOWN_EVENT),
        ("login", Exemption.EVENT_DISABLED),
        ("deposit", Exemption.THRESHOLD_NOT_MET),
    ],
)
async def test_what_calls_for_no_face_leaves_nothing(
    service: Service, event: str, reason: Exemption
) -> None:
    """The answer says why, without token or link; nothing is stored but a word in the trail."""
    triggers = {"login": False, "deposit": {"enabled": True, "threshold": 10}}
    patch = PreferencesPatch.model_validate({"reuse_kyc_triggers": triggers})
    await preferences.change(service.deps, service.live, patch)
    await service.enrolled()
    before = await service.keys("*")
    answer = await service.opened(event=event, amount=9.99)
    assert (answer.is_required, answer.reason) == (False, reason.sentence)
    assert (answer.token, answer.link, answer.attempts) == ("", "", 0)
    assert sorted(await service.keys("*")) == sorted(before)


async def test_a_stranger_passes(service: Service) -> None:
    """A customer without a verified face is let pass; only the audit trail keeps a word of it."""
    before = await service.keys("*")
    answer = await service.opened("nobody")
    assert answer.reason == Exemption.NO_PRIOR_KYC.sentence
    (trail,) = set(await service.keys("*")) - set(before)
    assert ":audit:" in trail


async def test_the_two_worlds_are_apart(service: Service) -> None:
    """A face enrolled in one mode is none in the other, and preferences differ."""
    await service.enrolled()
    request = OpenRequest("order-1", "alice", "login")
    test = await open_session(service.deps, service.test, request, repeatable())
    assert test.reason == Exemption.NO_PRIOR_KYC.sentence
    off = PreferencesPatch(is_reuse_kyc_enabled=False)
    await preferences.change(service.deps, service.test, off)
    test = await open_session(service.deps, service.test, request, repeatable())
    assert test.reason == Exemption.FEATURE_DISABLED.sentence
    assert (await service.opened()).is_required


@pytest.mark.parametrize("field", ["callback_url", "redirect_url"])
async def test_urls_of_other_origins_are_refused(service: Service, field: str) -> None:
    """Even where no face is asked for, and nothing is stored."""
    for customer in ("alice", "nobody"):
        call = service.opened(customer, **{field: "https://other.example/"})
        assert await refusal(call) == Code.URL_REFUSED


async def test_a_repeat_gets_the_same_token(service: Service) -> None:
    """The same operation again answers the same and opens nothing else."""
    await service.enrolled()
    request = OpenRequest("order-1", "alice", "login")
    calls = [open_session(service.deps, service.live, request, repeatable()) for _ in range(5)]
    answers = await asyncio.gather(*calls)
    assert len({answer.token for answer in answers}) == 1
    found = await sessions.list_sessions(service.deps, service.live, "alice", None, 10)
    assert len(found) == 1


async def test_a_repeat_asks_no_rules_again(service: Service) -> None:
    """What was opened is answered so, also when such an event calls for no face any more."""
    await service.enrolled()
    request = OpenRequest("order-1", "alice", event="login", redirect_url=HOOK)
    first = await open_session(service.deps, service.live, request, repeatable())
    off = PreferencesPatch(is_reuse_kyc_enabled=False)
    await preferences.change(service.deps, service.live, off)
    await change_settings(service.deps, service.tenant.id, TenantPatch(allowed_origins=()))
    again = await open_session(service.deps, service.live, request, repeatable())
    assert again == first
    assert again.token
    other = await refusal(open_session(service.deps, service.live, request, repeatable("other")))
    assert other == Code.URL_REFUSED


async def test_the_link_leads_to_a_front_end(service: Service) -> None:
    """The tenant's own gets the token in the query, ours in the fragment; else there is none."""
    await service.enrolled()
    assert (await service.opened()).link == ""
    service.deps = replace(service.deps, public_base_url="https://limen.example")
    answer = await service.opened()
    assert answer.link == f"https://limen.example/reuse-kyc-submit#token={answer.token}"
    patch = TenantPatch(frontend_base_url="https://shop.example/kyc/")
    await change_settings(service.deps, service.tenant.id, patch)
    answer = await service.opened()
    assert answer.link == f"https://shop.example/kyc/reuse-kyc-submit?token={answer.token}"


async def test_another_session_cancels_the_first(service: Service) -> None:
    """One open session for each event: the older is canceled in the same step, and told."""
    await service.enrolled()
    first = await service.opened()
    other = await service.opened(event="deposit")
    second = await service.opened(reference="order-2")
    assert (await status(service.deps, first.token)).status == "canceled"
    assert (await status(service.deps, other.token)).status == "pending"
    assert (await status(service.deps, second.token)).status == "pending"
    assert await service.told() == ["canceled"]
    assert await refusal(service.submitted(first.token, "face 0")) == Code.SESSION_CLOSED


async def test_opening_at_once_leaves_one_open(service: Service) -> None:
    """Of several opened concurrently for one event exactly one can be used."""
    await service.enrolled()
    answers = await asyncio.gather(*(service.opened() for _ in range(5)))
    said = [(await status(service.deps, answer.token)).status for answer in answers]
    assert sorted(said) == [KycStatus.CANCELED] * 4 + [KycStatus.PENDING]


async def test_a_review_survives_another_session(service: Service) -> None:
    """What waits for a reviewer is not canceled by the customer's next login."""
    patch = TenantPatch(liveness_policy=LivenessPolicy.REQUIRED)
    await change_settings(service.deps, service.tenant.id, patch)
    token = await service.ready()
    await service.submitted(token, "face 0")
    await service.opened()
    assert (await status(service.deps, token)).status == "needs_review"


async def test_failures_carry_over_to_the_next_session(service: Service) -> None:
    """The same reference goes on where it was; another begins afresh."""
    token = await service.ready()
    await service.submitted(token, "face 60")
    again = await service.opened()
    assert (again.attempts, again.max_attempts) == (1, 3)
    assert (await service.opened(reference="order-2")).attempts == 0


async def test_ten_failures_lock_the_customer(service: Service) -> None:
    """The next session starts declined, one alert tells it, and a day later all is open again."""
    await service.enrolled()
    for number in range(10):
        token = (await service.opened(reference=f"order-{number}")).token
        await service.submitted(token, f"face {60 + number}")
    locked = [await service.opened(reference=f"locked-{number}") for number in range(2)]
    for answer in locked:
        said = await status(service.deps, answer.token)
        assert (said.status, said.reasons[0].code) == ("declined", "locked_out")
        assert said.data.block
        refused = await refusal(service.submitted(answer.token, "face 0"))
        assert refused == Code.ATTEMPTS_EXHAUSTED
    assert (await sessions.overview(service.deps, service.live))["alerts.open"] == 1
    service.clock.shift_ms = 24 * HOUR_MS
    assert (await status(service.deps, (await service.opened()).token)).status == "pending"


async def test_status_by_token(service: Service) -> None:
    """Unknown tokens are not found, and after fifteen minutes none is read any more."""
    service.clock.shift_ms = -15 * MINUTE_MS
    token = await service.ready()
    assert (await status(service.deps, token)).resource_id.startswith("ses_")
    service.clock.shift_ms = -MINUTE_MS
    assert (await status(service.deps, token)).status == "expired"
    service.clock.shift_ms = 0
    assert await refusal(status(service.deps, token)) == Code.TOKEN_EXPIRED
    assert await refusal(status(service.deps, f"st_07{'a' * 43}")) == Code.NOT_FOUND


async def test_a_canceled_session_is_told(service: Service) -> None:
    """It takes no submissions, cannot be canceled again, and frees its event."""
    token = await service.ready()
    session = await service.only_session()
    done = await sessions.cancel_session(
        service.deps, service.live, session.id, new_operation(service.deps)
    )
    assert done.state is State.CANCELED
    assert await service.told() == ["canceled"]
    again = sessions.cancel_session(
        service.deps, service.live, session.id, new_operation(service.deps)
    )
    assert await refusal(again) == Code.SESSION_CLOSED
    assert await refusal(service.submitted(token, "face 0")) == Code.SESSION_CLOSED


@pytest.mark.parametrize(
    ("outcome", "said"), [(Outcome.APPROVED, "approved"), (Outcome.DECLINED, "declined")]
)
async def test_a_reviewer_decides_once(service: Service, outcome: Outcome, said: str) -> None:
    """The decision is told, the capture goes, and there is no second one."""
    patch = TenantPatch(liveness_policy=LivenessPolicy.REQUIRED)
    await change_settings(service.deps, service.tenant.id, patch)
    token = await service.ready()
    await service.submitted(token, "face 0")
    session = await service.only_session()
    done = await sessions.review_session(
        service.deps, service.live, session.id, outcome, new_operation(service.deps)
    )
    assert done.status == said
    assert await service.told() == ["needs_review", said]
    assert await service.keys("*:capture:*") == []
    again = sessions.review_session(
        service.deps, service.live, session.id, outcome, new_operation(service.deps)
    )
    assert await refusal(again) == Code.SESSION_CLOSED


async def test_sessions_are_listed_by_customer_and_reference(service: Service) -> None:
    """Newest first, bounded, as time has left them."""
    service.clock.shift_ms = -11 * MINUTE_MS
    await service.enrolled()
    for number in range(3):
        service.clock.shift_ms += 1_000
        await service.opened(reference=f"order-{number % 2}", event=[*Event][number])
    service.clock.shift_ms = 0

    async def listed(reference: str | None, limit: int = 10) -> list[tuple[str, State]]:
        found = await sessions.list_sessions(service.deps, service.live, "alice", reference, limit)
        return [(session.event, session.state) for session in found]

    events = [(event, State.EXPIRED) for event in [*Event][:3]]
    assert await listed(None) == events[::-1]
    assert await listed("order-0") == [events[2], events[0]]
    assert await listed(None, 1) == events[2:]
    assert await listed("order-9") == []
    assert await sessions.list_sessions(service.deps, service.live, "bob", None, 10) == []


def cancel(service: Service, principal: Principal, session_id: str) -> Awaitable[object]:
    return sessions.cancel_session(service.deps, principal, session_id, new_operation(service.deps))


def read(service: Service, principal: Principal, session_id: str) -> Awaitable[object]:
    return sessions.session(service.deps, principal, session_id)


def review(service: Service, principal: Principal, session_id: str) -> Awaitable[object]:
    return sessions.review_session(
        service.deps, principal, session_id, Outcome.APPROVED, new_operation(service.deps)
    )


@pytest.mark.parametrize("call", [cancel, read, review])
async def test_foreign_and_unknown_sessions_are_not_found(
    service: Service, call: Callable[[Service, Principal, str], Awaitable[object]]
) -> None:
    """Another tenant, the other mode, ids of nobody and no ids at all: none tells more."""
    await service.ready()
    own = (await service.only_session()).id
    for principal in (stranger(), service.test):
        assert await refusal(call(service, principal, own)) == Code.NOT_FOUND
    for unknown in (an_id(Prefix.SESSION, 7), an_id(Prefix.ALERT, 7), "", own + "a"):
        assert await refusal(call(service, service.live, unknown)) == Code.NOT_FOUND
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert await refusal(call(service, service.live, own)) == Code.NOT_FOUND


async def test_the_overview_counts_by_status(service: Service) -> None:
    """Every session is counted under the status it has now, in its own mode."""
    await service.enrolled("bob")
    token = (await service.opened("bob")).token
    await service.ready()
    await service.submitted(token, "face 60")
    counts = await sessions.overview(service.deps, service.live)
    wanted = {"sessions.total": 2, "sessions.pending": 1, "sessions.declined": 1}
    assert {name: number for name, number in counts.items() if number} == wanted
    assert not any((await sessions.overview(service.deps, service.test)).values())


async def test_a_callback_tells_what_the_contract_says(service: Service) -> None:
    """It goes to the session's URL with the state it tells of, in order of its number."""
    token = await service.ready()
    await service.submitted(token, "face 60")
    await service.submitted(token, "face 0")
    events = await service.callbacks()
    assert [(event.url, event.sequence) for event in events] == [(HOOK, 1), (HOOK, 2)]
    assert [json.loads(event.body)["data"]["retries_remaining"] for event in events] == [2, 2]


async def test_a_session_without_a_url_tells_nobody(service: Service) -> None:
    """It works all the same."""
    token = await service.ready(callback_url="")
    await service.submitted(token, "face 0")
    assert (await status(service.deps, token)).status == "approved"
    assert await service.callbacks() == []
    assert (await service.only_session()).mode is Mode.LIVE
