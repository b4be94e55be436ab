"""Customers: their reference faces, what is known of them, and their erasure."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Feedback, Template
from pipeline.face.steps import REFERENCE, SELFIE, Plan
from pipeline.image.decode import encode_jpeg
from serve.deps import Deps
from serve.domain.audit import SERVICE, Action, Actor, AuditEntry, Concern
from serve.domain.change import Change, EnrolledFace, Snapshot
from serve.domain.customer import REFERENCES_MAX, Customer, Reference
from serve.domain.erasure import ErasureReceipt, receipt_of, tombstone_of
from serve.domain.ids import Prefix, Subject, keyed_digest, renamed
from serve.domain.operation import Operation
from serve.domain.search.findings import LEASE_MS
from serve.domain.search.gallery import GalleryKind, Standing
from serve.domain.search.pairs import count_flagged
from serve.domain.search.screening import Screening
from serve.domain.session import KycStatus
from serve.domain.sweeps.signals import SignalKind, joined, signals_of
from serve.domain.tenancy.api_key import Principal
from serve.domain.verifications.verification import (
    Verification,
    VerificationKind,
    VerificationStatus,
)
from serve.errors import STATUSES, CaptureUnfit, Code, ServeError
from serve.flows.access import tenant_of
from serve.flows.audit import noted
from serve.flows.search.flags import forget_erased
from serve.flows.search.screen import judge_enrolment, screen_enrolment
from serve.flows.transact import new_id, retried, transact
from serve.observe import metrics

CHIP_QUALITY = 95
SESSIONS_COUNTED_MAX = 100
NOTHING_ERASED = frozenset({Code.VERSION_CONFLICT, Code.OVERLOADED})
NO_PRIOR_KYC = "The customer has no prior KYC."
VERIFIED = "The customer has a verified face."
STATUSES_OF = {
    Standing.APPROVED: VerificationStatus.APPROVED,
    Standing.REFUSED: VerificationStatus.REJECTED,
}


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """A photo of a customer's face; `consent_id` names the tenant's record of the consent, and
    `signals` are the tenant's hashes of what the customer gave beside it.
    """

    customer_id: str = field(repr=False)
    image: bytes = field(repr=False)
    consent_id: str | None = field(default=None, repr=False)
    signals: Mapping[SignalKind, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """A reference face, and what the search for it among all others came to so far.

    `quality` maps each measure to 0 to 100, or None if not assessed. `duplicates` is how many other
    customers this one is flagged with whom nobody told apart. `verification_id` is None for a face
    from before there were verifications.
    """

    face_id: str
    customer_id: str = field(repr=False)
    quality: dict[str, int | None]
    feedback: tuple[str, ...]
    model: str
    verification_id: str | None
    status: VerificationStatus
    duplicates: int
    is_repeat: bool = False


async def enrol(
    deps: Deps, principal: Principal, request: EnrolRequest, op: Operation
) -> EnrolAnswer:
    """Keep the face in the image as a reference of the customer, who begins to exist with it.

    It is compared with once it has been searched among all others and nothing speaks against it.
    The same photo again answers the same face as it stands now, and says so unless it is this
    operation's; signals that come with it are kept. Raises `references_full`, `capture_unfit` or
    the code of an unreadable image as `CaptureUnfit`, `overloaded`, `service_unavailable`,
    `storage_low`; whatever it raises, a face that was kept is searched for later, or when the same
    photo comes again.
    """
    tenant = await tenant_of(deps, principal)
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, request.customer_id)
    op.subject = subject
    digest = await asyncio.to_thread(lambda: hashlib.sha256(request.image).hexdigest())
    photo_digest = keyed_digest(deps.pepper, "photo", subject.key, digest)
    given = signals_of(deps.pepper, subject, request.signals)
    snapshot = await deps.ledger.snapshot(subject)
    op.concerns(snapshot)
    known = _known(snapshot.customer, photo_digest)
    if known is not None:
        if not given:
            await deps.ledger.confirm(snapshot)
        await _keep_signals(deps, principal, op, known, given)
        is_own = op.may_repeat and await deps.ledger.answer(snapshot, op.id) is not None
        answer = await _answer(deps, subject, request.customer_id, known)
        return replace(answer, is_repeat=not is_own)
    await deps.headroom.check()
    evidence = await fit_evidence(
        deps, request.image, tenant.id, plan=REFERENCE if tenant.keep_reference_images else SELFIE
    )
    face = await _face(new_id(deps, Prefix.FACE, subject), evidence)
    reference = _held(face, evidence, request.consent_id, photo_digest)

    async def decide(snapshot: Snapshot) -> Change | None:
        nonlocal known
        known = _known(snapshot.customer, photo_digest)
        if known:
            return None
        change = _with_reference(snapshot, request.customer_id, face, reference, given)
        entry = AuditEntry(Action.CUSTOMER_ENROLLED, principal.actor, face.face_id)
        return replace(change, audit=(entry,))

    done = await transact(deps, subject, op, decide)
    if done.is_repeat:
        known = _known((await deps.ledger.snapshot(subject)).customer, photo_digest)
    status = None
    if known is not None:
        await _keep_signals(deps, principal, op, known, given)
    else:
        owed = _owed(reference, 0)
        status = await judge_enrolment(deps, subject, owed, face.template)
    answer = await _answer(deps, subject, request.customer_id, known or reference, status)
    return replace(answer, is_repeat=known is not None and not done.is_repeat)


async def erase(
    deps: Deps, principal: Principal, customer_id: str, op: Operation
) -> ErasureReceipt:
    """Delete everything about the customer; the receipt says what is done and what is due when.

    A repeat of `op` gets the same receipt. Raises `not_found` for a customer who does not exist,
    or does not any more, and `erasure_unavailable`.
    """
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, customer_id)
    erasure_id = new_id(deps, Prefix.ERASURE, subject)

    async def attempt(snapshot: Snapshot) -> ErasureReceipt:
        if op.may_repeat and (found := await deps.ledger.receipt(subject, op.id)) is not None:
            await deps.ledger.confirm(snapshot)
            return found
        if snapshot.customer is None:
            await deps.ledger.confirm(snapshot)  # it may have been erased a moment ago
            raise ServeError(Code.NOT_FOUND, "no such customer")
        return await erase_as_of(deps, snapshot, erasure_id, op, principal.actor)

    return await retried(deps, subject, attempt)


async def erase_as_of(
    deps: Deps, snapshot: Snapshot, erasure_id: str, op: Operation, actor: Actor = SERVICE
) -> ErasureReceipt:
    """Delete what `snapshot` shows, with a tombstone first, so that no backup undoes it.

    Where it cannot be told whether anything was deleted, the tombstone stays: the tenant did ask.
    Raises `version_conflict`, `erasure_unavailable`.
    """
    sessions = await deps.listings.sessions(snapshot, None, SESSIONS_COUNTED_MAX)
    destroyed_by_ms = deps.ledger.epoch_destroyed_by_ms(snapshot.epoch)
    receipt = receipt_of(erasure_id, snapshot, len(sessions), destroyed_by_ms)
    tombstone = tombstone_of(receipt, snapshot.subject)
    entry = AuditEntry(_erasing(snapshot.customer), actor, erasure_id)
    await deps.tombstones.put(tombstone)
    try:
        done = await deps.ledger.erase(snapshot, receipt, op.id, (entry,))
    except ServeError as error:
        if error.code in NOTHING_ERASED:
            await deps.tombstones.remove(tombstone)
        raise
    if done.is_repeat:  # that erasure has a tombstone of its own
        await deps.tombstones.remove(tombstone)
    else:
        metrics.count_audit(entry.action)
        if snapshot.customer is not None:
            await forget_erased(deps, snapshot.subject, snapshot.customer)
    return ErasureReceipt.model_validate_json(done.answer)


def _erasing(customer: Customer | None) -> Action:
    """What it is called: a blocked face is a customer only in how it is kept."""
    is_blocked = customer is not None and customer.gallery is GalleryKind.BLOCKED
    return Action.FACE_UNBLOCKED if is_blocked else Action.CUSTOMER_ERASED


async def erasure(deps: Deps, principal: Principal, erasure_id: str) -> ErasureReceipt:
    """How far an erasure has come. Raises `not_found`."""
    receipt = await deps.listings.erasure(principal.tenant_id, principal.mode, erasure_id)
    if receipt is None:
        raise ServeError(Code.NOT_FOUND, "no such erasure")
    world = Concern(principal.tenant_id, principal.mode)  # whose erasure it was is not known
    await noted(deps, world, AuditEntry(Action.ERASURE_READ, principal.actor, erasure_id))
    return receipt


async def kyc_status(deps: Deps, principal: Principal, customer_id: str) -> tuple[KycStatus, str]:
    """Whether there is a verified face to compare with, and a sentence for the tenant."""
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, customer_id)
    customer = (await deps.ledger.snapshot(subject)).customer
    await noted(deps, Concern.of(subject), AuditEntry(Action.CUSTOMER_READ, principal.actor))
    if customer is not None and customer.has_prior_kyc:
        return KycStatus.APPROVED, VERIFIED
    return KycStatus.PENDING, NO_PRIOR_KYC


def _known(customer: Customer | None, photo_digest: str) -> Reference | None:
    """The face that this photo is already. Raises `references_full` if it is none and none fits."""
    if customer is None:
        return None
    found = customer.reference_of(photo_digest)
    if found is None and len(customer.references) >= REFERENCES_MAX:
        raise ServeError(Code.REFERENCES_FULL, f"{REFERENCES_MAX} reference faces are kept")
    return found


def _held(
    face: EnrolledFace, evidence: FaceEvidence, consent_id: str | None, photo_digest: str
) -> Reference:
    """A reference that is not compared with yet; it is dated when it is committed."""
    return Reference(
        face_id=face.face_id,
        model_id=face.template.model_id,
        enrolled_at_ms=0,
        consent_id=consent_id,
        has_chip=face.chip is not None,
        photo_digest=photo_digest,
        standing=Standing.HELD,
        verification_id=renamed(Prefix.VERIFICATION, face.face_id),
        quality={part.measure.value: part.value for part in evidence.quality},
    )


async def _keep_signals(
    deps: Deps, principal: Principal, op: Operation, known: Reference, given: tuple[str, ...]
) -> None:
    """Add what came with a photo that was a face already, where it is new."""
    if not given or op.subject is None:
        return

    async def decide(snapshot: Snapshot) -> Change | None:
        customer = snapshot.customer
        if customer is None or set(given) <= set(customer.signals):
            return None
        signals = joined(customer.signals, given)
        entry = AuditEntry(Action.CUSTOMER_ENROLLED, principal.actor, known.face_id, "signals")
        return Change(customer.model_copy(update={"signals": signals}), audit=(entry,))

    await transact(deps, op.subject, replace(op, id=f"signals-{op.id}"), decide)


async def _answer(
    deps: Deps,
    subject: Subject,
    customer_id: str,
    kept: Reference,
    status: VerificationStatus | None = None,
) -> EnrolAnswer:
    """What is told of a reference; only a photo with nothing to improve becomes one.

    One that is held back is searched for, unless that was done just now and came to `status`.
    Raises `not_found` when the customer has been erased meanwhile.
    """
    customer = (await deps.ledger.snapshot(subject)).customer
    reference = _reference(customer, kept.face_id)
    if status is None and reference.standing is Standing.HELD:
        status = await screen_enrolment(deps, subject, _owed(reference, 0))
        customer = (await deps.ledger.snapshot(subject)).customer
    return EnrolAnswer(
        face_id=reference.face_id,
        customer_id=customer_id,
        quality=reference.quality,
        feedback=(Feedback.OK,),
        model=reference.model_id,
        verification_id=reference.verification_id or None,
        status=STATUSES_OF.get(reference.standing, status or VerificationStatus.NEEDS_REVIEW),
        duplicates=0 if customer is None else count_flagged(customer),
    )


def _reference(customer: Customer | None, face_id: str) -> Reference:
    for reference in () if customer is None else customer.references:
        if reference.face_id == face_id:
            return reference
    raise ServeError(Code.NOT_FOUND, "the customer was erased meanwhile")


def _owed(reference: Reference, due_ms: int) -> Screening:
    """The search for a reference, written down with it and gone when it was made."""
    return Screening(
        id=renamed(Prefix.SCREENING, reference.face_id),
        verification_id=reference.verification_id,
        face_id=reference.face_id,
        due_ms=due_ms,
    )


async def fit_evidence(
    deps: Deps, image: bytes, tenant_id: str, *, plan: Plan = SELFIE
) -> FaceEvidence:
    """Evidence of an image fit to be compared with.

    Raises `capture_unfit` or the code of an unreadable image as `CaptureUnfit`, `overloaded`,
    `service_unavailable`.
    """
    evidence = await deps.faces.examine(image, tenant_id=tenant_id, plan=plan)
    if isinstance(evidence, Failure):
        if STATUSES.get(evidence.code) != 422:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "the models failed", retry_after_s=1)
        metrics.count_unfit(evidence.code)
        raise CaptureUnfit(evidence.code, evidence.detail, feedback=("other",))
    if not evidence.is_fit:
        metrics.count_unfit(Code.CAPTURE_UNFIT)
        detail = "the photo cannot be compared with"
        raise CaptureUnfit(Code.CAPTURE_UNFIT, detail, feedback=tuple(evidence.feedback))
    return evidence


def made_template(evidence: FaceEvidence) -> Template:
    """The template of a fit face. Raises `service_unavailable` when none was made."""
    if not isinstance(evidence.template, Template):
        raise ServeError(Code.SERVICE_UNAVAILABLE, "no template was made", retry_after_s=1)
    return evidence.template


async def _face(face_id: str, evidence: FaceEvidence) -> EnrolledFace:
    template, chip = made_template(evidence), None
    if evidence.chip is not None:
        chip = await asyncio.to_thread(encode_jpeg, evidence.chip, CHIP_QUALITY)
    return EnrolledFace(face_id, template, chip)


def _with_reference(
    snapshot: Snapshot,
    customer_id: str,
    face: EnrolledFace,
    reference: Reference,
    given: tuple[str, ...],
) -> Change:
    """The face, held back, its verification, and the search that is owed for it; and the signals
    that came with it.
    """
    subject, now_ms = snapshot.subject, snapshot.now_ms
    customer = snapshot.customer or Customer(customer_id=customer_id, created_at_ms=now_ms)
    dated = reference.model_copy(update={"enrolled_at_ms": now_ms})
    kept = {
        "references": (*customer.references, dated),
        "signals": joined(customer.signals, given),
    }
    enrolled = customer.model_copy(update=kept)
    verification = Verification(
        id=reference.verification_id,
        tenant_id=subject.tenant_id,
        mode=subject.mode,
        kind=VerificationKind.ENROLMENT,
        customer_id=customer_id,
        reference=customer_id,
        status=VerificationStatus.PROCESSING,
        face_id=face.face_id,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
    return Change(
        customer=enrolled,
        faces=(face,),
        verifications=(verification,),
        screenings=(_owed(dated, now_ms + LEASE_MS),),
    )
