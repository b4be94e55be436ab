"""A selfie that matches is searched among everybody else before the verdict is written down."""

import pytest

from pipeline.decision.policy import DuplicatePolicy, LivenessPolicy
from serve.domain.alert import AlertType
from serve.domain.ids import Prefix, renamed
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code
from serve.flows import alerts
from serve.flows.search.blocklist import BlockRequest, block_face
from serve.flows.search.flags import duplicates_of
from serve.flows.search.screen import run_due
from serve.flows.submit import accept, judge_job
from serve.flows.tenants import change_settings
from serve.flows.transact import new_operation
from tests.helpers.search.scripted_index import ScriptedIndex
from tests.helpers.service import Fault, Service, refusal
from tests.serve.screening.gate import TWIN, matched, owed, raised, scripted_index, set_policy


@pytest.fixture
def index(service: Service) -> ScriptedIndex:
    """The index of the service's ports, from now on open to trouble."""
    return scripted_index(service)


async def blocked(service: Service, image: str = "face 0") -> None:
    request = BlockRequest(selfie=image.encode(), reason="stolen documents")
    await block_face(service.deps, service.live, request, new_operation(service.deps))


async def reasons(service: Service) -> list[str]:
    return [reason.value for reason in (await service.only_session()).reasons]


async def test_only_a_match_is_searched_for(service: Service, index: ScriptedIndex) -> None:
    """A mismatch, an unfit capture and an unreadable one cost no search and tell of nobody."""
    token = await service.ready()
    index.asked.clear()
    for image in ("face 60", "blurred 0", "broken"):
        await service.submitted(token, image)
    assert index.asked == []
    await service.submitted(token, "face 5")
    assert len(index.asked) == 2
    assert await service.told() == ["declined", "approved"]


async def test_the_customer_is_not_their_own_duplicate(service: Service) -> None:
    """However many references they have, a match is approved without a flag."""
    await service.enrolled(image="face 3")
    await service.submitted(await service.ready(), "face 5")
    assert (await service.only_session()).status == "approved"
    assert await service.keys("*:flag:*") == []


async def test_a_selfie_shows_a_pair_that_the_references_did_not(service: Service) -> None:
    """It is approved and flagged; both sides list it, and a second selfie flags nothing more."""
    other = await service.enrolled("bob", "face 22")
    token = await service.ready()
    await service.submitted(token, "face 5")
    session = await service.only_session()
    assert (session.status, session.reasons[1:]) == ("approved", ())
    verification_id = renamed(Prefix.VERIFICATION, session.id)
    page = await duplicates_of(service.deps, service.live, verification_id, "", 20)
    (flag,) = page.items
    assert flag.verification_id == verification_id
    assert flag.matched_verification_id == other.verification_id
    assert await matched(service, other) == [verification_id]
    await service.submitted((await service.opened()).token, "face 6")
    assert len(await service.keys("*:flag:*")) == 1
    assert await owed(service) == 0


@pytest.mark.parametrize(
    ("policy", "status"),
    [(DuplicatePolicy.REVIEW, "needs_review"), (DuplicatePolicy.DECLINE, "declined")],
)
async def test_a_stricter_policy_holds_or_declines_the_match(
    service: Service, policy: DuplicatePolicy, status: str
) -> None:
    """Also when the pair was flagged before: what is known of it does not let anybody in."""
    await service.enrolled("bob", TWIN)
    await service.enrolled()
    await set_policy(service, policy)
    token = (await service.opened()).token
    await service.submitted(token, "face 5")
    session = await service.only_session()
    assert (session.status, (await reasons(service))[0]) == (status, "duplicate_face")
    assert session.failed_attempts == (status == "declined")
    assert len(await service.keys("*:flag:*")) == 1


async def test_a_blocklisted_face_needs_a_reviewer_always(service: Service) -> None:
    """Whatever the policies, with an alert that names session and verification."""
    token = await service.ready()
    await blocked(service)
    await service.submitted(token, "face 5")
    session = await service.only_session()
    assert (session.status, (await reasons(service))[0]) == ("needs_review", "blocklisted")
    page = await alerts.page(service.deps, service.live, None, "", 10)
    (alert,) = page.items
    assert alert.alert_type is AlertType.BLOCKLIST_MATCH
    assert (alert.session_id, alert.reference) == (session.id, session.reference)
    assert alert.verification_id == renamed(Prefix.VERIFICATION, session.id)


async def test_a_blocklisted_face_is_not_enrolled_unseen(service: Service) -> None:
    """It is held, with an alert of no session, and its owner gets no session."""
    await blocked(service)
    answer = await service.enrolled("bob", TWIN)
    assert answer.status == "needs_review"
    page = await alerts.page(service.deps, service.live, None, "", 10)
    (alert,) = page.items
    assert (alert.alert_type, alert.session_id) == (AlertType.BLOCKLIST_MATCH, "")
    assert alert.verification_id == answer.verification_id
    assert not (await service.opened("bob")).is_required


@pytest.mark.parametrize("trouble", [None, Code.SERVICE_UNAVAILABLE])
async def test_nobody_is_approved_while_somebody_cannot_be_searched(
    service: Service, index: ScriptedIndex, trouble: Code | None
) -> None:
    """A reviewer decides, however live the person was proved to be."""
    token = await service.ready()
    index.missing, index.trouble = (63,), trouble
    await service.submitted(token, "face 5")
    assert (await service.only_session()).status == "needs_review"
    assert (await reasons(service))[0] == "service_unavailable"
    assert await raised(service) == []


async def test_no_attempt_is_made_when_too_many_searches_wait(
    service: Service, index: ScriptedIndex
) -> None:
    """The same bytes may be sent again, and are approved then."""
    token = await service.ready()
    index.trouble = Code.OVERLOADED
    assert await refusal(service.submitted(token, "face 5")) == Code.OVERLOADED
    assert (await service.only_session()).tries == 0
    index.trouble = None
    await service.submitted(token, "face 5")
    assert (await service.only_session()).status == "approved"


async def test_every_reason_for_a_review_is_told(service: Service) -> None:
    """Without liveness a duplicate under review says both."""
    patch = TenantPatch(liveness_policy=LivenessPolicy.REQUIRED, duplicates=DuplicatePolicy.REVIEW)
    await service.enrolled("bob", TWIN)
    token = await service.ready()
    await change_settings(service.deps, service.tenant.id, patch)
    await service.submitted(token, "face 5")
    assert await reasons(service) == ["duplicate_face", "liveness_unavailable"]


async def test_an_accepted_selfie_is_searched_by_its_worker(service: Service) -> None:
    """Judged later it is judged the same, flags and all."""
    await service.enrolled("bob", "face 22")
    token = await service.ready()
    await accept(service.deps, token, b"face 5")
    ((subject, job),) = await service.deps.jobs.claim(10)
    await judge_job(service.deps, subject, job)
    assert (await service.only_session()).status == "approved"
    assert len(await service.keys("*:flag:*")) == 1


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
async def test_the_other_learns_of_a_flag_though_the_link_breaks(
    service: Service, fault: Fault
) -> None:
    """The verdict stands and is answered; the word to the other is given later."""
    other = await service.enrolled("bob", "face 22")
    token = await service.ready()
    service.clock.faults = [Fault.NONE, Fault.NONE, fault]
    assert (await service.submitted(token, "face 5")).http_status == 200
    service.clock.faults = []
    assert await owed(service) == 1
    assert await run_due(service.deps) == 1
    assert len(await matched(service, other)) == 1
    assert await owed(service) == 0
