"""Verifications as a tenant has them, on a real store."""

import asyncio
from dataclasses import dataclass, replace

from pipeline.decision.policy import LivenessPolicy
from serve.domain.ids import Mode, Prefix, partition_of, renamed
from serve.domain.tenancy.api_key import Scope
from serve.domain.tenancy.tenant import TenantPatch
from serve.domain.verifications.verification import (
    Applicant,
    DocumentType,
    Verification,
    VerificationKind,
    VerificationStatus,
)
from serve.errors import Code
from serve.flows.customers import erase
from serve.flows.sessions import cancel_session
from serve.flows.tenants import change_own_settings
from serve.flows.transact import new_operation
from serve.flows.verifications.records import CreateRequest, create, page, review, verification
from serve.store.search.verifications import RedisVerifications
from tests.helpers.records import an_id
from tests.helpers.service import Clock, Service, refusal, repeatable, stranger
from tests.serve.verifications.again import again, ask_for, holding, listed

PLAIN = CreateRequest(DocumentType.PASSPORT, Applicant())
FULL = CreateRequest(
    DocumentType.ID_CARD,
    Applicant(name="Ada", email="ada@example.org", dob="1990-02-28", country="NLD"),
    reference="order-7",
    customer_id="carol",
)
APPROVED, REJECTED = VerificationStatus.APPROVED, VerificationStatus.REJECTED


@dataclass(frozen=True, slots=True)
class ShiftedVerifications(RedisVerifications):
    """By the shifted clock of the records."""

    clock: Clock | None = None

    async def now_ms(self) -> int:
        assert self.clock is not None
        return await RedisVerifications.now_ms(self) + self.clock.shift_ms


def shifted(service: Service) -> Service:
    """The same service, whose verifications go by its clock."""
    known = service.deps.verifications
    assert isinstance(known, RedisVerifications)
    moved = ShiftedVerifications(known.link, known.keyring, service.clock)
    return replace(service, deps=replace(service.deps, verifications=moved))


async def created(service: Service, request: CreateRequest = PLAIN) -> Verification:
    """A fresh one."""
    return await create(service.deps, service.live, request, new_operation(service.deps))


async def read(service: Service, verification_id: str) -> Verification:
    """One, as its tenant reads it."""
    return await verification(service.deps, service.live, verification_id)


async def decided(
    service: Service, verification_id: str, decision: VerificationStatus = APPROVED
) -> Verification:
    """A reviewer's decision on it."""
    op = new_operation(service.deps)
    return await review(service.deps, service.live, verification_id, decision, op)


async def held_session(service: Service) -> str:
    """The verification of a session that needs a reviewer."""
    token = await service.ready()
    await ask_for(service, LivenessPolicy.REQUIRED)
    await service.submitted(token, "face 0")
    return renamed(Prefix.VERIFICATION, (await service.only_session()).id)


async def test_one_that_is_created_waits_and_is_its_own_customer(service: Service) -> None:
    """Pending, named by itself where no name was given, and found again as it was made."""
    made = await created(service)
    assert (made.status, made.kind) == ("pending", VerificationKind.CREATED)
    assert made.customer_id == made.reference == made.id
    assert made.document_type == "passport"
    assert await read(service, made.id) == made
    subject = service.deps.ledger.subject(made.tenant_id, Mode.LIVE, made.id)
    assert partition_of(Prefix.VERIFICATION, made.id) == subject.partition


async def test_what_the_tenant_says_is_kept(service: Service) -> None:
    """Applicant, document, reference and customer."""
    made = await created(service, FULL)
    assert made.applicant == FULL.applicant
    assert (made.reference, made.customer_id) == ("order-7", "carol")
    assert await read(service, made.id) == made


async def test_an_existing_customer_keeps_what_is_theirs(service: Service) -> None:
    """One created for a customer brings their name, and changes nothing else of theirs."""
    await service.enrolled("carol")
    subject = service.deps.ledger.subject(service.tenant.id, Mode.LIVE, "carol")
    before = (await service.deps.ledger.snapshot(subject)).customer
    await created(service, FULL)
    after = (await service.deps.ledger.snapshot(subject)).customer
    assert before is not None
    assert after == before.model_copy(update={"name": "Ada"})


async def test_a_repeat_creates_nothing_more(service: Service) -> None:
    """The same operation is answered with the same one, also when it names its own customer."""
    for request in (PLAIN, FULL):
        first, *others = await asyncio.gather(
            *(create(service.deps, service.live, request, repeatable(str(id(request))))
              for _ in range(5))
        )  # fmt: skip
        assert others == [first] * 4
    assert len(await listed(service)) == 2


