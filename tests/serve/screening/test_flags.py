"""Duplicate flags under review: both sides of a pair, told apart for ever, gone with either."""

import pytest

from serve.domain.audit import Action
from serve.domain.change import Change
from serve.domain.ids import Prefix, Subject
from serve.domain.search.duplicate import DuplicateFlag, FlagPatch, FlagStatus, seen_by_matched
from serve.domain.search.evidence import ImpostorEvidence
from serve.domain.search.pairs import with_flags
from serve.errors import Code
from serve.flows.audit import Query
from serve.flows.audit import page as audit_page
from serve.flows.customers import EnrolAnswer, erase
from serve.flows.search.flags import change_flag, duplicates_of
from serve.flows.transact import new_operation
from tests.helpers.records import an_id
from tests.helpers.service import Fault, Service, refusal, repeatable, stranger
from tests.serve.screening.gate import TWIN, flags_of, matched, scripted_index

RESOLVED = FlagPatch(status=FlagStatus.RESOLVED, reviewer="ann")
DISMISSED = FlagPatch(status=FlagStatus.DISMISSED, reviewer="ann", reason="twins")


async def pair(service: Service) -> tuple[EnrolAnswer, EnrolAnswer, DuplicateFlag]:
    """Two customers with one face, and the flag of the second."""
    first, second = await service.enrolled(), await service.enrolled("bob", TWIN)
    (flag,) = await flags_of(service, second)
    return first, second, flag


async def changed(service: Service, flag: DuplicateFlag, patch: FlagPatch) -> DuplicateFlag:
    return await change_flag(
        service.deps, service.live, flag.id, patch, new_operation(service.deps)
    )


def subject_of(service: Service, customer_id: str) -> Subject:
    return service.deps.ledger.subject(service.live.tenant_id, service.live.mode, customer_id)


async def erased(service: Service, customer_id: str) -> None:
    await erase(service.deps, service.live, customer_id, new_operation(service.deps))


async def test_a_flag_says_how_alike_and_what_became_of_it(service: Service) -> None:
    """The similarity on the mapped scale to 0.01, open until a reviewer says otherwise."""
    _, _, flag = await pair(service)
    assert flag.score == round(flag.score, 2)
    assert 0.36 <= flag.score <= 1.0
    assert flag.status is FlagStatus.OPEN
    after = await changed(service, flag, RESOLVED)
    assert (after.status, after.reviewer, after.reason) == (FlagStatus.RESOLVED, "ann", None)
    (again,) = await flags_of(service, await service.enrolled("bob", TWIN))
    assert again == after
    reopened = await changed(service, flag, FlagPatch(status=FlagStatus.OPEN))
    assert reopened.status is FlagStatus.OPEN


async def test_a_dismissal_needs_a_reason_and_is_for_ever(service: Service) -> None:
    """Without a reason it is refused; once made nothing changes it."""
    _, _, flag = await pair(service)
    for reason in (None, "", "  "):
        patch = FlagPatch(status=FlagStatus.DISMISSED, reviewer="ann", reason=reason)
        assert await refusal(changed(service, flag, patch)) == Code.FIELD_INVALID
    await changed(service, flag, DISMISSED)
    for patch in (DISMISSED, RESOLVED, FlagPatch(status=FlagStatus.OPEN)):
        assert await refusal(changed(service, flag, patch)) == Code.FLAG_CLOSED


async def test_a_repeat_of_a_change_answers_the_same(service: Service) -> None:
    """Under its key a dismissal is made, counted and written to the trail once."""
    _, second, flag = await pair(service)
    answers = [
        await change_flag(service.deps, service.live, flag.id, DISMISSED, repeatable("d"))
        for _ in range(3)
    ]
    assert answers[0] == answers[1] == answers[2]
    evidence = await service.deps.flags.evidence(service.live.tenant_id, service.live.mode)
    assert evidence == ImpostorEvidence(1, 1)
    query = Query(action=Action.FLAG_CHANGED)
    (record,) = (await audit_page(service.deps, service.live, query)).items
    assert (record.entry.target, record.entry.outcome) == (flag.id, "dismissed")
    assert (await service.enrolled("bob", TWIN)).verification_id == second.verification_id


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_people_told_apart_are_never_flagged_again(service: Service, who: str) -> None:
    """Whoever of the two comes again, by another photo or a selfie, under whatever policy."""
    _, _, flag = await pair(service)
    await changed(service, flag, DISMISSED)
    answer = await service.enrolled(who, "face 4")
    assert (answer.status, answer.duplicates) == ("approved", 0)
    await service.submitted((await service.opened(who)).token, "face 5")
    assert (await service.only_session(who)).status == "approved"
    assert len(await service.keys("*:flag:*")) == 1


