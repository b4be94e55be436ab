"""Who is said to have done what, where no route asks: time, jobs, the command line; and nothing
that is anybody's secret.
"""

import re
from collections import Counter

import pytest
from redis.asyncio import Redis

from pipeline.decision.policy import LivenessPolicy
from serve.domain.alert import AlertPatch, AlertStatus
from serve.domain.audit import OPERATOR, PERSON, SERVICE, Action, Actor, AuditEntry, Concern
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Principal, Scope
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows import alerts, audit, customers, events, sessions
from serve.flows.handoff import connect
from serve.flows.submit import accept, judge_job
from serve.flows.tenants import change_settings, create_key, revoke_key, rotate_secret
from serve.flows.transact import new_operation
from serve.flows.upkeep.deadlines import sweep_deadlines
from tests.helpers.service import HOOK, Fault, Service, repeatable
from tests.serve.audit.trail import actions, raw_trail, trail_of

Told = list[tuple[Action, Actor, str]]


async def told(service: Service, *wanted: Action) -> Told:
    """Action, actor and outcome of the entries of these actions, or of all, oldest first."""
    records = await trail_of(service.deps.audit, service.live)
    return [
        (record.entry.action, record.entry.actor, record.entry.outcome)
        for record in records
        if not wanted or record.entry.action in wanted
    ]


async def test_each_verdict_is_one_entry_of_the_person(service: Service) -> None:
    """Declined, declined, approved: three; the same bytes again and an unfit capture add none."""
    token = await service.ready()
    for image in ("face 70", "face 70", "nobody", "face 71", "face 0", "face 0"):
        await service.submitted(token, image)
    judged = Action.SESSION_JUDGED
    outcomes = [(judged, PERSON, word) for word in ("declined", "declined", "approved")]
    assert await told(service, judged) == outcomes


async def test_a_lost_reply_leaves_one_entry(service: Service) -> None:
    """A verdict that was written although nobody heard is in the trail once, asked again or not."""
    token = await service.ready()
    service.clock.faults = [Fault.NONE, Fault.AFTER]
    with pytest.raises(Exception, match="the link broke"):
        await service.submitted(token, "face 0")
    await service.submitted(token, "face 0")
    assert len(await told(service, Action.SESSION_JUDGED)) == 1
    service.clock.faults = [Fault.BEFORE]
    with pytest.raises(Exception, match="the link broke"):
        await service.opened()
    assert len(await told(service, Action.SESSION_OPENED)) == 1


async def test_a_selfie_judged_later_is_the_person_s_all_the_same(service: Service) -> None:
    """The worker that judges it is nobody: whoever sent it is who did it."""
    token = await service.ready()
    await accept(service.deps, token, b"face 0")
    assert await told(service, Action.SESSION_JUDGED) == []
    ((subject, job),) = await service.deps.jobs.claim(1)
    for _ in range(2):
        await judge_job(service.deps, subject, job)
    assert await told(service, Action.SESSION_JUDGED) == [
        (Action.SESSION_JUDGED, PERSON, "approved")
    ]


async def test_what_time_did_nobody_did(service: Service) -> None:
    """A session that ran out is ended by the service, once; a phone's comings leave nothing."""
    token = await service.ready()
    await connect(service.deps, token, connected=True)
    await service.advance(11)
    await service.make_due("*:deadlines")
    for _ in range(2):
        await sweep_deadlines(service.deps)
    assert await told(service, Action.SESSION_EXPIRED) == [(Action.SESSION_EXPIRED, SERVICE, "")]
    assert [entry[0] for entry in await told(service)][-2:] == [
        Action.SESSION_OPENED,
        Action.SESSION_EXPIRED,
    ]


async def test_a_session_that_expired_is_not_canceled_by_the_next(service: Service) -> None:
    """Where time came first, opening another is not what ended it."""
    await service.ready()
    await service.advance(11)
    await service.opened()
    kinds = [entry[:2] for entry in await told(service)]
    assert (Action.SESSION_EXPIRED, SERVICE) in kinds
    assert Action.SESSION_CANCELED not in {kind for kind, _ in kinds}


