"""Sessions as the tenant sees them: opened, read, listed, canceled, reviewed."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from pipeline.decision.verdict import Outcome
from serve.deps import Deps
from serve.domain.audit import Action, Actor, AuditEntry, Concern
from serve.domain.callback import CallbackObject, callback_object
from serve.domain.change import Change, Snapshot, merged, settle, supersede
from serve.domain.customer import Customer
from serve.domain.handoff import Handoff
from serve.domain.ids import TOKEN_RANDOM_BYTES, Prefix, Subject, digest, make_token
from serve.domain.operation import Operation
from serve.domain.progress import Opening, Progress, cancel, review
from serve.domain.progress import open_session as opened
from serve.domain.session import Session, elapsed
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.preferences import Event, Preferences
from serve.domain.tenancy.tenant import Tenant, check_url
from serve.domain.tenancy.trigger import Exemption, Occurrence, exemption
from serve.errors import Code, ServeError
from serve.flows.access import tenant_of
from serve.flows.audit import noted
from serve.flows.handoff import read_handoff
from serve.flows.transact import carried_out, new_id, transact
from serve.observe import logs, metrics

HANDOFF_PATH = "/reuse-kyc-submit"

Step = Callable[[Session, Customer, int], Progress]


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What a tenant tells of an event. `amount` is in USD; an empty URL is none."""

    reference: str = field(repr=False)
    customer_id: str = field(repr=False)
    event: str = ""
    amount: float | None = None
    event_count: int | None = None
    event_window_minutes: int | None = None
    redirect_url: str = field(default="", repr=False)
    callback_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """Whether a face is asked for, and where to show it; `reason` says why not."""

    reference: str = field(repr=False)
    token: str = field(repr=False)
    reason: str
    is_required: bool
    link: str = field(repr=False)
    attempts: int
    max_attempts: int


async def open_session(
    deps: Deps, principal: Principal, request: OpenRequest, op: Operation
) -> OpenAnswer:
    """Open a session if the event calls for a face; otherwise nothing is stored.

    A repeat of `op` gets the same answer. An older session of the customer for the same event is
    canceled. Raises `url_refused`, or `storage_low` where something would have to be stored.
    """
    tenant = await tenant_of(deps, principal)
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, request.customer_id)
    if (found := await carried_out(deps, subject, op)) is not None:
        return OpenAnswer(**json.loads(found))
    for url in (request.redirect_url, request.callback_url):
        if url:
            check_url(tenant, principal.mode, url, allow_http=deps.allow_http)
    preferences = tenant.preferences[principal.mode]
    occurrence = Occurrence(
        request.event, request.amount, request.event_count, request.event_window_minutes
    )
    refused = exemption(preferences, occurrence, has_prior_kyc=True)
    if refused is not None:
        await _note_passed(deps, principal, subject, refused)
        return _not_required(principal, request, preferences, refused)
    token = make_token(subject.partition, deps.random(TOKEN_RANDOM_BYTES))
    opening = Opening(
        session_id=new_id(deps, Prefix.SESSION, subject),
        token_sha256=digest(token),
        tenant_id=principal.tenant_id,
        mode=principal.mode,
        reference=request.reference,
        event=Event(request.event),
        callback_url=request.callback_url,
        redirect_url=request.redirect_url,
        retention_days=tenant.session_retention_days,
    )

    async def decide(snapshot: Snapshot) -> Change | None:
        if snapshot.customer is None or not snapshot.customer.has_prior_kyc:
            return None
        await deps.headroom.check()
        ending = await _ending(deps, snapshot, snapshot.customer, opening.event, principal.actor)
        customer = snapshot.customer if ending is None else ending.customer
        change = _opening_change(deps, snapshot, opening, customer, preferences)
        session = change.sessions[0]
        answer = _answer(session, token, _link(deps, tenant, token))
        entry = AuditEntry(
            Action.SESSION_OPENED, principal.actor, session.id, outcome=session.state
        )
        change = replace(change, audit=(entry,), answer=json.dumps(asdict(answer)).encode())
        return change if ending is None else merged(ending, change)

    done = await transact(deps, subject, op, decide)
    if done.change is None and not done.is_repeat:
        await _note_passed(deps, principal, subject, Exemption.NO_PRIOR_KYC)
        return _not_required(principal, request, preferences, Exemption.NO_PRIOR_KYC)
    if not done.is_repeat:
        metrics.count_session(opening.event)
    return OpenAnswer(**json.loads(done.answer))


async def status(deps: Deps, token: str, known: Handoff | None = None) -> CallbackObject:
    """What the holder of a session token may read. `known` is what it finds, if that was read.

    Raises `not_found`; `token_expired` after 15 minutes.
    """
    handoff = known or await read_handoff(deps, token)
    return callback_object(await _session(deps, handoff.subject, handoff.session_id))


async def session(deps: Deps, principal: Principal, session_id: str) -> Session:
    """One of the tenant's sessions, as time has left it. Raises `not_found`."""
    subject = await _owner(deps, principal, session_id)
    found = await _session(deps, subject, session_id)
    await noted(
        deps, Concern.of(subject), AuditEntry(Action.SESSION_READ, principal.actor, session_id)
    )
    return found


async def list_sessions(
    deps: Deps, principal: Principal, customer_id: str, reference: str | None, limit: int
) -> list[Session]:
    """A customer's sessions, newest first, all or those of one reference; none of a stranger."""
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, customer_id)
    snapshot = await deps.ledger.snapshot(subject)
    found = await deps.listings.sessions(snapshot, reference, limit)
    concern = Concern.of(subject)
    await noted(deps, concern, AuditEntry(Action.SESSION_READ, principal.actor, count=len(found)))
    return [elapsed(item, snapshot.now_ms) for item in found]


