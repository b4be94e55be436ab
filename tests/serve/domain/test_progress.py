"""What moves a session: every step from every state, attempts, lockout and alerts."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.reasons import Reason
from pipeline.decision.verdict import Outcome, Recapture, Verdict
from pipeline.evidence import Feedback
from serve.domain.alert import AlertType
from serve.domain.customer import Customer
from serve.domain.ids import Mode
from serve.domain.progress import (
    Opening,
    Progress,
    attach,
    begin,
    cancel,
    is_current,
    judge,
    open_session,
    release,
    review,
    run_out,
)
from serve.domain.session import CAPTURES_MAX, Session, State, Submission
from serve.domain.tenancy.preferences import Event, Reactions
from serve.errors import Code, ServeError
from tests.helpers.records import NOW_MS, TENANT, a_customer, a_session

SUBMISSION = Submission(op_id="op", lease_until_ms=NOW_MS + 30_000)
MATCH = Verdict(Outcome.APPROVED, (Reason.LIVENESS_NOT_CHECKED,))
MISMATCH = Verdict(Outcome.DECLINED, (Reason.FACE_MISMATCH,))
UNCLEAR = Verdict(Outcome.NEEDS_REVIEW, (Reason.LIVENESS_UNAVAILABLE,))
UNFIT = Recapture((Feedback.BLUR_SELFIE,))
LATER_MS = NOW_MS + 1_000
LISTED = a_session()
HOLDER = a_customer(open_sessions={Event.LOGIN: LISTED.id})


class Defect(Exception):  # noqa: N818 (what an assertion says)
    """A step that no caller may ask for."""


def in_state(state: State) -> Session:
    submission = SUBMISSION if state is State.PROCESSING else None
    return a_session(state=state, submission=submission)


def judged(outcome: Verdict | Recapture, **changes: object) -> Callable[[Session], Session]:
    def step(session: Session) -> Session:
        now = session.model_copy(update=changes)
        return judge(now, HOLDER, outcome, "alr", LATER_MS).session

    return step


STEPS: dict[str, Callable[[Session], Session]] = {
    "attach": lambda session: attach(session, LATER_MS),
    "begin": lambda session: begin(session, SUBMISSION, LATER_MS),
    "match": judged(MATCH),
    "mismatch": judged(MISMATCH),
    "last mismatch": judged(MISMATCH, failed_attempts=2),
    "unclear": judged(UNCLEAR),
    "unfit": judged(UNFIT),
    "last unfit": judged(UNFIT, captures=CAPTURES_MAX - 1),
    "release": lambda session: release(session, LATER_MS),
    "cancel": lambda session: cancel(session, HOLDER, LATER_MS).session,
    "approve": lambda session: review(session, HOLDER, Outcome.APPROVED, "alr", LATER_MS).session,
    "decline": lambda session: review(session, HOLDER, Outcome.DECLINED, "alr", LATER_MS).session,
    "wait": lambda session: run_out(session, HOLDER, LATER_MS).session,
    "wait out": lambda session: run_out(session, HOLDER, NOW_MS + 10**10).session,
}
JUDGING = ("match", "mismatch", "last mismatch", "unclear", "unfit", "last unfit", "release")
# Where each step leads from each state; a step that is not named here leads nowhere else.
LEADS: dict[State, dict[str, State | Code]] = {
    State.CREATED: {
        "attach": State.CAPTURING,
        "begin": State.PROCESSING,
        "cancel": State.CANCELED,
        "wait out": State.EXPIRED,
    },
    State.CAPTURING: {
        "attach": State.CAPTURING,
        "begin": State.PROCESSING,
        "cancel": State.CANCELED,
        "wait out": State.EXPIRED,
    },
    State.PROCESSING: {
        "attach": State.PROCESSING,
        "begin": Code.SUBMISSION_IN_PROGRESS,
        "match": State.APPROVED,
        "mismatch": State.CAPTURING,
        "last mismatch": State.DECLINED,
        "unclear": State.NEEDS_REVIEW,
        "unfit": State.CAPTURING,
        "last unfit": State.DECLINED,
        "release": State.CAPTURING,
        "cancel": Code.SUBMISSION_IN_PROGRESS,
        "wait out": State.EXPIRED,  # by way of capturing
    },
    State.NEEDS_REVIEW: {
        "attach": State.NEEDS_REVIEW,
        "cancel": State.CANCELED,
        "approve": State.APPROVED,
        "decline": State.DECLINED,
        "wait out": State.EXPIRED,
    },
    State.APPROVED: {},
    State.DECLINED: {"begin": Code.ATTEMPTS_EXHAUSTED},
    State.EXPIRED: {"begin": Code.TOKEN_EXPIRED},
    State.CANCELED: {},
}


def expected(state: State, step: str) -> State | str | type[Defect]:
    if step in LEADS[state]:
        return LEADS[state][step]
    if step in {"attach", "wait", "wait out"}:
        return state
    return Defect if step in JUDGING else Code.SESSION_CLOSED


def found(session: Session, step: str) -> State | str | type[Defect]:
    try:
        return STEPS[step](session).state
    except ServeError as error:
        return error.code
    except AssertionError:
        return Defect


@pytest.mark.parametrize(("state", "step"), [*product(State, STEPS)])
def test_every_step_from_every_state(state: State, step: str) -> None:
    """Each step leads where the published graph says, or is refused with its own code."""
    assert found(in_state(state), step) == expected(state, step)


OPENING = Opening(
    session_id=a_session(number=1).id,
    token_sha256="1" * 64,
    tenant_id=TENANT,
    mode=Mode.TEST,
    reference="order-1",
    event=Event.LOGIN,
    callback_url="",
    redirect_url="",
    retention_days=30,
)


def opened(customer: Customer, reactions: Reactions, now_ms: int = NOW_MS) -> Progress:
    return open_session(OPENING, customer, reactions, "alr_new", now_ms)


def submitted(progress: Progress, outcome: Verdict | Recapture, now_ms: int) -> Progress:
    """One submission to the open session, judged at once."""
    begun = begin(progress.session, SUBMISSION, now_ms)
    return judge(begun, progress.customer, outcome, "alr_new", now_ms)


def test_a_new_session_is_listed_and_lives_ten_minutes() -> None:
    """It is the customer's open session for its event, with all its submissions left."""
    progress = opened(a_customer(), Reactions())
    assert progress.session.state is State.CREATED
    assert progress.session.expires_at_ms == NOW_MS + 600_000
    assert progress.session.retries_remaining == 3
    assert progress.customer.open_sessions == {Event.LOGIN: progress.session.id}