async def test_what_an_operator_does_is_the_operator_s(service: Service) -> None:
    """Keys, secrets, settings, and customers who were enrolled by command."""
    before = len(await told(service))
    made, _ = await create_key(service.deps, service.tenant.id, Mode.LIVE, [Scope.AUDIT])
    await revoke_key(service.deps, made.id)
    await revoke_key(service.deps, made.id)  # it is already: nothing was done
    await rotate_secret(service.deps, service.tenant.id)
    await change_settings(service.deps, service.tenant.id, TenantPatch(session_retention_days=3))
    principal = Principal(service.tenant.id, Mode.LIVE, frozenset({Scope.CUSTOMERS}), OPERATOR)
    request = customers.EnrolRequest("alice", b"face 0")
    await customers.enrol(service.deps, principal, request, new_operation(service.deps))
    new = (await told(service))[before:]
    assert new.pop() == (Action.CUSTOMER_SCREENED, SERVICE, "approved")
    assert {actor for _, actor, _ in new} == {OPERATOR}
    assert Counter(action for action, _, _ in new) == Counter(
        [
            Action.KEY_CREATED,
            Action.KEY_REVOKED,
            Action.SECRET_ROTATED,
            Action.TENANT_CHANGED,
            Action.CUSTOMER_ENROLLED,
        ]
    )


async def test_the_install_has_a_trail_of_its_own(service: Service) -> None:
    """What is done to all is seen by operators alone, with what each tenant's operators did."""
    await service.enrolled()
    await audit.operated(service.deps, Action.BACKUP_TAKEN)
    page = await audit.install_page(service.deps, None, "", 100)
    taken = [record for record in page.items if record.entry.action is Action.BACKUP_TAKEN]
    assert [record.concern for record in taken] == [Concern()]
    assert Action.TENANT_CREATED in actions(list(page.items))
    assert Action.CUSTOMER_ENROLLED not in actions(list(page.items))
    of_one = await audit.install_page(service.deps, service.tenant.id, "", 100)
    assert Action.CUSTOMER_ENROLLED in actions(list(of_one.items))
    assert Action.BACKUP_TAKEN not in actions(await trail_of(service.deps.audit, service.live))
    again = await audit.install_page(service.deps, None, "", 100)
    assert again.items[0].entry == AuditEntry(Action.AUDIT_READ, OPERATOR, count=len(of_one.items))


async def test_a_change_of_both_worlds_is_seen_in_both(service: Service) -> None:
    """Settings are the tenant's; preferences and faces are one world's."""
    await change_settings(service.deps, service.tenant.id, TenantPatch(session_retention_days=3))
    await service.enrolled()
    live, test = [
        Counter(actions(await trail_of(service.deps.audit, principal)))
        for principal in (service.live, service.test)
    ]
    assert live[Action.TENANT_CHANGED] == test[Action.TENANT_CHANGED] == 1
    assert (live[Action.CUSTOMER_ENROLLED], test[Action.CUSTOMER_ENROLLED]) == (1, 0)
    assert live[Action.PREFERENCES_CHANGED] == test[Action.PREFERENCES_CHANGED] == 1


async def test_nothing_personal_and_no_secret_is_in_the_trail(
    service: Service, link: Redis
) -> None:
    """After all that a customer goes through, every byte of it is an id, a word or a number."""
    await change_settings(
        service.deps, service.tenant.id, TenantPatch(liveness_policy=LivenessPolicy.MATCH_ONLY)
    )
    await service.enrolled("canary-customer")
    opened = await service.opened(
        "canary-customer", reference="canary-reference", callback_url=f"{HOOK}/canary-url"
    )
    for number in range(3):
        await service.submitted(opened.token, f"face {60 + number}")
    session = await service.only_session("canary-customer")
    await sessions.session(service.deps, service.live, session.id)
    (alert,) = (await alerts.page(service.deps, service.live, None, "", 10)).items
    patch = AlertPatch(status=AlertStatus.RESOLVED)
    await alerts.change(service.deps, service.live, alert.id, patch, repeatable("canary-op"))
    for event in (await events.page(service.deps, service.live, "", 10)).items:
        await events.event(service.deps, service.live, event.id)
        await events.resend(service.deps, service.live, event.id)
    await customers.kyc_status(service.deps, service.live, "canary-customer")
    query = audit.Query("canary-customer")
    await audit.page(service.deps, service.live, query)
    await service.opened("canary-stranger")
    await customers.erase(
        service.deps, service.live, "canary-customer", new_operation(service.deps)
    )
    raw = await raw_trail(link)
    entries = [row for rows in raw.values() for _, row in rows]
    assert len(entries) > 15
    text = repr(raw)
    for canary in ("canary", opened.token, opened.token[5:], "shop.example", "Shop", "face 6"):
        assert canary not in text, canary
    for entry in entries:
        assert {name.decode() for name in entry} <= {"a", "w", "t", "o", "n", "c"}
        for value in entry.values():
            assert re.fullmatch(rb"[A-Za-z0-9_.:-]{0,40}", value), value