async def test_the_list_has_records_and_sessions_newest_first(service: Service) -> None:
    """Whatever it came from, each comes once, and page by page as in one piece."""
    token = await holding(service)
    wanted = {
        VerificationKind.CREATED: (await created(service)).id,
        VerificationKind.REVERIFICATION: (await again(service, token)).id,
    }
    await service.opened()
    opened = await service.only_session()
    wanted[VerificationKind.SESSION] = renamed(Prefix.VERIFICATION, opened.id)
    whole = await listed(service)
    assert {item.kind: item.id for item in whole}.items() >= wanted.items()
    order = [(item.created_at_ms, item.id) for item in whole]
    assert order == sorted(order, reverse=True)
    for limit in (1, 2, 3):
        assert await listed(service, limit) == whole
    for item in whole:
        assert await read(service, item.id) == item


async def test_what_comes_between_pages_moves_nothing(service: Service) -> None:
    """A cursor goes on behind the last that was shown, whatever was begun or erased meanwhile."""
    for number in range(4):
        await created(service, replace(FULL, customer_id=f"customer-{number}"))
    await service.ready()
    whole = await listed(service)
    first = await page(service.deps, service.live, "", 2)
    await created(service)
    await service.opened(event="password_change", reference="order-2")
    op = new_operation(service.deps)
    await erase(service.deps, service.live, "customer-1", op)
    rest = await page(service.deps, service.live, first.next_cursor, 100)
    assert list(first.items) == whole[:2]
    assert list(rest.items) == [item for item in whole[2:] if item.customer_id != "customer-1"]


async def test_names_that_outlive_their_records_cut_no_page_short(service: Service) -> None:
    """Records that have gone leave room in a page for those behind them."""
    older = [await created(service) for _ in range(3)]
    for number in range(12):
        made = await created(service, replace(FULL, customer_id=f"customer-{number}"))
        key = f"{{p{made.id[4:6]}}}:verification:{made.id}"
        assert await service.link.delete(key) == 1
    got = await page(service.deps, service.live, "", 3)
    assert {item.id for item in got.items} == {item.id for item in older}
    assert got.next_cursor == ""


async def test_a_session_is_seen_as_time_has_left_it(service: Service) -> None:
    """Pending while it is open, rejected once it has expired, before any sweep wrote that down."""
    service = shifted(service)
    await service.ready()
    name = renamed(Prefix.VERIFICATION, (await service.only_session()).id)
    assert (await read(service, name)).status == "pending"
    await service.advance(60)
    assert (await read(service, name)).status == "rejected"


async def test_a_session_s_status_is_its_verification_s(service: Service) -> None:
    """Pending after a failed try, approved after a match, rejected when it was canceled."""
    token = await service.ready()
    name = renamed(Prefix.VERIFICATION, (await service.only_session()).id)
    await service.submitted(token, "face 60")
    tried = await read(service, name)
    assert (tried.status, tried.face_match and tried.face_match.is_match) == ("pending", False)
    await service.submitted(token, "face 1")
    approved = await read(service, name)
    assert (approved.status, approved.face_match and approved.face_match.is_match) == (
        "approved", True,
    )  # fmt: skip
    await service.opened()
    canceled = (await service.only_session()).id
    await cancel_session(service.deps, service.live, canceled, new_operation(service.deps))
    assert (await read(service, renamed(Prefix.VERIFICATION, canceled))).status == "rejected"


async def test_others_find_nothing(service: Service) -> None:
    """Another tenant, the other mode, unknown ids and ids of another kind: nothing is there."""
    made = await created(service)
    name = await held_session(service)
    for principal in (stranger(), service.test):
        assert await listed(service, principal=principal) == []
        for verification_id in (made.id, name):
            looked = verification(service.deps, principal, verification_id)
            assert await refusal(looked) == Code.NOT_FOUND
            op = new_operation(service.deps)
            decision = review(service.deps, principal, verification_id, APPROVED, op)
            assert await refusal(decision) == Code.NOT_FOUND
    session_id = renamed(Prefix.SESSION, name)
    for unknown in (an_id(Prefix.VERIFICATION, 7), session_id, "ver_", "", "ver_99" + "A" * 22):
        assert await refusal(read(service, unknown)) == Code.NOT_FOUND
        assert await refusal(decided(service, unknown)) == Code.NOT_FOUND
    got = await service.deps.verifications.named(service.tenant.id, Mode.TEST, [made.id, name])
    assert got == {}


async def test_many_are_found_by_id(service: Service) -> None:
    """Records and sessions, each once, and nothing for ids of nobody's."""
    made, name = await created(service), await held_session(service)
    asked = [made.id, an_id(Prefix.VERIFICATION, 3), name, made.id, "nonsense"]
    got = await service.deps.verifications.named(service.tenant.id, Mode.LIVE, asked)
    assert {key: item.id for key, item in got.items()} == {made.id: made.id, name: name}
    assert await service.deps.verifications.named(service.tenant.id, Mode.LIVE, []) == {}