@pytest.mark.parametrize("retries", [0, 1, 2, 10])
def test_the_last_failed_attempt_declines(retries: int) -> None:
    """Retries plus one mismatches end the session, with one alert where the tenant wants it."""
    progress = opened(a_customer(), Reactions(max_retry_attempts=retries))
    for number in range(retries):
        progress = submitted(progress, MISMATCH, NOW_MS + number)
        assert progress.session.state is State.CAPTURING
        assert progress.alert is None
    progress = submitted(progress, MISMATCH, NOW_MS + retries)
    assert progress.session.state is State.DECLINED
    assert progress.session.reasons == (Reason.FACE_MISMATCH,)
    assert progress.customer.open_sessions == {}
    assert progress.alert is not None
    assert progress.alert.alert_type is AlertType.RETRY_LIMIT_EXCEEDED
    assert progress.alert.id == progress.session.alert_id == "alr_new"


def test_no_alert_where_the_tenant_wants_none() -> None:
    """`trigger_alert` off means that none is made."""
    quiet = Reactions(max_retry_attempts=0, trigger_alert=False)
    progress = submitted(opened(a_customer(), quiet), MISMATCH, NOW_MS)
    assert progress.session.state is State.DECLINED
    assert progress.alert is None
    assert progress.session.alert_id == ""