async def test_somebody_behind_many_who_were_told_apart_is_still_found(service: Service) -> None:
    """The search goes on until there is somebody nobody told apart, or nobody at all."""
    index = scripted_index(service)
    first = await service.enrolled("zero", "face 0")
    subject = subject_of(service, "probe")
    for number in range(33):
        await service.enrolled(f"near-{number}", "face 10")
    await service.enrolled("probe", "face 10.5")
    customer = (await service.deps.ledger.snapshot(subject)).customer
    assert customer is not None
    others = [subject_of(service, f"near-{number}").key for number in range(33)]
    snapshot = await service.deps.ledger.snapshot(subject)
    told_apart = customer.model_copy(update={"different_from": tuple(others)})
    await service.deps.ledger.commit(snapshot, Change(told_apart), "tell-apart")
    index.asked.clear()
    again = await service.enrolled("probe", "face 10.6")
    assert max(asked.limit for asked in index.asked) > 33
    found = {flag.matched_verification_id for flag in await flags_of(service, again)}
    assert first.verification_id in found


async def test_another_tenants_flag_is_not_there(service: Service) -> None:
    """Nor is one of the other mode, nor an id that is none: all are not found."""
    _, second, flag = await pair(service)
    assert second.verification_id is not None
    for principal in (stranger(), service.test):
        listing = duplicates_of(service.deps, principal, second.verification_id, "", 20)
        assert await refusal(listing) == Code.NOT_FOUND
        change = change_flag(service.deps, principal, flag.id, RESOLVED, repeatable("x"))
        assert await refusal(change) == Code.NOT_FOUND
    for name in ("flg_none", an_id(Prefix.FLAG, 3), second.verification_id):
        change = change_flag(service.deps, service.live, name, RESOLVED, repeatable("y"))
        assert await refusal(change) == Code.NOT_FOUND


@pytest.mark.parametrize(("gone", "left"), [("alice", "bob"), ("bob", "alice")])
async def test_a_flag_goes_with_either_customer(service: Service, gone: str, left: str) -> None:
    """No record, no word of it on the other's record, nothing listed, nothing to change."""
    first, second, flag = await pair(service)
    await erased(service, gone)
    assert await service.keys("*:flag:*") == []
    answer = {"alice": first, "bob": second}[left]
    assert await matched(service, answer) == []
    assert await refusal(changed(service, flag, RESOLVED)) == Code.NOT_FOUND
    assert (await service.enrolled(left, {"alice": "face 0", "bob": TWIN}[left])).duplicates == 0


async def test_what_an_erasure_could_not_clear_is_never_shown(service: Service) -> None:
    """The link breaks behind the erasure: the other's record is cleared when it is looked at."""
    _, second, flag = await pair(service)
    service.clock.faults = [Fault.BEFORE]
    await erased(service, "alice")
    service.clock.faults = []
    assert len(await service.keys("*:flag:*")) == 1
    assert await refusal(changed(service, flag, RESOLVED)) == Code.NOT_FOUND
    assert await matched(service, second) == []
    assert await service.keys("*:flag:*") == []


async def test_a_stale_flag_hides_nobody_who_comes_back(service: Service) -> None:
    """An erased customer who enrols again is found and flagged anew, whatever was left."""
    await pair(service)
    service.clock.faults = [Fault.BEFORE]
    await erased(service, "alice")
    service.clock.faults = []
    back = await service.enrolled()
    assert back.duplicates == 1
    bob = await service.enrolled("bob", TWIN)
    assert await matched(service, back) == [bob.verification_id]
    assert await matched(service, bob) == [back.verification_id]


async def test_both_flags_of_a_pair_are_reviewed_as_one(service: Service) -> None:
    """Each of two may have a flag of the other: one is listed, and one decision is for both."""
    first, second, flag = await pair(service)
    alice, bob = (subject_of(service, name) for name in ("alice", "bob"))
    snapshot = await service.deps.ledger.snapshot(alice)
    twin = seen_by_matched(flag, bob).model_copy(update={"id": an_id(Prefix.FLAG, alice.partition)})
    assert snapshot.customer is not None
    customer, _ = with_flags(snapshot.customer, [twin])
    await service.deps.ledger.commit(snapshot, Change(customer, flags=(twin,)), "twin")
    assert await matched(service, first) == [second.verification_id]
    assert await matched(service, second) == [first.verification_id]
    await changed(service, flag, DISMISSED)
    for answer in (first, second):
        assert [item.status for item in await flags_of(service, answer)] == [FlagStatus.DISMISSED]
    evidence = await service.deps.flags.evidence(service.live.tenant_id, service.live.mode)
    assert evidence.errors == 1


async def test_a_list_is_read_page_by_page(service: Service) -> None:
    """Newest first, each flag once, and a cursor of no list is refused."""
    first = await service.enrolled()
    for number in range(5):
        await service.enrolled(f"twin-{number}", f"face {number + 1}")
    assert first.verification_id is not None
    seen: list[str] = []
    cursor = ""
    while True:
        page = await duplicates_of(service.deps, service.live, first.verification_id, cursor, 2)
        assert len(page.items) <= 2
        seen += [flag.id for flag in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 5
    bad = duplicates_of(service.deps, service.live, first.verification_id, "nonsense", 2)
    assert await refusal(bad) == Code.CURSOR_INVALID


async def test_a_look_at_flags_is_in_the_trail(service: Service) -> None:
    """Who listed them, for which verification, and how many there were."""
    _, second, _ = await pair(service)
    query = Query(customer_id="bob", action=Action.FLAG_READ)
    (record,) = (await audit_page(service.deps, service.live, query)).items
    assert (record.entry.target, record.entry.count) == (second.verification_id, 1)
