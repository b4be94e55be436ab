"""What a search for a face comes to: what is flagged, who is told, and how an enrolment ends.

    the face is on the blocklist       needs_review, and an alert
    somebody could not be looked at    needs_review, and the search is made again later
    another customer has the face      a flag for each pair that has none yet, of the five others
                                       most alike, until the customer is flagged with five; an
                                       alert where chance shows at most one match in a search;
                                       approved, needs_review or rejected as the policy says
    nobody has it                      approved

A pair that was flagged before counts for the policy, but is not flagged again; one that a reviewer
told apart is no match at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.decision.policy import DuplicatePolicy
from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import Screened, object_to
from serve.domain.alert import Alert, AlertType
from serve.domain.change import Change
from serve.domain.customer import Customer
from serve.domain.ids import Prefix, Subject, renamed
from serve.domain.search.duplicate import FLAGS_PER_SCREENING_MAX, DuplicateFlag
from serve.domain.search.evidence import NOTHING_KNOWN, ExpectedFalseMatches
from serve.domain.search.gallery import Standing
from serve.domain.search.pairs import flags_of_pairs, is_told_apart, with_flags
from serve.domain.search.screening import Screening
from serve.domain.verifications.rules import OUTCOMES
from serve.domain.verifications.verification import Verification, VerificationStatus

LEASE_MS = 45_000
STANDINGS = {
    VerificationStatus.APPROVED: Standing.APPROVED,
    VerificationStatus.REJECTED: Standing.REFUSED,
    VerificationStatus.NEEDS_REVIEW: Standing.HELD,
}


@dataclass(frozen=True, slots=True)
class Match:
    """Another customer who has the face, by the face of theirs that is most alike.

    `similarity` is on the mapped scale. `flag_ids` are the flags that either record has of the
    pair, and `is_flagged` says that one of them is still there.
    """

    subject: Subject
    face_id: str
    similarity: float
    flag_ids: frozenset[str] = frozenset()
    is_flagged: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """A search of both galleries. `matches` are the best five who are not told apart.

    `pairs` is how many faces were compared with and did not match, `expected` how many matches
    chance alone would show.
    """

    matches: tuple[Match, ...] = ()
    is_blocked: bool = False
    is_complete: bool = True
    pairs: int = 0
    expected: ExpectedFalseMatches = NOTHING_KNOWN

    @property
    def screened(self) -> Screened:
        """What a verdict hears of it."""
        return Screened(self.is_blocked, bool(self.matches), self.is_complete)


ALONE = Look()
NOBODY_SEEN = Look(is_complete=False)


@dataclass(frozen=True, slots=True)
class About:
    """Whose face was searched for, and fresh ids for what is written down.

    `is_owed` says that the search was written down before it was made.
    """

    subject: Subject
    screening_id: str
    flag_ids: Sequence[str]
    alert_ids: Sequence[str]
    is_owed: bool = False


def ending(look: Look, policy: DuplicatePolicy) -> tuple[VerificationStatus, tuple[Reason, ...]]:
    """How an enrolment ends by what was found, and why."""
    verdict = object_to(look.screened, policy)
    return OUTCOMES[verdict.outcome], verdict.reasons


def fresh_matches(look: Look, customer: Customer) -> tuple[Match, ...]:
    """The best matches whose pairs nobody has flagged or told apart, the customer's record being
    as it is now; so many that they are flagged with five others in all.
    """
    pairs = flags_of_pairs(customer)

    def is_fresh(match: Match) -> bool:
        other = match.subject.key
        is_known = other in pairs and pairs[other] not in match.flag_ids
        return not (match.is_flagged or is_known or is_told_apart(customer, other))

    gone = {flag_id for match in look.matches if not match.is_flagged for flag_id in match.flag_ids}
    flagged = sum(
        not is_told_apart(customer, other) and flag_id not in gone
        for other, flag_id in pairs.items()
    )
    return tuple(filter(is_fresh, look.matches))[: max(0, FLAGS_PER_SCREENING_MAX - flagged)]


def with_findings(
    change: Change, look: Look, about: About, verification: Verification, now_ms: int
) -> Change:
    """`change` with the flags and alerts that `look` calls for, and the word owed to the others.

    A screening that was owed, without anybody to tell, is over.
    """
    matches = fresh_matches(look, change.customer)
    flags = tuple(
        _flag(match, verification, flag_id, now_ms)
        for match, flag_id in zip(matches, about.flag_ids, strict=False)
    )
    types = [AlertType.BLOCKLIST_MATCH] if look.is_blocked else []
    if flags and look.expected.may_alert:
        types.append(AlertType.DUPLICATE_FACE)
    alerts = tuple(
        _alert(alert_type, verification, alert_id, now_ms)
        for alert_type, alert_id in zip(types, about.alert_ids, strict=False)
    )
    change = replace(change, alerts=change.alerts + alerts)
    if not flags:
        ended = (about.screening_id,) if about.is_owed else ()
        return replace(change, ended_screenings=change.ended_screenings + ended)
    customer, dropped = with_flags(change.customer, flags)
    owed = Screening(
        id=about.screening_id,
        verification_id=verification.id,
        flag_ids=tuple(flag.id for flag in flags),
        due_ms=now_ms + LEASE_MS,
    )
    return replace(
        change,
        customer=customer,
        flags=change.flags + flags,
        ended_flags=change.ended_flags + dropped,
        screenings=(*change.screenings, owed),
    )


def _flag(match: Match, verification: Verification, flag_id: str, now_ms: int) -> DuplicateFlag:
    return DuplicateFlag(
        id=flag_id,
        tenant_id=verification.tenant_id,
        mode=verification.mode,
        score=round(match.similarity, 2),
        verification_id=verification.id,
        matched_verification_id=renamed(Prefix.VERIFICATION, match.face_id),
        matched_subject=match.subject.locator,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )


def _alert(alert_type: AlertType, verification: Verification, alert_id: str, now_ms: int) -> Alert:
    return Alert(
        id=alert_id,
        tenant_id=verification.tenant_id,
        mode=verification.mode,
        customer_id=verification.customer_id,
        session_id=verification.session_id,
        verification_id=verification.id,
        reference=verification.reference,
        alert_type=alert_type,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
