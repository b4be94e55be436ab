"""The duplicate gate: every face that is enrolled or approved is searched among all others.

    commit   the face, held back, with the search that is owed for it: one change
    look     both galleries, once every holder of the index has followed the log to where it
             stood after that change; so of two enrolments at once at least one sees the other
    judge    flags, alerts, the reference's standing and the verification's status: one change
    tell     the other customers, each under a version of their own, that a flag names them

Whatever cuts this short, the record of the search stays until all of it is done, and `run_due`
goes on from where it stands. What cannot be searched is held for a reviewer at once, searched
later, and approved then if there is no objection and no reviewer has decided.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pipeline.decision.policy import DuplicatePolicy
from pipeline.evidence import Template
from pipeline.face.compare import VERIFY_THRESHOLD_SIMILARITY
from serve.deps import Deps
from serve.domain.audit import SERVICE, Action, AuditEntry
from serve.domain.change import Change, Snapshot
from serve.domain.customer import Customer, Reference
from serve.domain.ids import Prefix, Subject
from serve.domain.operation import Operation
from serve.domain.search.duplicate import FLAGS_PER_SCREENING_MAX, DuplicateFlag
from serve.domain.search.evidence import PAIRS
from serve.domain.search.findings import (
    NOBODY_SEEN,
    STANDINGS,
    About,
    Look,
    Match,
    ending,
    with_findings,
)
from serve.domain.search.gallery import GalleryKind, Standing
from serve.domain.search.pairs import (
    flags_of_pairs,
    is_told_apart,
    with_flagged_by,
    without_flags,
)
from serve.domain.search.screening import Screening
from serve.domain.verifications.rules import with_standing
from serve.domain.verifications.verification import Verification, VerificationStatus
from serve.errors import Code, ServeError
from serve.flows.sweeps.calibrate import duplicate_threshold, expected_at
from serve.flows.transact import new_id, transact
from serve.observe import logs
from serve.ports.search import Asked, FaceHit, Found

CLAIMED_MAX = 16
POLL_S = 1.0
FOUND_FIRST, FOUND_MAX = 32, 1_024
ALERTS_MAX = 2  # of one screening: blocklist and duplicate


async def look_for(deps: Deps, subject: Subject, template: Template) -> Look:
    """Who else has the face of `template`: on the blocklist, and among the other customers.

    It sees everything that was committed before the call. What the index cannot answer is not
    complete. Raises `overloaded` when too many searches wait.
    """
    match_min = deps.scale.native(VERIFY_THRESHOLD_SIMILARITY)
    own = await duplicate_threshold(deps, subject.tenant_id, subject.mode)
    asked = Asked(
        tenant_id=subject.tenant_id,
        mode=subject.mode,
        kind=GalleryKind.ENROLLED,
        template=template,
        floor=match_min if own is None else min(match_min, own.threshold),
        limit=FOUND_FIRST,
        after=await deps.face_log.tails(),
        exclude=subject.key,
    )
    try:
        blocked, found = await asyncio.gather(
            deps.index.search(replace(asked, kind=GalleryKind.BLOCKED, floor=match_min, limit=1)),
            deps.index.search(asked),
        )
        bar = match_min
        if own is not None and found.gallery_size < own.expires_at_size:
            bar = own.threshold
        found = _from(found, bar)
        matches = await _matches(deps, subject, found)
        # All of them told apart: whoever is not may stand behind them.
        while not matches and asked.limit <= len(found.hits) < FOUND_MAX:
            asked = replace(asked, limit=asked.limit * 8)
            found = _from(await deps.index.search(asked), bar)
            matches = await _matches(deps, subject, found)
    except ServeError as error:
        if error.code is not Code.SERVICE_UNAVAILABLE:
            raise
        return NOBODY_SEEN
    look = Look(
        matches=matches,
        is_blocked=bool(blocked.hits),
        is_complete=blocked.is_complete and found.is_complete,
        # Only what was looked at from the pack's threshold on says how many err there.
        pairs=max(0, found.gallery_size - len(found.hits) - 1) if bar <= match_min else 0,
    )
    fresh = {match.face_id for match in matches if not match.is_flagged}
    if not fresh:
        return look
    best = max(hit.native for hit in found.hits if hit.face_id in fresh)
    world = subject.tenant_id, subject.mode
    chance = await expected_at(deps, *world, best, found.gallery_size)
    return replace(look, expected=chance.matches)


async def screen_enrolment(
    deps: Deps, subject: Subject, screening: Screening
) -> VerificationStatus | None:
    """Search for an enrolled face and write down what that comes to: the verification's status,
    None where the customer has gone.

    Any number may do so at once: one of them is written down. Raises `overloaded` and what the
    store raises; the search stays owed.
    """
    op = Operation(f"screen-{screening.id}")
    snapshot = await deps.ledger.snapshot(subject)
    known = await deps.ledger.answer(snapshot, op.id)
    if known is not None:
        await deps.ledger.confirm(snapshot)
        return VerificationStatus(known.decode())
    template = (await deps.ledger.templates(snapshot)).get(screening.face_id)
    if template is None:
        return None
    return await judge_enrolment(deps, subject, screening, template)


async def judge_enrolment(
    deps: Deps, subject: Subject, screening: Screening, template: Template
) -> VerificationStatus | None:
    """The same, with the face's template at hand."""
    look = await look_for(deps, subject, template)
    fresh = fresh_about(deps, subject)
    about = replace(fresh, screening_id=screening.id, is_owed=True)

    async def decide(snapshot: Snapshot) -> Change | None:
        if snapshot.customer is None:
            return None
        found = await _enrolment(deps, snapshot, screening)
        if found is None:
            return Change(snapshot.customer, ended_screenings=(screening.id,))
        customer, reference, verification = found
        if not look.is_complete:
            return _held(customer, verification, snapshot.now_ms)
        tenant = await deps.directory.tenant(subject.tenant_id)
        policy = None if tenant is None else tenant.seen_in(subject.mode).duplicates
        if policy is None:
            raise ServeError(Code.NOT_FOUND, "the tenant does not exist")
        status, reasons = ending(look, policy)
        if reference.standing is Standing.HELD:
            customer = with_standing(customer, reference.face_id, STANDINGS[status])
            moved = {"status": status, "reasons": reasons, "updated_at_ms": snapshot.now_ms}
            verification = verification.model_copy(update=moved)
        entry = AuditEntry(Action.CUSTOMER_SCREENED, SERVICE, verification.id, verification.status)
        change = Change(
            customer,
            verifications=(verification,),
            counts={PAIRS: look.pairs} if look.pairs else {},
            audit=(entry,),
            answer=verification.status.encode(),
        )
        return with_findings(change, look, about, verification, snapshot.now_ms)

    held = "" if look.is_complete else "-held"
    done = await transact(deps, subject, Operation(f"screen-{screening.id}{held}"), decide)
    if done.change is not None and not done.is_repeat and done.change.flags:
        await tell_others(deps, subject, screening.id, done.change.flags)
    return VerificationStatus(done.answer.decode()) if done.answer else None


