"""What the clients were told, against what is there afterwards.

Every call ends `ok` (an answer came), or `unknown` (the connection broke, or the service said 503:
it may have happened or not). A client repeats an unknown call until it is `ok`. Rules:

    ok       the effect is there, exactly once
    unknown  the effect is there once, or not at all
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

UNANSWERED = "unanswered"  # an erasure that found nobody any more


class Verb(StrEnum):
    """What a client asked for."""

    ENROL = "enrol"
    OPEN = "open"
    SUBMIT = "submit"
    ERASE = "erase"


@dataclass(slots=True)
class Journey:
    """One customer's story as its client knows it. `None` stands for what was never answered."""

    customer_id: str
    is_keyed: bool = False  # enrolled, opened and erased under an `Idempotency-Key` each
    face_id: str | None = None
    token: str | None = None
    session_id: str | None = None
    verdicts: list[Mapping[str, Any]] = field(default_factory=list)  # answers, in order
    submitted: int = 0  # distinct captures sent, answered or not
    refused: str | None = None  # how a capture was refused that had to be taken
    erasure_id: str | None = None
    is_erasing: bool = False


@dataclass(slots=True)
class History:
    """All journeys, and how many calls ended how."""

    journeys: list[Journey] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Found:
    """What the service and the receiver show of one customer once everything is quiet."""

    kyc_status: str
    enrolled_again: int  # HTTP status of enrolling the very same photo once more
    face_id: str
    status: Mapping[str, Any] | None  # the callback object of the token's session; of one that can
    # no longer be read, what the tenant's own record says of the same
    session: Mapping[str, Any] | None  # the session as the tenant sees it
    callbacks: tuple[tuple[int, str, str], ...]  # sequence, status, webhook-id, as delivered
    trail: tuple[tuple[str, str, str], ...] | None = None  # action, target, outcome; None: unread


def complaints(journey: Journey, found: Found) -> Iterator[str]:
    """Every rule that the service broke for one customer."""
    name = journey.customer_id
    if found.trail is not None:
        yield from _trail_complaints(journey, found.trail)
    if journey.is_erasing:
        if journey.is_keyed and journey.erasure_id == UNANSWERED:
            yield f"{name}: its erasure found nobody under its key: the answer is lost"
        if journey.erasure_id and found.kyc_status != "pending":
            yield f"{name}: erased, and still known as {found.kyc_status}"
        return
    if journey.face_id and found.kyc_status != "approved":
        yield f"{name}: its enrolment was acknowledged and is lost"
    if journey.face_id and (found.enrolled_again, found.face_id) != (200, journey.face_id):
        yield f"{name}: the same photo again is another face: enrolled twice, or lost"
    if journey.refused is not None:
        yield f"{name}: {journey.refused}, where it had to be taken"
    if journey.token is None:
        return
    if found.status is None or found.session is None:
        yield f"{name}: its session was acknowledged and is lost"
        return
    yield from _session_complaints(journey, found.status, found.session)
    yield from _callback_complaints(journey, found.callbacks)


def _session_complaints(
    journey: Journey, status: Mapping[str, Any], session: Mapping[str, Any]
) -> Iterator[str]:
    name = journey.customer_id
    if journey.session_id not in {None, status["resource_id"]}:
        yield f"{name}: the token now finds another session"
    declined = [each for each in journey.verdicts if each["status"] == "declined"]
    unanswered = journey.submitted - len(journey.verdicts)
    if not len(declined) <= session["attempts"] <= len(declined) + unanswered:
        yield (
            f"{name}: {len(declined)} declined attempts acknowledged of {journey.submitted} sent, "
            f"{session['attempts']} counted"
        )
    if journey.verdicts and journey.submitted == len(journey.verdicts):
        last = journey.verdicts[-1]
        if any(status[name] != last[name] for name in status):
            yield f"{name}: told {last['status']}, and now it is {status['status']}"


def _callback_complaints(
    journey: Journey, callbacks: tuple[tuple[int, str, str], ...]
) -> Iterator[str]:
    name = journey.customer_id
    by_sequence = Counter(sequence for sequence, _, _ in callbacks)
    for sequence, number in by_sequence.items():
        if number > 1:
            yield f"{name}: {number} different callbacks with sequence {sequence}"
    told = Counter(status for _, status, _ in callbacks)
    known = Counter(str(each["status"]) for each in journey.verdicts)
    for status, number in known.items():
        if told[status] < number:
            yield f"{name}: {number} verdicts {status}, {told[status]} callbacks of them"
    unanswered = journey.submitted - len(journey.verdicts)
    beyond = sum(max(0, told[s] - known[s]) for s in ("approved", "declined"))
    if beyond > unanswered:
        yield f"{name}: {dict(told)} told of {journey.submitted} captures, {dict(known)} answered"


def _trail_complaints(journey: Journey, trail: tuple[tuple[str, str, str], ...]) -> Iterator[str]:
    """The audit trail is one more witness, which outlives the customer."""
    name = journey.customer_id
    acts = Counter(action for action, _, _ in trail)
    if journey.face_id and acts["customer.enrolled"] != 1:
        yield f"{name}: {acts['customer.enrolled']} enrolments in the trail"
    if journey.is_keyed and journey.token and acts["session.opened"] != 1:
        yield f"{name}: {acts['session.opened']} sessions opened under one key"
    if journey.erasure_id and acts["customer.erased"] != 1:
        yield f"{name}: {acts['customer.erased']} erasures in the trail"
    judged = Counter(
        outcome
        for action, target, outcome in trail
        if (action, target) == ("session.judged", journey.session_id)
    )
    known = Counter(str(each["status"]) for each in journey.verdicts)
    unanswered = journey.submitted - len(journey.verdicts)
    if lost := known - judged:
        yield f"{name}: {dict(lost)} in no entry of the trail: the entry is lost"
    if (judged - known).total() > unanswered:
        yield f"{name}: {dict(judged)} in the trail of {dict(known)} answered"
