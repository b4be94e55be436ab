"""A person verified again: every way it can end, on a real store."""

import asyncio
from dataclasses import replace

import pytest

from pipeline.decision.policy import LivenessPolicy
from serve.domain.alert import AlertType
from serve.domain.ids import Mode
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import CaptureUnfit, Code
from serve.flows import alerts
from serve.flows.customers import erase
from serve.flows.search.blocklist import BlockRequest, block_face
from serve.flows.tenants import change_own_settings
from serve.flows.transact import new_operation
from serve.inference.search.absent import AbsentIndex
from tests.helpers.service import HOUR_MS, MINUTE_MS, Service, refusal, repeatable, stranger
from tests.serve.verifications.again import WatchedFaces, again, ask_for, holding, issued, listed

LOCK = 10
DAY_MINUTES = 24 * HOUR_MS // MINUTE_MS


async def lockouts(service: Service) -> list[str]:
    """Verifications of the alerts that tell of a lock."""
    found = await alerts.page(service.deps, service.live, None, "", 100)
    return [item.verification_id for item in found.items if item.alert_type is AlertType.LOCKOUT]


async def failed(service: Service, token: str, times: int) -> None:
    """So many mismatches."""
    for number in range(times):
        made = await again(service, token, f"face {90 + number}")
        assert made.reasons[0] == "face_mismatch"


@pytest.mark.parametrize(
    ("policy", "image", "status", "reasons"),
    [
        ("required", "live 1", "approved", []),
        ("required", "face 1", "needs_review", ["liveness_unavailable"]),
        ("required", "spoof 1", "rejected", ["presentation_attack"]),
        ("required", "live 60", "rejected", ["face_mismatch"]),
        ("required", "face 60", "rejected", ["face_mismatch", "liveness_unavailable"]),
        ("match_only", "live 1", "approved", []),
        ("match_only", "face 1", "approved", ["liveness_not_checked"]),
        ("match_only", "spoof 1", "rejected", ["presentation_attack"]),
        ("match_only", "face 60", "rejected", ["face_mismatch", "liveness_not_checked"]),
        ("required", "modelless", "needs_review", ["service_unavailable", "liveness_unavailable"]),
    ],
)
async def test_it_ends_as_a_session_would(
    service: Service, policy: str, image: str, status: str, reasons: list[str]
) -> None:
    """A match with evidence of liveness is approved; without it a reviewer decides, unless the
    tenant asks for a match alone; anybody else is rejected.
    """
    service.faces.engine = WatchedFaces()
    token = await holding(service)
    await ask_for(service, LivenessPolicy(policy))
    made = await again(service, token, image)
    assert (made.status, list(made.reasons)) == (status, reasons)
    assert made.kind == "reverification"
    assert (made.customer_id, made.reference) == ("alice", made.id)
    if image != "modelless":
        assert made.face_match is not None
        assert made.face_match.is_match == ("60" not in image)
    assert (made.liveness is not None) == image.startswith(("live", "spoof"))
    assert made in await listed(service)


async def test_the_best_of_several_references_counts(service: Service) -> None:
    """Whoever looks like any of the customer's faces is the customer."""
    await service.enrolled(image="face 0")
    await service.enrolled(image="face 15")
    made = await again(service, await issued(service), "face 30")
    assert made.status == "approved"


async def test_an_unfit_capture_is_no_attempt(service: Service) -> None:
    """It is refused with what to do better, and neither counted nor kept."""
    token = await holding(service)
    before = await listed(service)
    for image, code, feedback in (
        ("nobody", Code.CAPTURE_UNFIT, ("face_not_found",)),
        ("crowd 3", Code.CAPTURE_UNFIT, ("multi_face", "blur_selfie")),
        ("broken", "image_corrupt", ("other",)),
    ):
        for _ in range(LOCK):
            with pytest.raises(CaptureUnfit) as refused:
                await again(service, token, image)
            assert (refused.value.code, refused.value.feedback) == (code, feedback)
    assert await listed(service) == before
    assert (await again(service, token)).status == "approved"


async def test_ten_failures_lock(service: Service) -> None:
    """Then nobody looks any more, whoever comes; one alert tells of it; a day later it is over."""
    token = await holding(service)
    await failed(service, token, LOCK)
    assert await lockouts(service) == []
    looked = len(service.faces.asked)
    shut = [await again(service, token, "face 0") for _ in range(2)]
    for made in shut:
        assert (made.status, list(made.reasons)) == ("rejected", ["locked_out"])
        assert made.face_match is None
    assert len(service.faces.asked) == looked
    assert await lockouts(service) == [shut[0].id]
    await service.advance(DAY_MINUTES + 1)
    assert (await again(service, token, "face 0")).status == "approved"


async def test_a_lock_is_the_same_for_sessions(service: Service) -> None:
    """Failures of either kind add up, and shut both."""
    token = await holding(service)
    await failed(service, token, LOCK - 1)
    session = (await service.opened()).token
    await service.submitted(session, "face 77")
    assert list((await again(service, token)).reasons) == ["locked_out"]
    await service.opened(event="password_change", reference="order-2")
    assert list((await service.only_session()).reasons) == ["locked_out"]
    assert len(await lockouts(service)) == 1


