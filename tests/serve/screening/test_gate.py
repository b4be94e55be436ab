"""The gate of enrolments, on a real store: flags, policies, blocklist, crashes and lost indexes."""

import asyncio
from typing import Any

import pytest

from pipeline.decision.policy import DuplicatePolicy
from pipeline.decision.reasons import Reason
from serve.domain.alert import AlertType
from serve.domain.audit import SERVICE, Action, AuditEntry
from serve.domain.search.gallery import Standing
from serve.domain.verifications.verification import VerificationStatus
from serve.errors import Code, ServeError
from serve.flows.audit import Query
from serve.flows.audit import page as audit_page
from serve.flows.customers import EnrolAnswer, EnrolRequest, enrol, erase
from serve.flows.search.screen import run_due, run_screenings
from serve.flows.sessions import overview
from serve.flows.transact import new_operation
from serve.flows.verifications.records import review
from tests.helpers.search.scripted_index import ScriptedIndex
from tests.helpers.service import Fault, Service, refusal, repeatable
from tests.serve.screening.gate import (
    APPROVED,
    HELD,
    REFUSED,
    TWIN,
    matched,
    owed,
    raised,
    scripted_index,
    set_policy,
    standing,
    verification,
)


@pytest.fixture
def index(service: Service) -> ScriptedIndex:
    """The index of the service's ports, from now on open to trouble."""
    return scripted_index(service)


async def test_a_face_that_nobody_else_has_is_approved(service: Service) -> None:
    """It may be compared with at once, its verification says so, and nothing is owed."""
    answer = await service.enrolled()
    assert (answer.status, answer.duplicates) == (APPROVED, 0)
    found = await verification(service, answer)
    assert (found.status, found.reasons, found.face_id) == (APPROVED, (), answer.face_id)
    assert await standing(service, "alice") == [Standing.APPROVED]
    assert await owed(service) == 0


async def test_one_face_under_two_accounts_is_flagged_on_both_sides(service: Service) -> None:
    """The second is flagged, and each lists the other's verification; both are approved."""
    first, second = await service.enrolled(), await service.enrolled("bob", TWIN)
    assert (second.status, second.duplicates) == (APPROVED, 1)
    assert await matched(service, second) == [first.verification_id]
    assert await matched(service, first) == [second.verification_id]
    assert (await service.enrolled()).duplicates == 1
    assert await owed(service) == 0
    assert await raised(service) == []  # one pair of faces bounds nothing


async def test_other_worlds_are_never_searched(service: Service) -> None:
    """The same face in test mode is nobody's duplicate in live mode."""
    await service.enrolled()
    request = EnrolRequest("alice", b"face 0")
    answer = await enrol(service.deps, service.test, request, new_operation(service.deps))
    assert (answer.status, answer.duplicates) == (APPROVED, 0)


@pytest.mark.parametrize(
    ("policy", "status", "expected"),
    [
        (DuplicatePolicy.REVIEW, HELD, Standing.HELD),
        (DuplicatePolicy.DECLINE, REFUSED, Standing.REFUSED),
    ],
)
async def test_a_stricter_policy_holds_or_refuses_the_face(
    service: Service, policy: DuplicatePolicy, status: VerificationStatus, expected: Standing
) -> None:
    """It says why, it is flagged all the same, and the face is never compared with."""
    await set_policy(service, policy)
    await service.enrolled()
    answer = await service.enrolled("bob", TWIN)
    assert (answer.status, answer.duplicates) == (status, 1)
    assert (await verification(service, answer)).reasons == (Reason.DUPLICATE_FACE,)
    assert await standing(service, "bob") == [expected]
    assert not (await service.opened("bob")).is_required
    again = await service.enrolled("bob", TWIN)
    assert (again.status, again.duplicates, again.is_repeat) == (status, 1, True)


async def test_a_refused_face_is_found_again(service: Service) -> None:
    """Whoever was declined under one name is declined under the next."""
    await set_policy(service, DuplicatePolicy.DECLINE)
    await service.enrolled()
    for name in ("bob", "carol"):
        assert (await service.enrolled(name, TWIN)).status is REFUSED
    assert (await service.enrolled("dave", "face 60")).status is APPROVED


async def test_more_pairs_make_an_alert(service: Service) -> None:
    """Once the tenant's own enrolments show that chance is rare, a duplicate raises an alert."""
    for number in range(8):
        await service.enrolled(f"customer-{number}", f"face {40 * number + 40}")
    evidence = await service.deps.flags.evidence(service.live.tenant_id, service.live.mode)
    assert evidence == (sum(range(8)), 0)
    await service.enrolled("twin", "face 41")
    assert await raised(service) == [AlertType.DUPLICATE_FACE]
    counts = await overview(service.deps, service.live)
    assert {name for name in counts if not name.startswith(("sessions.", "alerts."))} == set()


async def test_a_repeat_under_its_key_answers_the_same(service: Service) -> None:
    """One face, one flag, however often it is asked for, also without the key."""
    await service.enrolled()
    request = EnrolRequest("bob", TWIN.encode())
    answers = [
        await enrol(service.deps, service.live, request, repeatable("bob")) for _ in range(3)
    ]
    assert [answer == answers[0] for answer in answers] == [True] * 3
    unnamed = await enrol(service.deps, service.live, request, new_operation(service.deps))
    assert (unnamed.face_id, unnamed.is_repeat) == (answers[0].face_id, True)
    assert len(await service.keys("*:flag:*")) == 1


