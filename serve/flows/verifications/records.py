"""Verifications as a tenant has them: created, listed, read, reviewed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pipeline.decision.verdict import Outcome
from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.change import Change, Snapshot
from serve.domain.customer import Customer
from serve.domain.ids import PARTITIONS, Prefix, Subject, keyed_digest, make_id
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal, Scope
from serve.domain.verifications.rules import reviewed, view_of
from serve.domain.verifications.verification import (
    Applicant,
    DocumentType,
    Verification,
    VerificationKind,
    VerificationStatus,
)
from serve.errors import Code, ServeError
from serve.flows.access import require
from serve.flows.audit import noted
from serve.flows.sessions import review_session
from serve.flows.transact import new_id, transact
from serve.ports import Page

PLACES_MAX = 64 * PARTITIONS  # one in 64 fits, so that none does once in 10**28
_OUTCOMES: Mapping[VerificationStatus, Outcome] = MappingProxyType(
    {
        VerificationStatus.APPROVED: Outcome.APPROVED,
        VerificationStatus.REJECTED: Outcome.DECLINED,
    }
)


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What a tenant wants verified. Without a `customer_id` the verification's own id is one;
    without a `reference` it is that id as well.
    """

    document_type: DocumentType
    applicant: Applicant = field(repr=False)
    reference: str | None = field(default=None, repr=False)
    customer_id: str | None = field(default=None, repr=False)


async def create(
    deps: Deps, principal: Principal, request: CreateRequest, op: Operation
) -> Verification:
    """A pending verification; its customer begins to exist with it. A repeat of `op` gets the same.

    Raises `storage_low`, `answer_erased`.
    """
    if request.customer_id is None:
        verification_id, subject = _own_place(deps, principal, op)
        customer_id = verification_id
    else:
        customer_id = request.customer_id
        subject = deps.ledger.subject(principal.tenant_id, principal.mode, customer_id)
        verification_id = new_id(deps, Prefix.VERIFICATION, subject)

    async def decide(snapshot: Snapshot) -> Change:
        await deps.headroom.check()
        now_ms = snapshot.now_ms
        made = Verification(
            id=verification_id,
            tenant_id=principal.tenant_id,
            mode=principal.mode,
            kind=VerificationKind.CREATED,
            customer_id=customer_id,
            reference=request.reference or verification_id,
            status=VerificationStatus.PENDING,
            document_type=request.document_type,
            applicant=request.applicant,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        customer = snapshot.customer or Customer(customer_id=customer_id, created_at_ms=now_ms)
        if (name := request.applicant.name) is not None:
            customer = customer.model_copy(update={"name": name})
        entry = AuditEntry(Action.VERIFICATION_CREATED, principal.actor, verification_id)
        return Change(customer, verifications=(made,), audit=(entry,), answer=made.dump())

    done = await transact(deps, subject, op, decide)
    return Verification.model_validate_json(done.answer)


async def page(deps: Deps, principal: Principal, cursor: str, limit: int) -> Page[Verification]:
    """The tenant's verifications, its sessions among them, newest first. Raises
    `cursor_invalid`.
    """
    found = await deps.verifications.page(principal.tenant_id, principal.mode, cursor, limit)
    world = Concern(principal.tenant_id, principal.mode)
    entry = AuditEntry(Action.VERIFICATION_READ, principal.actor, count=len(found.items))
    await noted(deps, world, entry)
    return found


async def verification(deps: Deps, principal: Principal, verification_id: str) -> Verification:
    """One verification. Raises `not_found`."""
    subject, found = await _found(deps, principal, verification_id)
    entry = AuditEntry(Action.VERIFICATION_READ, principal.actor, verification_id)
    await noted(deps, Concern.of(subject), entry)
    return found


async def review(
    deps: Deps,
    principal: Principal,
    verification_id: str,
    decision: VerificationStatus,
    op: Operation,
) -> Verification:
    """Write down a reviewer's decision, approved or rejected; a repeat of `op` gets the same.

    That of a session is the session's: its `callback_url` is told, and the key has to be one for
    sessions. Of an enrolment the face may be compared with from then on, or never. Raises
    `not_found`, `scope_missing`, `verification_closed`.
    """
    subject, found = await _found(deps, principal, verification_id)
    if found.kind is VerificationKind.SESSION:
        require(principal, Scope.SESSIONS)
        return await _review_session(deps, principal, found.session_id, decision, op)

    async def decide(snapshot: Snapshot) -> Change:
        if snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such verification")
        _, before = await _found(deps, principal, verification_id)
        after, customer = reviewed(before, snapshot.customer, decision, snapshot.now_ms)
        entry = AuditEntry(
            Action.VERIFICATION_REVIEWED, principal.actor, verification_id, after.status
        )
        is_again = before.kind is VerificationKind.REVERIFICATION
        return Change(
            customer,
            verifications=(after,),
            captures={verification_id: None} if is_again else {},
            audit=(entry,),
            answer=after.dump(),
        )

    done = await transact(deps, subject, op, decide)
    return Verification.model_validate_json(done.answer)


async def _review_session(
    deps: Deps,
    principal: Principal,
    session_id: str,
    decision: VerificationStatus,
    op: Operation,
) -> Verification:
    try:
        return view_of(await review_session(deps, principal, session_id, _OUTCOMES[decision], op))
    except ServeError as error:
        if error.code is Code.SESSION_CLOSED:
            raise ServeError(Code.VERIFICATION_CLOSED, error.detail) from error
        raise


async def _found(
    deps: Deps, principal: Principal, verification_id: str
) -> tuple[Subject, Verification]:
    found = await deps.verifications.one(principal.tenant_id, principal.mode, verification_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such verification")
    return found


def _own_place(deps: Deps, principal: Principal, op: Operation) -> tuple[str, Subject]:
    """An id that names its own customer, and where that one's records lie.

    The id carries the partition that its own digest leads to: about one in 64 does, so they are
    tried. It is the operation's alone, so that a repeat looks where the first one wrote.
    """
    for number in range(PLACES_MAX):
        drawn = keyed_digest(deps.pepper, "verification", op.id, str(number // PARTITIONS))
        name = make_id(Prefix.VERIFICATION, number % PARTITIONS, bytes.fromhex(drawn))
        subject = deps.ledger.subject(principal.tenant_id, principal.mode, name)
        if subject.partition == number % PARTITIONS:
            return name, subject
    raise ServeError(Code.OVERLOADED, "no id leads to its own place", retry_after_s=1)
