"""The blocklist: faces that nobody may come in with unseen, whatever name they give.

A blocked face is a customer of a name that nobody can give. Whoever is blocked by their customer's
id is blocked with copies of their templates: those stay when the customer is erased.
"""

from dataclasses import dataclass, field

from pipeline.evidence import Template
from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.change import Change, EnrolledFace, Snapshot
from serve.domain.erasure import ErasureReceipt
from serve.domain.ids import (
    Prefix,
    Subject,
    keyed_digest,
    make_id,
    partition_of,
)
from serve.domain.operation import Operation
from serve.domain.search.block import Block, customer_of
from serve.domain.search.gallery import GalleryKind, blocked_customer_id
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows import customers
from serve.flows.audit import noted
from serve.flows.transact import carried_out, new_id, retried, transact
from serve.ports import Page


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """Whom to block: who is on a `selfie`, or the customer of that id; never both."""

    selfie: bytes | None = field(default=None, repr=False)
    customer_id: str = field(default="", repr=False)
    reason: str = field(default="", repr=False)


async def block_face(
    deps: Deps, principal: Principal, request: BlockRequest, op: Operation
) -> Block:
    """Block a face in the key's world; a repeat of `op` gets the same entry.

    Raises what `fit_evidence` raises for a selfie, `not_found` for a customer without a face, and
    `storage_low`.
    """
    block_id, subject = _place(deps, principal, op)
    if (done := await carried_out(deps, subject, op)) is not None:
        return Block.model_validate_json(done)
    await deps.headroom.check()
    templates = await _templates(deps, principal, request)
    face_ids = tuple(new_id(deps, Prefix.FACE, subject) for _ in templates)
    faces = tuple(
        EnrolledFace(face_id, template, gallery=GalleryKind.BLOCKED)
        for face_id, template in zip(face_ids, templates, strict=True)
    )

    async def decide(snapshot: Snapshot) -> Change | None:
        block = Block(
            id=block_id,
            tenant_id=principal.tenant_id,
            mode=principal.mode,
            reason=request.reason,
            model_id=deps.model_id,
            faces=len(faces),
            created_at_ms=snapshot.now_ms,
        )
        return Change(
            customer_of(block, face_ids),
            faces=faces,
            blocks=(block,),
            audit=(AuditEntry(Action.FACE_BLOCKED, principal.actor, block_id),),
            answer=block.dump(),
        )

    committed = await transact(deps, subject, op, decide)
    return Block.model_validate_json(committed.answer)


async def page(deps: Deps, principal: Principal, cursor: str, limit: int) -> Page[Block]:
    """The blocklist, newest first. Raises `cursor_invalid`."""
    found = await deps.blocklist.page(principal.tenant_id, principal.mode, cursor, limit)
    entry = AuditEntry(Action.BLOCKLIST_READ, principal.actor, count=len(found.items))
    await noted(deps, Concern(principal.tenant_id, principal.mode), entry)
    return found


async def one(deps: Deps, principal: Principal, block_id: str) -> Block:
    """One entry. Raises `not_found`."""
    found = await deps.blocklist.one(principal.tenant_id, principal.mode, block_id)
    if found is None:
        raise _unknown()
    entry = AuditEntry(Action.BLOCKLIST_READ, principal.actor, block_id)
    await noted(deps, Concern.of(_subject(deps, principal, block_id)), entry)
    return found


async def unblock(deps: Deps, principal: Principal, block_id: str, op: Operation) -> ErasureReceipt:
    """Take a face off the blocklist and erase it, as a customer is erased.

    Raises `not_found` and `erasure_unavailable`.
    """
    if _subject(deps, principal, block_id).partition != partition_of(Prefix.BLOCK, block_id):
        raise _unknown()
    try:
        return await customers.erase(deps, principal, blocked_customer_id(block_id), op)
    except ServeError as error:
        if error.code is Code.NOT_FOUND:
            raise _unknown() from error
        raise


def _place(deps: Deps, principal: Principal, op: Operation) -> tuple[str, Subject]:
    """Id and subject of the entry that `op` makes: the same whenever it is carried out."""
    random = bytes.fromhex(keyed_digest(deps.pepper, "block", op.id))
    subject = _subject(deps, principal, make_id(Prefix.BLOCK, 0, random))
    return make_id(Prefix.BLOCK, subject.partition, random), subject


def _subject(deps: Deps, principal: Principal, block_id: str) -> Subject:
    name = blocked_customer_id(block_id)
    return deps.ledger.subject(principal.tenant_id, principal.mode, name)


async def _templates(
    deps: Deps, principal: Principal, request: BlockRequest
) -> tuple[Template, ...]:
    if request.selfie is not None:
        evidence = await customers.fit_evidence(deps, request.selfie, principal.tenant_id)
        return (customers.made_template(evidence),)
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, request.customer_id)
    found = await retried(deps, subject, deps.ledger.templates)
    templates = tuple(item for item in found.values() if item.model_id == deps.model_id)
    if not templates:
        raise ServeError(Code.NOT_FOUND, "no customer with a face")
    return templates


def _unknown() -> ServeError:
    return ServeError(Code.NOT_FOUND, "no such entry of the blocklist")