async def tell_others(
    deps: Deps, subject: Subject, screening_id: str, flags: Sequence[DuplicateFlag]
) -> None:
    """Tell each customer whom a flag names, if that can be done now; else `run_due` does."""
    with suppress(ServeError):
        await _tell(deps, subject, screening_id, flags)


def fresh_about(deps: Deps, subject: Subject) -> About:
    """Ids for what a search that was not owed may write down."""
    return About(
        subject,
        new_id(deps, Prefix.SCREENING, subject),
        tuple(new_id(deps, Prefix.FLAG, subject) for _ in range(FLAGS_PER_SCREENING_MAX)),
        tuple(new_id(deps, Prefix.ALERT, subject) for _ in range(ALERTS_MAX)),
    )


async def run_screenings(deps: Deps, stop: asyncio.Event) -> None:
    """Finish searches that are owed until `stop` is set, at most 16 at once."""
    while not stop.is_set():
        done = await run_due(deps)
        if done < CLAIMED_MAX:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_S)


async def run_due(deps: Deps) -> int:
    """Go on with up to 16 screenings that are due; how many there were.

    One that cannot be finished comes back when its lease runs out.
    """
    try:
        claimed = await deps.screenings.claim(CLAIMED_MAX)
    except ServeError as error:
        logs.write("screenings not claimed", code=error.code)
        return 0
    await asyncio.gather(*(_run(deps, *item) for item in claimed))
    return len(claimed)