async def test_an_erased_customer_leaves_none(service: Service) -> None:
    """All of theirs go at once, from the list and by id; those of others stay."""
    token = await holding(service)
    await again(service, token)
    await service.opened()
    await created(service, replace(FULL, customer_id="alice"))
    other = await created(service)
    theirs = [item.id for item in await listed(service) if item.customer_id == "alice"]
    assert len(theirs) >= 3
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert await listed(service) == [other]
    for name in theirs:
        assert await refusal(read(service, name)) == Code.NOT_FOUND
        assert await refusal(decided(service, name)) == Code.NOT_FOUND
    lists = [key for key in await service.keys("*:list:*") if ":list:alerts" not in key]
    members = [await service.link.zrange(key, 0, -1) for key in lists]
    text = repr(members)
    assert [name for name in theirs if name[4:] in text] == []


async def test_a_session_is_reviewed_as_one(service: Service) -> None:
    """The session moves, its `callback_url` is told, and neither can be decided twice."""
    for decision, status, told in (
        (APPROVED, "approved", "approved"), (REJECTED, "rejected", "declined"),
    ):  # fmt: skip
        await ask_for(service, LivenessPolicy.MATCH_ONLY)
        name = await held_session(service)
        assert (await read(service, name)).status == "needs_review"
        after = await decided(service, name, decision)
        assert (after.status, after.id) == (status, name)
        assert await read(service, name) == after
        assert (await service.told())[-1] == told
        assert await refusal(decided(service, name)) == Code.VERIFICATION_CLOSED


async def test_a_reverification_is_reviewed(service: Service) -> None:
    """What had no liveness is decided by a reviewer, once; its image goes with the decision."""
    token = await holding(service)
    await ask_for(service, LivenessPolicy.REQUIRED)
    made = await again(service, token)
    assert made.status == "needs_review"
    assert len(await service.keys(f"*:capture:{made.id}")) == 1
    after = await decided(service, made.id, REJECTED)
    assert after.status == "rejected"
    assert after.reasons[0] == "review_declined"
    assert await read(service, made.id) == after
    assert await service.keys(f"*:capture:{made.id}") == []
    assert await refusal(decided(service, made.id)) == Code.VERIFICATION_CLOSED


async def test_a_review_is_carried_out_once(service: Service) -> None:
    """Of contrary decisions at once one counts; a repeat of it gets the same."""
    token = await holding(service)
    await ask_for(service, LivenessPolicy.REQUIRED)
    made = await again(service, token)
    calls = [
        review(service.deps, service.live, made.id, decision, repeatable(decision))
        for decision in (APPROVED, REJECTED)
    ]
    done = await asyncio.gather(*calls, return_exceptions=True)
    (after,) = [item for item in done if isinstance(item, Verification)]
    once_more = await review(
        service.deps, service.live, made.id, after.status, repeatable(after.status)
    )
    assert once_more == after == await read(service, made.id)


async def test_one_that_waits_cannot_be_reviewed(service: Service) -> None:
    """There is nothing yet to decide."""
    made = await created(service)
    assert await refusal(decided(service, made.id)) == Code.VERIFICATION_CLOSED


async def test_a_session_s_review_needs_a_key_for_sessions(service: Service) -> None:
    """A key for customers alone may look, and decide what is no session."""
    name = await held_session(service)
    own = service.live
    key = replace(own, scopes=frozenset({Scope.CUSTOMERS}))
    assert (await verification(service.deps, key, name)).status == "needs_review"
    op = new_operation(service.deps)
    assert await refusal(review(service.deps, key, name, APPROVED, op)) == Code.SCOPE_MISSING
    assert (await decided(service, name)).status == "approved"


async def test_an_enrolment_that_was_held_is_decided(service: Service) -> None:
    """A duplicate under the policy `review` may be compared with once a reviewer approved it, and
    never when one rejected it.
    """
    patch = TenantPatch.model_validate({"duplicates": "review"})
    op = new_operation(service.deps)
    await change_own_settings(service.deps, service.live, patch, op)
    await service.enrolled("alice")
    subject = service.deps.ledger.subject(service.tenant.id, Mode.LIVE, "bob")
    for image, decision, usable in (("face 1", REJECTED, 0), ("face 2", APPROVED, 1)):
        done = await service.enrolled("bob", image)
        name = renamed(Prefix.VERIFICATION, done.face_id)
        assert (await read(service, name)).status == "needs_review"
        before = (await service.deps.ledger.snapshot(subject)).customer
        assert before is not None
        assert not before.has_prior_kyc
        assert (await decided(service, name, decision)).status == decision
        after = (await service.deps.ledger.snapshot(subject)).customer
        assert after is not None
        assert (len(after.usable_references), len(after.references)) == (usable, usable + 1)