async def test_a_crash_between_commit_and_search_is_made_good(
    service: Service, index: ScriptedIndex
) -> None:
    """The face is held, not lost and not used; whoever claims the search later finishes it."""
    await service.enrolled()
    index.trouble = Code.INTERNAL_ERROR
    assert await refusal(service.enrolled("bob", TWIN)) == Code.INTERNAL_ERROR
    assert await standing(service, "bob") == [Standing.HELD]
    assert not (await service.opened("bob")).is_required
    index.trouble = None
    assert await owed(service) == 1
    assert await run_due(service.deps) == 1
    assert await standing(service, "bob") == [Standing.APPROVED]
    assert (await service.enrolled("bob", TWIN)).duplicates == 1
    assert await owed(service) == 0


async def test_a_repeat_after_a_crash_makes_the_search_at_once(
    service: Service, index: ScriptedIndex
) -> None:
    """The same photo again need not wait for whoever claims the search."""
    index.trouble = Code.OVERLOADED
    request = EnrolRequest("bob", b"face 0")
    op = repeatable("bob")
    assert await refusal(enrol(service.deps, service.live, request, op)) == Code.OVERLOADED
    index.trouble = None
    answer = await enrol(service.deps, service.live, request, op)
    assert (answer.status, answer.is_repeat) == (APPROVED, False)
    assert await owed(service) == 0


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
@pytest.mark.parametrize("place", range(1, 4))
async def test_any_lost_reply_leaves_one_flag_that_both_know(
    service: Service, fault: Fault, place: int
) -> None:
    """After the face, the verdict, or the word to the other, the rest is done later."""
    first = await service.enrolled()
    service.clock.faults = [*[Fault.NONE] * place, fault]
    done: Any = await asyncio.gather(service.enrolled("bob", TWIN), return_exceptions=True)
    assert isinstance(done[0], EnrolAnswer | ServeError)
    service.clock.faults = []
    while await owed(service):
        await run_due(service.deps)
    second = await service.enrolled("bob", TWIN)
    assert (second.status, second.duplicates) == (APPROVED, 1)
    assert await matched(service, second) == [first.verification_id]
    assert await matched(service, first) == [second.verification_id]
    assert len(await service.keys("*:flag:*")) == 1


@pytest.mark.parametrize("trouble", [None, Code.SERVICE_UNAVAILABLE])
async def test_nobody_is_approved_while_somebody_cannot_be_searched(
    service: Service, index: ScriptedIndex, trouble: Code | None
) -> None:
    """Held for a reviewer at once, and approved later, when all could be searched."""
    index.missing, index.trouble = (5,), trouble
    answer = await service.enrolled()
    assert answer.status is HELD
    assert (await verification(service, answer)).reasons == (Reason.SERVICE_UNAVAILABLE,)
    assert await owed(service) == 1
    await run_due(service.deps)
    assert await owed(service) == 1
    assert await standing(service, "alice") == [Standing.HELD]
    index.missing, index.trouble = (), None
    await run_due(service.deps)
    assert await standing(service, "alice") == [Standing.APPROVED]
    found = await verification(service, answer)
    assert (found.status, found.reasons) == (APPROVED, ())
    assert (await service.enrolled()).status is APPROVED
    assert await owed(service) == 0


async def test_every_search_waits_for_all_that_was_committed_before(
    service: Service, index: ScriptedIndex
) -> None:
    """Both galleries are asked, as of a moment after the face itself was committed."""
    await service.enrolled()
    tails = await service.deps.face_log.tails()
    assert len(index.asked) == 2
    assert all(asked.after == tails for asked in index.asked)
    assert {asked.kind.value for asked in index.asked} == {"enrolled", "blocked"}


async def test_an_erasure_during_the_search_leaves_nothing(
    service: Service, index: ScriptedIndex
) -> None:
    """The enrolment is refused, and no flag, verification or owed search stays."""
    await service.enrolled("bob", TWIN)
    index.before = lambda: erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert await refusal(service.enrolled()) == Code.NOT_FOUND
    assert len(await service.keys("*:verification:*")) == 1
    assert await service.keys("*:flag:*") == []
    assert await owed(service) == 0


async def test_the_trail_tells_what_the_search_came_to(service: Service) -> None:
    """By the service itself: the verification's id, its status, and nothing else."""
    answer = await service.enrolled()
    query = Query(customer_id="alice", action=Action.CUSTOMER_SCREENED)
    (record,) = (await audit_page(service.deps, service.live, query)).items
    assert answer.verification_id is not None
    assert record.entry == AuditEntry(
        Action.CUSTOMER_SCREENED, SERVICE, answer.verification_id, "approved"
    )


async def test_the_loop_finishes_what_is_owed_and_stops(
    service: Service, index: ScriptedIndex
) -> None:
    """A door that starts takes up what another left, and ends when it is told to."""
    index.trouble = Code.OVERLOADED
    assert await refusal(service.enrolled()) == Code.OVERLOADED
    index.trouble = None
    await owed(service)
    stop = asyncio.Event()
    loop = asyncio.create_task(run_screenings(service.deps, stop))
    async with asyncio.timeout(20):
        while await standing(service, "alice") != [Standing.APPROVED]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stop.set()
        await loop
    assert await owed(service) == 0


async def test_a_reviewers_decision_outlives_a_late_search(
    service: Service, index: ScriptedIndex
) -> None:
    """What a person decided meanwhile stays, and the flags come all the same."""
    await service.enrolled()
    index.missing = (5,)
    answer = await service.enrolled("bob", TWIN)
    assert answer.verification_id is not None
    await review(service.deps, service.live, answer.verification_id, REFUSED, repeatable("no"))
    index.missing = ()
    await owed(service)
    await run_due(service.deps)
    assert await standing(service, "bob") == [Standing.REFUSED]
    assert (await verification(service, answer)).status is REFUSED
    assert (await service.enrolled("bob", TWIN)).duplicates == 1