async def _run(deps: Deps, subject: Subject, screening: Screening) -> None:
    try:
        if screening.face_id:
            await screen_enrolment(deps, subject, screening)
        else:
            kept = await deps.flags.known(screening.flag_ids)
            await _tell(deps, subject, screening.id, [item.flag for item in kept])
    except ServeError as error:
        logs.write("screening left for later", code=error.code, screening_id=screening.id)
    except Exception as error:  # noqa: BLE001 (one defect must not stop the others)
        logs.write_error("screening failed", error, screening_id=screening.id)


def _from(found: Found, bar: float) -> Found:
    return replace(found, hits=tuple(hit for hit in found.hits if hit.native >= bar))


async def _matches(deps: Deps, subject: Subject, found: Found) -> tuple[Match, ...]:
    """The best hits whom neither record tells apart, and whether their pair is flagged."""
    if not found.hits:
        return ()
    own = (await deps.ledger.snapshot(subject)).customer
    left = [hit for hit in found.hits if own is None or not is_told_apart(own, hit.subject.key)]
    there: list[tuple[FaceHit, frozenset[str]]] = []
    while left and len(there) < FLAGS_PER_SCREENING_MAX:
        nearest, left = left[:FLAGS_PER_SCREENING_MAX], left[FLAGS_PER_SCREENING_MAX:]
        others = await asyncio.gather(*(deps.ledger.snapshot(hit.subject) for hit in nearest))
        for hit, snapshot in zip(nearest, others, strict=True):
            other = snapshot.customer
            if other is not None and not is_told_apart(other, subject.key):
                sides = ((own, hit.subject.key), (other, subject.key))
                flags = (flags_of_pairs(side).get(key) for side, key in sides if side is not None)
                there.append((hit, frozenset(filter(None, flags))))
    there = there[:FLAGS_PER_SCREENING_MAX]
    asked = [flag_id for _, flag_ids in there for flag_id in flag_ids]
    alive = {kept.flag.id for kept in await deps.flags.known(asked)}
    return tuple(
        Match(
            subject=hit.subject,
            face_id=hit.face_id,
            similarity=deps.scale.similarity(hit.native),
            flag_ids=flag_ids,
            is_flagged=bool(flag_ids & alive),
        )
        for hit, flag_ids in there
    )


async def _enrolment(
    deps: Deps, snapshot: Snapshot, screening: Screening
) -> tuple[Customer, Reference, Verification] | None:
    """The records that a screening is about; None where they have gone."""
    customer, subject = snapshot.customer, snapshot.subject
    found = await deps.verifications.one(subject.tenant_id, subject.mode, screening.verification_id)
    if customer is None or found is None:
        return None
    for reference in customer.references:
        if reference.face_id == screening.face_id:
            return customer, reference, found[1]
    return None


def _held(customer: Customer, verification: Verification, now_ms: int) -> Change:
    """Until the search can be made a reviewer has it; what was decided before stays."""
    if verification.status is VerificationStatus.PROCESSING:
        status, reasons = ending(NOBODY_SEEN, DuplicatePolicy.REVIEW)
        moved = {"status": status, "reasons": reasons, "updated_at_ms": now_ms}
        verification = verification.model_copy(update=moved)
    return Change(customer, verifications=(verification,), answer=verification.status.encode())


async def _tell(
    deps: Deps, subject: Subject, screening_id: str, flags: Sequence[DuplicateFlag]
) -> None:
    for flag in flags:
        await _tell_one(deps, subject, flag)

    async def end(snapshot: Snapshot) -> Change | None:
        if snapshot.customer is None:
            return None
        return Change(snapshot.customer, ended_screenings=(screening_id,))

    await transact(deps, subject, Operation(f"told-{screening_id}"), end)


async def _tell_one(deps: Deps, subject: Subject, flag: DuplicateFlag) -> None:
    """A flag of the same pair that went with an earlier record of `subject` is forgotten."""

    async def decide(snapshot: Snapshot) -> Change | None:
        customer = snapshot.customer
        if customer is None:
            return None
        own = [item.flag_id for item in customer.flags if item.other == subject.key]
        alive = {kept.flag.id for kept in await deps.flags.known(own)}
        gone = tuple(flag_id for flag_id in own if flag_id not in alive)
        told = with_flagged_by(without_flags(customer, gone), flag.id, subject.key)
        return None if told == customer else Change(told, ended_flags=gone)

    await transact(deps, flag.matched, Operation(f"told-{flag.id}"), decide)