def test_failures_of_a_reference_carry_over() -> None:
    """A new session of the same reference begins with its failed attempts, another with none."""
    progress = submitted(opened(a_customer(), Reactions()), MISMATCH, NOW_MS)
    again = opened(progress.customer, Reactions(), NOW_MS + 1)
    assert (again.session.failed_attempts, again.session.retries_remaining) == (1, 2)
    assert again.session.tries == 0
    other = replace(OPENING, reference="order-2")
    fresh = open_session(other, progress.customer, Reactions(), "alr_new", NOW_MS + 1)
    assert fresh.session.failed_attempts == 0


def test_carried_failures_can_leave_nothing() -> None:
    """Where they exhaust the retries the session starts declined, and nobody is alarmed again."""
    progress = opened(a_customer(), Reactions(max_retry_attempts=0))
    progress = submitted(progress, MISMATCH, NOW_MS)
    again = opened(progress.customer, Reactions(max_retry_attempts=0), NOW_MS + 1)
    assert again.session.state is State.DECLINED
    assert again.session.reasons == (Reason.LOCKED_OUT,)
    assert again.alert is None
    assert again.customer.open_sessions == {}


def locked_out() -> Customer:
    return a_customer(failures_ms=tuple(range(NOW_MS - 10, NOW_MS)))


def test_a_locked_customer_starts_declined() -> None:
    """Ten failures within 24 hours: the next session is declined at once, and one alert tells."""
    first = opened(locked_out(), Reactions())
    assert first.session.state is State.DECLINED
    assert first.session.reasons == (Reason.LOCKED_OUT,)
    assert first.alert is not None
    assert first.alert.alert_type is AlertType.LOCKOUT
    second = open_session(OPENING, first.customer, Reactions(), "alr_other", NOW_MS + 1)
    assert second.alert is None
    assert second.session.alert_id == first.alert.id


def test_a_lock_opens_after_a_day_and_the_next_is_told_again() -> None:
    """When a failure is a day old the customer may try, and a later lockout has its own alert."""
    first = opened(locked_out(), Reactions())
    day_ms = 24 * 3_600_000
    freed = opened(first.customer, Reactions(), NOW_MS - 1 + day_ms)
    assert freed.session.state is State.CREATED
    locked = freed.customer.model_copy(
        update={"failures_ms": tuple(range(NOW_MS + day_ms - 10, NOW_MS + day_ms))}
    )
    again = open_session(OPENING, locked, Reactions(), "alr_other", NOW_MS + day_ms)
    assert again.alert is not None
    assert again.alert.id == "alr_other"


def test_the_twentieth_unfit_capture_ends_the_session() -> None:
    """Unfit captures are no attempts, but there are at most twenty of them."""
    progress = opened(a_customer(), Reactions())
    for number in range(CAPTURES_MAX - 1):
        progress = submitted(progress, UNFIT, NOW_MS + number)
        assert progress.session.state is State.CAPTURING
    progress = submitted(progress, UNFIT, NOW_MS + 30)
    assert progress.session.state is State.DECLINED
    assert progress.session.reasons == (Reason.TOO_MANY_CAPTURES,)
    assert progress.session.failed_attempts == progress.session.tries == 0
    assert progress.customer.failures_ms == ()
    assert progress.alert is not None


@given(st.lists(st.sampled_from([MATCH, MISMATCH, UNCLEAR, UNFIT]), max_size=40),
       st.integers(0, 10))  # fmt: skip
