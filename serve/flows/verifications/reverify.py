"""A person verified before is verified again: a selfie and their reusable identity token.

    look     the models, and who else has the face; nothing is held while they run
    finish   verdict, failure and alert in one change, if the token is still in force

An unfit capture is no attempt. A mismatch, or the evidence of an attack, counts for the same lock
as a failed attempt of a session: ten of a customer in 24 hours, and nobody looks any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import Outcome, Verdict
from pipeline.evidence import Template
from serve.deps import Deps
from serve.domain.alert import Alert, AlertType
from serve.domain.audit import Action, AuditEntry
from serve.domain.change import Change, Snapshot
from serve.domain.customer import Customer, Reference, with_lockout_failure
from serve.domain.ids import Prefix, Subject
from serve.domain.operation import Operation
from serve.domain.search.findings import with_findings
from serve.domain.tenancy.api_key import Principal
from serve.domain.verifications.rules import OUTCOMES
from serve.domain.verifications.verification import Verification, VerificationKind
from serve.errors import Code, ServeError
from serve.flows.access import tenant_of
from serve.flows.customers import fit_evidence
from serve.flows.search.screen import fresh_about, tell_others
from serve.flows.transact import new_id, transact
from serve.flows.verifications.compare import Judged, Probe, judge_capture
from serve.flows.verifications.identity import holder, subject_of_token
from serve.observe import metrics

LOCKED = Judged(Verdict(Outcome.DECLINED, (Reason.LOCKED_OUT,)))


@dataclass(frozen=True, slots=True)
class ReverifyRequest:
    """A reusable identity token, and the encoded bytes of a selfie."""

    token: str = field(repr=False)
    image: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Again:
    """One re-verification on its way: whose, by which token, judged by which references."""

    subject: Subject
    verification_id: str
    alert_id: str
    request: ReverifyRequest
    references: tuple[Reference, ...]


async def reverify(
    deps: Deps, principal: Principal, request: ReverifyRequest, op: Operation
) -> Verification:
    """A new verification of the person whose token this is; a repeat of `op` gets the same.

    Raises `not_found` for a token that is unknown, or not this tenant's in this mode;
    `identity_refused` for one that was replaced, or whose customer has no face to compare with;
    `capture_unfit` or the code of an unreadable image as `CaptureUnfit`; `overloaded`,
    `service_unavailable`, `storage_low`.
    """
    subject = await subject_of_token(deps, principal, request.token)
    records = await deps.ledger.read(subject, "", op.id, to_judge=True)
    snapshot = records.snapshot
    op.concerns(snapshot)
    if op.may_repeat and records.answer is not None:
        await deps.ledger.confirm(snapshot)
        return Verification.model_validate_json(records.answer)
    customer = holder(snapshot.customer, request.token)
    await deps.headroom.check()
    again = _Again(
        subject,
        new_id(deps, Prefix.VERIFICATION, subject),
        new_id(deps, Prefix.ALERT, subject),
        request,
        customer.usable_references,
    )
    judged = LOCKED
    if not customer.is_locked(snapshot.now_ms):
        judged = await _look(deps, principal, again, records.templates)
    return await _finish(deps, principal, again, judged, op)


async def _look(
    deps: Deps, principal: Principal, again: _Again, references: Sequence[Template]
) -> Judged:
    tenant = await tenant_of(deps, principal)
    evidence = await fit_evidence(deps, again.request.image, tenant.id)
    return await judge_capture(deps, again.subject, Probe(evidence), references, tenant)


async def _finish(
    deps: Deps, principal: Principal, again: _Again, judged: Judged, op: Operation
) -> Verification:
    about = fresh_about(deps, again.subject)

    async def decide(snapshot: Snapshot) -> Change:
        customer = holder(snapshot.customer, again.request.token)
        if judged is LOCKED or customer.is_locked(snapshot.now_ms):  # by others, meanwhile
            change = _locked_out(snapshot, customer, again)
        elif customer.usable_references != again.references:
            raise ServeError(Code.VERSION_CONFLICT, "the customer's references changed")
        else:
            change = _change(snapshot, customer, again, judged)
            made = change.verifications[0]
            change = with_findings(change, judged.look, about, made, snapshot.now_ms)
        made = change.verifications[0]
        entry = AuditEntry(Action.VERIFICATION_REPEATED, principal.actor, made.id, made.status)
        return replace(change, audit=(entry,), answer=made.dump())

    done = await transact(deps, again.subject, op, decide)
    if done.change is not None and not done.is_repeat:
        _count(done.change)
        if done.change.flags:
            await tell_others(deps, again.subject, about.screening_id, done.change.flags)
    return Verification.model_validate_json(done.answer)


def _count(change: Change) -> None:
    status = change.verifications[0].status
    (outcome,) = (outcome for outcome, found in OUTCOMES.items() if found is status)
    metrics.count_verdict(outcome)


def _change(snapshot: Snapshot, customer: Customer, again: _Again, judged: Judged) -> Change:
    verdict = judged.outcome
    assert isinstance(verdict, Verdict), "an unfit capture has been refused"
    made = _verification(snapshot, customer, again, judged)
    if customer.lockout_alert_id:  # the lock that it told of is over
        customer = customer.model_copy(update={"lockout_alert_id": ""})
    if verdict.outcome is Outcome.DECLINED:
        customer = with_lockout_failure(customer, snapshot.now_ms)
    is_held = verdict.outcome is Outcome.NEEDS_REVIEW
    captures = {made.id: again.request.image} if is_held else {}
    return Change(customer, verifications=(made,), captures=captures)


def _verification(
    snapshot: Snapshot, customer: Customer, again: _Again, judged: Judged
) -> Verification:
    verdict = judged.outcome
    assert isinstance(verdict, Verdict), "an unfit capture has been refused"
    return Verification(
        id=again.verification_id,
        tenant_id=snapshot.subject.tenant_id,
        mode=snapshot.subject.mode,
        kind=VerificationKind.REVERIFICATION,
        customer_id=customer.customer_id,
        reference=again.verification_id,
        status=OUTCOMES[verdict.outcome],
        reasons=verdict.reasons,
        face_match=judged.scores.face_match,
        liveness=judged.scores.liveness,
        created_at_ms=snapshot.now_ms,
        updated_at_ms=snapshot.now_ms,
    )


def _locked_out(snapshot: Snapshot, customer: Customer, again: _Again) -> Change:
    """One alert for each lockout, however often it is tried."""
    made = _verification(snapshot, customer, again, LOCKED)
    change = Change(customer, verifications=(made,))
    if customer.lockout_alert_id:
        return change
    alert = Alert(
        id=again.alert_id,
        tenant_id=made.tenant_id,
        mode=made.mode,
        customer_id=made.customer_id,
        verification_id=made.id,
        reference=made.reference,
        alert_type=AlertType.LOCKOUT,
        created_at_ms=made.created_at_ms,
        updated_at_ms=made.created_at_ms,
    )
    marked = customer.model_copy(update={"lockout_alert_id": again.alert_id})
    return replace(change, customer=marked, alerts=(alert,))
