"""A person verified before is verified again: a selfie and their reusable identity token.

    look     the models, and who else has the face; nothing is held while they run
    finish   verdict, failure and alert in one change, if the token is still in force

An unfit capture is no attempt. A mismatch, or the evidence of an attack, counts for the same lock
as a failed attempt of a session: ten of a customer in 24 hours, and nobody looks any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import Policy
from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import NOBODY_ELSE, Challenge, Outcome, Recapture, Verdict, decide
from pipeline.evidence import Template
from serve.deps import Deps
from serve.domain.alert import Alert, AlertType
from serve.domain.audit import Action, AuditEntry
from serve.domain.change import Change, Snapshot
from serve.domain.customer import Customer, Reference, with_lockout_failure
from serve.domain.ids import Prefix, Subject
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.domain.verifications.rules import OUTCOMES
from serve.domain.verifications.verification import Verification, VerificationKind
from serve.errors import CaptureUnfit, Code, ServeError
from serve.flows.access import tenant_of
from serve.flows.compare import Scores, best, scores_of
from serve.flows.customers import fit_evidence
from serve.flows.transact import new_id, transact
from serve.flows.verifications.identity import holder, subject_of_token
from serve.observe import metrics

LOCKED = Verdict(Outcome.DECLINED, (Reason.LOCKED_OUT,))


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


@dataclass(frozen=True, slots=True)
class _Finding:
    verdict: Verdict
    scores: Scores = field(default_factory=Scores, repr=False)


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
    finding = _Finding(LOCKED)
    if not customer.is_locked(snapshot.now_ms):
        finding = await _look(deps, principal, again, records.templates)
    return await _finish(deps, principal, again, finding, op)


async def _look(
    deps: Deps, principal: Principal, again: _Again, references: Sequence[Template]
) -> _Finding:
    tenant = await tenant_of(deps, principal)
    evidence = await fit_evidence(deps, again.request.image, tenant.id)
    comparison = best(deps, references, evidence.template)
    screened = NOBODY_ELSE
    if isinstance(comparison, Comparison) and comparison.is_match:
        screened = NOBODY_ELSE
    policy = Policy(tenant.liveness_policy, tenant.duplicates)
    verdict = decide(evidence, comparison, Challenge.NOT_TAKEN, policy, screened)
    if isinstance(verdict, Recapture):
        feedback = tuple(verdict.feedback)
        raise CaptureUnfit(Code.CAPTURE_UNFIT, "the photo cannot be judged", feedback=feedback)
    return _Finding(verdict, scores_of(comparison, evidence))


async def _finish(
    deps: Deps, principal: Principal, again: _Again, finding: _Finding, op: Operation
) -> Verification:
    written = finding.verdict

    async def decide_now(snapshot: Snapshot) -> Change:
        nonlocal written
        customer = holder(snapshot.customer, again.request.token)
        found = finding
        if customer.is_locked(snapshot.now_ms):  # by others, while it was looked at
            found = _Finding(LOCKED)
        elif customer.usable_references != again.references:
            raise ServeError(Code.VERSION_CONFLICT, "the customer's references changed")
        written = found.verdict
        change = _change(snapshot, customer, again, found)
        entry = AuditEntry(
            Action.VERIFICATION_REPEATED,
            principal.actor,
            again.verification_id,
            change.verifications[0].status,
        )
        return replace(change, audit=(entry,))

    done = await transact(deps, again.subject, op, decide_now)
    if not done.is_repeat:
        metrics.count_verdict(written.outcome)
    return Verification.model_validate_json(done.answer)


def _change(snapshot: Snapshot, customer: Customer, again: _Again, finding: _Finding) -> Change:
    now_ms, outcome = snapshot.now_ms, finding.verdict.outcome
    made = Verification(
        id=again.verification_id,
        tenant_id=snapshot.subject.tenant_id,
        mode=snapshot.subject.mode,
        kind=VerificationKind.REVERIFICATION,
        customer_id=customer.customer_id,
        reference=again.verification_id,
        status=OUTCOMES[outcome],
        reasons=finding.verdict.reasons,
        face_match=finding.scores.face_match,
        liveness=finding.scores.liveness,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
    is_held = outcome is Outcome.NEEDS_REVIEW
    change = Change(
        customer,
        verifications=(made,),
        captures={made.id: again.request.image} if is_held else {},
        answer=made.dump(),
    )
    if finding.verdict is LOCKED:
        return _locked_out(change, made, again.alert_id)
    if customer.lockout_alert_id:  # the lock that it told of is over
        customer = customer.model_copy(update={"lockout_alert_id": ""})
    if outcome is Outcome.DECLINED:
        customer = with_lockout_failure(customer, now_ms)
    return replace(change, customer=customer)


def _locked_out(change: Change, made: Verification, alert_id: str) -> Change:
    """One alert for each lockout, however often it is tried."""
    if change.customer.lockout_alert_id:
        return change
    alert = Alert(
        id=alert_id,
        tenant_id=made.tenant_id,
        mode=made.mode,
        customer_id=made.customer_id,
        verification_id=made.id,
        reference=made.reference,
        alert_type=AlertType.LOCKOUT,
        created_at_ms=made.created_at_ms,
        updated_at_ms=made.created_at_ms,
    )
    marked = change.customer.model_copy(update={"lockout_alert_id": alert_id})
    return replace(change, customer=marked, alerts=(alert,))