async def cancel_session(
    deps: Deps, principal: Principal, session_id: str, op: Operation
) -> Session:
    """Cancel a session, and tell its `callback_url`.

    Raises `not_found`, `session_closed`, or `submission_in_progress` while it is being judged.
    """
    subject = await _owner(deps, principal, session_id)
    entry = AuditEntry(Action.SESSION_CANCELED, principal.actor, session_id)
    return await _move(deps, subject, entry, op, cancel)


async def review_session(
    deps: Deps, principal: Principal, session_id: str, outcome: Outcome, op: Operation
) -> Session:
    """Write down a reviewer's decision, approved or declined, and tell the `callback_url`.

    Raises `not_found`; `session_closed` for a session that no review is open for.
    """
    subject = await _owner(deps, principal, session_id)
    alert_id = new_id(deps, Prefix.ALERT, subject)

    def step(before: Session, customer: Customer, now_ms: int) -> Progress:
        return review(before, customer, outcome, alert_id, now_ms)

    entry = AuditEntry(Action.SESSION_REVIEWED, principal.actor, session_id, outcome)
    return await _move(deps, subject, entry, op, step)


async def overview(deps: Deps, principal: Principal) -> dict[str, int]:
    """The tenant's counts by name: sessions by status, alerts by status."""
    return await deps.listings.counts(principal.tenant_id, principal.mode)


async def _ending(
    deps: Deps, snapshot: Snapshot, customer: Customer, event: Event, actor: Actor
) -> Change | None:
    older_id = customer.open_sessions.get(event)
    older = None if older_id is None else await deps.ledger.session(snapshot, older_id)
    if older is None:
        return None
    event_id = new_id(deps, Prefix.EVENT, snapshot.subject)
    return supersede(older, customer, event_id, snapshot.now_ms, actor)


def _opening_change(
    deps: Deps,
    snapshot: Snapshot,
    opening: Opening,
    customer: Customer,
    preferences: Preferences,
) -> Change:
    subject, now_ms = snapshot.subject, snapshot.now_ms
    alert_id = new_id(deps, Prefix.ALERT, subject)
    progress = opened(opening, customer, preferences.reuse_kyc_reactions, alert_id, now_ms)
    handoff = Handoff(
        token_sha256=opening.token_sha256,
        session_id=opening.session_id,
        tenant_id=subject.tenant_id,
        mode=subject.mode,
        subject_key=subject.key,
        created_at_ms=now_ms,
    )
    return replace(settle(None, progress, "", now_ms, tells=False), handoffs=(handoff,))


def _answer(opened_session: Session, token: str, link: str) -> OpenAnswer:
    return OpenAnswer(
        reference=opened_session.reference,
        token=token,
        reason="",
        is_required=True,
        link=link,
        attempts=opened_session.failed_attempts,
        max_attempts=opened_session.max_attempts,
    )


async def _note_passed(
    deps: Deps, principal: Principal, subject: Subject, refused: Exemption
) -> None:
    entry = AuditEntry(Action.SESSION_PASSED, principal.actor, outcome=refused)
    await noted(deps, Concern.of(subject), entry)


def _not_required(
    principal: Principal, request: OpenRequest, preferences: Preferences, refused: Exemption
) -> OpenAnswer:
    """Of an event that passes only the trail keeps a word; it is counted and logged as well."""
    metrics.count_exemption(refused, request.event)
    logs.write(
        "event passed without a face",
        tenant_id=principal.tenant_id,
        mode=principal.mode,
        reason=refused,
        event_name=request.event if request.event in set(Event) else metrics.OTHER,
    )
    return OpenAnswer(
        reference=request.reference,
        token="",
        reason=refused.sentence,
        is_required=False,
        link="",
        attempts=0,
        max_attempts=preferences.reuse_kyc_reactions.max_retry_attempts + 1,
    )


def _link(deps: Deps, tenant: Tenant, token: str) -> str:
    """Our own page takes the token in the fragment, which no server ever sees."""
    if tenant.frontend_base_url:
        return f"{tenant.frontend_base_url.rstrip('/')}{HANDOFF_PATH}?token={token}"
    if deps.public_base_url:
        return f"{deps.public_base_url.rstrip('/')}{HANDOFF_PATH}#token={token}"
    return ""


async def _owner(deps: Deps, principal: Principal, session_id: str) -> Subject:
    subject = await deps.ledger.owner(session_id)
    if subject is None or (subject.tenant_id, subject.mode) != (
        principal.tenant_id,
        principal.mode,
    ):
        raise ServeError(Code.NOT_FOUND, "no such session")
    return subject


async def _session(deps: Deps, subject: Subject, session_id: str) -> Session:
    snapshot = await deps.ledger.snapshot(subject)
    found = await deps.ledger.session(snapshot, session_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such session")
    return elapsed(found, snapshot.now_ms)


async def _move(
    deps: Deps, subject: Subject, entry: AuditEntry, op: Operation, step: Step
) -> Session:
    """Carry out a step that the tenant asked for and that a callback tells of: the session as it
    left it, then and for a repeat. `entry` is what the trail says of it.
    """
    session_id = entry.target
    event_id = new_id(deps, Prefix.EVENT, subject)

    async def decide(snapshot: Snapshot) -> Change:
        before = await deps.ledger.session(snapshot, session_id)
        if before is None or snapshot.customer is None:
            raise ServeError(Code.NOT_FOUND, "no such session")
        progress = step(before, snapshot.customer, snapshot.now_ms)
        change = settle(before, progress, event_id, snapshot.now_ms, tells=True)
        return replace(change, audit=(entry,), answer=change.sessions[0].dump())

    done = await transact(deps, subject, op, decide)
    return Session.model_validate_json(done.answer)