async def test_a_later_lock_is_told_of_again(service: Service) -> None:
    """The alert of the first lock speaks for that one alone."""
    token = await holding(service)
    for _ in range(2):
        await failed(service, token, LOCK)
        await again(service, token)
        await service.advance(DAY_MINUTES + 1)
    assert len(await lockouts(service)) == 2


async def test_attempts_at_once_are_all_counted(service: Service) -> None:
    """However many come together, ten see a verdict, and no score is told after that."""
    token = await holding(service)
    images = [f"face {40 + number}" for number in range(16)]
    made = await asyncio.gather(*(again(service, token, image) for image in images),
                                return_exceptions=True)  # fmt: skip
    told = [item for item in made if not isinstance(item, BaseException)]
    judged = [item for item in told if item.face_match is not None]
    assert len(judged) <= LOCK
    assert all(list(item.reasons) == ["locked_out"] for item in told if item not in judged)
    assert len(told) >= LOCK


async def test_a_repeat_is_one_attempt(service: Service) -> None:
    """The same operation again gets the same verification, and nobody looks twice."""
    token = await holding(service)
    first = await again(service, token, "face 60", op=repeatable())
    looked = len(service.faces.asked)
    for _ in range(2 * LOCK):
        assert await again(service, token, "face 60", op=repeatable()) == first
    assert len(service.faces.asked) == looked
    assert (await again(service, token)).status == "approved"


async def test_tokens_that_are_nobody_s_here_find_nothing(service: Service) -> None:
    """Of another tenant, of the other mode, unknown, malformed: all the same, and no image is
    looked at.
    """
    token = await holding(service)
    looked = len(service.faces.asked)
    for principal in (stranger(), service.test):
        assert await refusal(again(service, token, principal=principal)) == Code.NOT_FOUND
    for unknown in (f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}", "rid_", "", f"{token}A"):
        assert await refusal(again(service, unknown)) == Code.NOT_FOUND
    assert len(service.faces.asked) == looked


async def test_a_token_that_was_replaced_is_refused(service: Service) -> None:
    """For a month it is said so; the newest is the one in force."""
    old = await holding(service)
    new = await issued(service)
    looked = len(service.faces.asked)
    assert await refusal(again(service, old)) == Code.IDENTITY_REFUSED
    assert len(service.faces.asked) == looked
    assert (await again(service, new)).status == "approved"
    (key,) = [key for key in await service.keys("*:identity:*")
              if await service.link.pttl(key) > 0]  # fmt: skip
    assert await service.link.pttl(key) > 29 * 24 * HOUR_MS


async def test_an_erased_customer_s_token_finds_nothing(service: Service) -> None:
    """Nor does one of a customer who has come back since."""
    old, token = await holding(service), await issued(service)
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    for gone in (old, token):
        assert await refusal(again(service, gone)) == Code.NOT_FOUND
    assert await service.keys("*:identity:*") == []
    fresh = await holding(service)
    assert await refusal(again(service, token)) == Code.NOT_FOUND
    assert (await again(service, fresh)).status == "approved"


async def test_a_token_replaced_while_a_selfie_is_looked_at_decides_nothing(
    service: Service,
) -> None:
    """What was in force at the beginning has to be in force at the end."""
    token = await holding(service)
    before = len(await listed(service))
    async with service.faces.held() as asked:
        call = asyncio.create_task(refusal(again(service, token)))
        await asked.wait()
        await issued(service)
    assert await call == Code.IDENTITY_REFUSED
    assert len(await listed(service)) == before


async def test_a_face_on_the_blocklist_needs_a_reviewer(service: Service) -> None:
    """Always, and an alert tells of it."""
    token = await holding(service)
    block = BlockRequest(selfie=b"face 3", reason="fraud")
    await block_face(service.deps, service.live, block, new_operation(service.deps))
    made = await again(service, token)
    assert (made.status, made.reasons[0]) == ("needs_review", "blocklisted")
    found = await alerts.page(service.deps, service.live, None, "", 100)
    told = [item.verification_id for item in found.items
            if item.alert_type is AlertType.BLOCKLIST_MATCH]  # fmt: skip
    assert made.id in told


@pytest.mark.parametrize(
    ("policy", "status"),
    [("flag", "approved"), ("review", "needs_review"), ("decline", "rejected")],
)
async def test_a_face_that_others_have_ends_as_the_policy_says(
    service: Service, policy: str, status: str
) -> None:
    """Flagged, held or declined."""
    token = await holding(service)
    await service.enrolled("bob", "face 5")
    patch = TenantPatch.model_validate({"duplicates": policy})
    op = new_operation(service.deps)
    await change_own_settings(service.deps, service.live, patch, op)
    made = await again(service, token)
    assert made.status == status
    assert ("duplicate_face" in made.reasons) == (policy != "flag")


async def test_an_index_that_cannot_answer_leaves_it_to_a_reviewer(service: Service) -> None:
    """A match that nobody could be searched for is not approved."""
    token = await holding(service)
    service = replace(service, deps=replace(service.deps, index=AbsentIndex()))
    made = await again(service, token)
    assert (made.status, made.reasons[0]) == ("needs_review", "service_unavailable")


async def test_a_customer_s_world_is_the_token_s(service: Service) -> None:
    """The verification is of the mode that its customer lives in."""
    token = await holding(service)
    made = await again(service, token)
    assert (made.tenant_id, made.mode) == (service.tenant.id, Mode.LIVE)