def test_attempts_are_verdicts(outcomes: list[Verdict | Recapture], retries: int) -> None:
    """Whatever comes, tries are verdicts, failures are declines, and both stay in their limits."""
    progress = opened(a_customer(), Reactions(max_retry_attempts=retries))
    judged_outcomes: list[Verdict | Recapture] = []
    for number, outcome in enumerate(outcomes):
        try:
            progress = submitted(progress, outcome, NOW_MS + number)
        except ServeError:
            assert progress.session.is_over or progress.session.state is State.NEEDS_REVIEW
            break
        judged_outcomes.append(outcome)
    session = progress.session
    assert session.tries == sum(isinstance(outcome, Verdict) for outcome in judged_outcomes)
    assert session.failed_attempts == judged_outcomes.count(MISMATCH)
    assert session.captures == judged_outcomes.count(UNFIT) <= CAPTURES_MAX
    assert session.failed_attempts <= retries + 1
    assert (session.retries_remaining == 0) == (session.failed_attempts == retries + 1)
    is_exhausted = session.retries_remaining == 0 or session.captures == CAPTURES_MAX
    assert (session.state is State.DECLINED) == is_exhausted


def test_an_approval_clears_what_was_carried() -> None:
    """The next session of an approved reference has all its submissions again."""
    progress = submitted(opened(a_customer(), Reactions()), MISMATCH, NOW_MS)
    progress = submitted(progress, MATCH, NOW_MS + 1)
    assert progress.session.state is State.APPROVED
    assert progress.session.reasons == MATCH.reasons
    assert opened(progress.customer, Reactions(), NOW_MS + 2).session.failed_attempts == 0


def test_a_review_leaves_the_retries_alone() -> None:
    """A capture that needs a reviewer is a try, but no failure."""
    progress = submitted(opened(a_customer(), Reactions()), UNCLEAR, NOW_MS)
    assert progress.session.state is State.NEEDS_REVIEW
    assert (progress.session.tries, progress.session.retries_remaining) == (1, 3)


def test_a_reviewers_approval_clears_what_was_carried() -> None:
    """It counts as the approval that it is."""
    progress = submitted(opened(a_customer(), Reactions()), MISMATCH, NOW_MS)
    progress = submitted(progress, UNCLEAR, NOW_MS + 1)
    progress = review(progress.session, progress.customer, Outcome.APPROVED, "alr", LATER_MS)
    assert progress.session.state is State.APPROVED
    assert opened(progress.customer, Reactions(), LATER_MS + 1).session.failed_attempts == 0


def test_a_reviewers_decline_is_told_as_such() -> None:
    """It ends the session with its own reason and the tenant's reactions."""
    progress = review(in_state(State.NEEDS_REVIEW), HOLDER, Outcome.DECLINED, "alr", LATER_MS)
    assert progress.session.reasons == (Reason.REVIEW_DECLINED,)
    assert progress.customer.open_sessions == {}
    assert progress.alert is not None


@pytest.mark.parametrize("state", [State.CAPTURING, State.APPROVED])
def test_only_the_submission_under_judgement_is_current(state: State) -> None:
    """Another operation, and any once the session has moved on, decides nothing."""
    assert is_current(in_state(State.PROCESSING), "op")
    assert not is_current(in_state(State.PROCESSING), "other")
    assert not is_current(in_state(state), "op")


def test_time_alone_takes_an_expired_session_off_the_list() -> None:
    """Only the step that expires it changes the customer."""
    session = in_state(State.CAPTURING)
    assert run_out(session, HOLDER, LATER_MS) == Progress(session, HOLDER)
    gone = run_out(session, HOLDER, NOW_MS + 600_000)
    assert gone.customer.open_sessions == {}
    freed = run_out(in_state(State.PROCESSING), HOLDER, NOW_MS + 30_000)
    assert freed.customer == HOLDER


def test_the_capture_may_come_before_the_phone() -> None:
    """An SDK that never connects moves from created through capturing in one step."""
    begun = begin(in_state(State.CREATED), SUBMISSION, LATER_MS)
    assert begun.submission == SUBMISSION
    assert begun.updated_at_ms == LATER_MS
