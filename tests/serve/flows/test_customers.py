"""Customers: enrolment, what is known of them, and erasure, on a real store."""

import asyncio

import pytest

from pipeline.image.decode import decode
from pipeline.image.header import read_header
from serve.domain.customer import REFERENCES_MAX
from serve.domain.erasure import ErasureStep
from serve.domain.ids import Prefix
from serve.domain.session import KycStatus
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import CaptureUnfit, Code, ServeError
from serve.flows.customers import EnrolRequest, enrol, erase, erasure, kyc_status
from serve.flows.tenants import change_settings
from serve.flows.transact import new_operation
from serve.store.vault.sealing import unseal
from tests.helpers.records import an_id
from tests.helpers.service import Service, refusal, stranger
from tests.helpers.toy_faces import MODEL


async def test_an_enrolled_face_can_be_compared_with(service: Service) -> None:
    """The answer names it and its model, and the customer has prior KYC from then on."""
    assert (await kyc_status(service.deps, service.live, "alice"))[0] is KycStatus.PENDING
    answer = await service.enrolled()
    assert answer.face_id.startswith("fac_")
    assert (answer.customer_id, answer.model) == ("alice", MODEL)
    assert (answer.feedback, answer.is_repeat) == (("ok",), False)
    assert (await kyc_status(service.deps, service.live, "alice"))[0] is KycStatus.APPROVED
    assert (await kyc_status(service.deps, service.test, "alice"))[0] is KycStatus.PENDING


async def test_the_same_photo_is_one_face(service: Service) -> None:
    """Sent again, also at the same time, it is answered the same and kept once."""
    answers = await asyncio.gather(*(service.enrolled() for _ in range(4)))
    assert len({answer.face_id for answer in answers}) == 1
    assert sorted(answer.is_repeat for answer in answers) == [False, True, True, True]
    assert (await service.enrolled()).is_repeat
    assert len(await service.keys("*:chip:*")) == 1
    other = await service.enrolled("bob")
    assert not other.is_repeat


async def test_there_are_five_references_at_most(service: Service) -> None:
    """The sixth is refused, whoever comes first, and a repeat of a kept one is not."""
    images = [f"face {number}" for number in range(REFERENCES_MAX + 2)]
    calls = [service.enrolled(image=image) for image in images]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, ServeError)]
    assert {error.code for error in refused} <= {Code.REFERENCES_FULL, Code.VERSION_CONFLICT}
    for image in images:
        await refusal(service.enrolled(image=image))
    assert len(await service.keys("*:chip:*")) == REFERENCES_MAX
    assert await refusal(service.enrolled(image="face 99")) == Code.REFERENCES_FULL


@pytest.mark.parametrize(
    ("image", "code", "hint"),
    [
        ("nobody", "capture_unfit", "face_not_found"),
        ("blurred 0", "capture_unfit", "blur_selfie"),
        ("broken", "image_corrupt", "other"),
    ],
)
async def test_an_unfit_photo_is_no_reference(
    service: Service, image: str, code: str, hint: str
) -> None:
    """It is refused with hints, and the customer does not begin to exist by it."""
    with pytest.raises(CaptureUnfit) as refused:
        await service.enrolled(image=image)
    assert (refused.value.code, refused.value.feedback[0]) == (code, hint)
    assert await service.keys("*:customer:*") == []


@pytest.mark.parametrize("image", ["device", "modelless"])
async def test_what_the_models_cannot_do_is_not_the_photos_fault(
    service: Service, image: str
) -> None:
    """Without a template nothing is kept, and the caller may try again."""
    assert await refusal(service.enrolled(image=image)) == Code.SERVICE_UNAVAILABLE
    assert await service.keys("*:customer:*") == []


async def test_the_chip_is_kept_sealed(service: Service) -> None:
    """It is a JPEG of the aligned face, readable only with the customer's key."""
    answer = await service.enrolled()
    (key,) = await service.keys("*:chip:*")
    sealed = await service.stored(key)
    subject = service.deps.ledger.subject(service.tenant.id, service.live.mode, "alice")
    snapshot = await service.deps.ledger.snapshot(subject)
    chip = unseal(snapshot.data_key, sealed, f"chip|{answer.face_id}")
    assert decode(chip, read_header(chip), 150).pixels.shape == (150, 150, 3)
    assert chip[:16] not in sealed


async def test_a_tenant_may_refuse_to_keep_chips(service: Service) -> None:
    """Then none is stored, and the record says so."""
    patch = TenantPatch(keep_reference_images=False)
    await change_settings(service.deps, service.tenant.id, patch)
    await service.enrolled()
    assert await service.keys("*:chip:*") == []
    subject = service.deps.ledger.subject(service.tenant.id, service.live.mode, "alice")
    customer = (await service.deps.ledger.snapshot(subject)).customer
    assert customer is not None
    assert [reference.has_chip for reference in customer.references] == [False]


async def test_consent_is_remembered(service: Service) -> None:
    """The reference carries the consent it was given under."""
    await enrol(
        service.deps,
        service.live,
        EnrolRequest("alice", b"face 0", "consent-1"),
        new_operation(service.deps),
    )
    subject = service.deps.ledger.subject(service.tenant.id, service.live.mode, "alice")
    customer = (await service.deps.ledger.snapshot(subject)).customer
    assert customer is not None
    assert customer.references[0].consent_id == "consent-1"


async def test_erasure_leaves_nothing_but_a_receipt(service: Service) -> None:
    """Search and store are done at once, the rest is dated, and nobody is named."""
    token = await service.ready()
    await service.submitted(token, "face 60")
    receipt = await erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert (receipt.faces, receipt.sessions) == (1, 1)
    done = [step.step for step in receipt.steps if step.done_at_ms is not None]
    assert done == [ErasureStep.SEARCH, ErasureStep.STORE]
    assert await erasure(service.deps, service.live, receipt.id) == receipt
    for kind in ("customer", "session", "handoff", "chip", "event", "owned", "sessions"):
        assert await service.keys(f"*:{kind}:*") == []
    assert (await kyc_status(service.deps, service.live, "alice"))[0] is KycStatus.PENDING


async def test_an_erased_customer_may_come_back(service: Service) -> None:
    """The same photo is then a new face of a new customer, and not the answer of old."""
    first = await service.enrolled()
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    again = await service.enrolled()
    assert not again.is_repeat
    assert again.face_id != first.face_id
    assert (await service.opened()).is_required


async def test_nobody_is_erased_twice(service: Service) -> None:
    """A customer who is not there, or not this tenant's, is not found; so are their receipts."""
    await service.enrolled()
    for principal in (stranger(), service.test):
        assert (
            await refusal(erase(service.deps, principal, "alice", new_operation(service.deps)))
            == Code.NOT_FOUND
        )
    receipt = await erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert (
        await refusal(erase(service.deps, service.live, "alice", new_operation(service.deps)))
        == Code.NOT_FOUND
    )
    assert await refusal(erasure(service.deps, service.test, receipt.id)) == Code.NOT_FOUND
    unknown = an_id(Prefix.ERASURE, 7)
    assert await refusal(erasure(service.deps, service.live, unknown)) == Code.NOT_FOUND


async def test_a_photo_is_the_same_face_for_good(service: Service) -> None:
    """Long after the operation is forgotten, the same bytes enrol nothing new."""
    first = await service.enrolled()
    for key in await service.keys("*:op:*"):
        await service.link.delete(key)
    again = await service.enrolled()
    assert (again.face_id, again.quality, again.is_repeat) == (first.face_id, first.quality, True)
    other = await service.enrolled(image="face 1")
    assert other.face_id != first.face_id
