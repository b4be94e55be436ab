"""Sessions: the graph of states, what the wire says of each, and what time alone does."""

from itertools import product

import pytest

from pipeline.decision.reasons import Reason
from serve.domain.session import (
    INITIAL,
    MOVES,
    REVIEW_MS_MAX,
    KycStatus,
    Session,
    State,
    Submission,
    elapsed,
    moved,
)
from serve.domain.tenancy.preferences import Reactions
from tests.helpers.records import NOW_MS, a_session

PUBLISHED = {
    State.CREATED: {State.CAPTURING, State.EXPIRED, State.CANCELED},
    State.CAPTURING: {State.PROCESSING, State.EXPIRED, State.CANCELED},
    State.PROCESSING: {State.CAPTURING, State.APPROVED, State.DECLINED, State.NEEDS_REVIEW},
    State.NEEDS_REVIEW: {State.APPROVED, State.DECLINED, State.EXPIRED, State.CANCELED},
    State.APPROVED: set(),
    State.DECLINED: set(),
    State.EXPIRED: set(),
    State.CANCELED: set(),
}
EXPIRES_MS = NOW_MS + 600_000


def processing(lease_until_ms: int) -> Session:
    submission = Submission(op_id="op", lease_until_ms=lease_until_ms)
    return a_session(state=State.PROCESSING, submission=submission)


@pytest.mark.parametrize(("before", "after"), [*product(State, State)])
def test_every_pair_of_states(before: State, after: State) -> None:
    """A session moves along the published graph, and any other move is a defect."""
    session = a_session(state=before)
    if after in PUBLISHED[before]:
        assert moved(session, after, NOW_MS + 1).state is after
    else:
        with pytest.raises(AssertionError):
            moved(session, after, NOW_MS + 1)


def test_every_state_can_be_reached_and_left() -> None:
    """From the first states all others follow, and only the four ends follow nothing."""
    reached = set(INITIAL)
    while more := {after for state in reached for after in MOVES[state]} - reached:
        reached |= more
    assert reached == set(State)
    ends = {state for state in State if a_session(state=state).is_over}
    assert ends == {State.APPROVED, State.DECLINED, State.EXPIRED, State.CANCELED}


@pytest.mark.parametrize(
    ("state", "tries", "expected"),
    [
        (State.CREATED, 0, KycStatus.PENDING),
        (State.CAPTURING, 0, KycStatus.PENDING),
        (State.CAPTURING, 1, KycStatus.DECLINED),
        (State.PROCESSING, 1, KycStatus.PROCESSING),
        (State.APPROVED, 1, KycStatus.APPROVED),
        (State.DECLINED, 3, KycStatus.DECLINED),
        (State.NEEDS_REVIEW, 1, KycStatus.NEEDS_REVIEW),
        (State.EXPIRED, 0, KycStatus.EXPIRED),
        (State.CANCELED, 0, KycStatus.CANCELED),
    ],
)
def test_the_wires_word_for_each_state(state: State, tries: int, expected: KycStatus) -> None:
    """Each state has the status of the contract; a failed try with retries left is declined."""
    assert a_session(state=state, tries=tries).status is expected


@pytest.mark.parametrize(
    ("retries", "failed", "left"), [(2, 0, 3), (2, 2, 1), (2, 3, 0), (0, 4, 0)]
)
def test_submissions_left(retries: int, failed: int, left: int) -> None:
    """There are retries plus one submissions in all, and never less than none left."""
    session = a_session(reactions=Reactions(max_retry_attempts=retries), failed_attempts=failed)
    assert session.max_attempts == retries + 1
    assert session.retries_remaining == left


@pytest.mark.parametrize("state", [State.CREATED, State.CAPTURING])
def test_an_unused_session_expires(state: State) -> None:
    """Its ten minutes over it has expired, with the reason, and not a millisecond before."""
    session = a_session(state=state)
    assert elapsed(session, EXPIRES_MS - 1) is session
    gone = elapsed(session, EXPIRES_MS)
    assert gone.state is State.EXPIRED
    assert gone.reasons == (Reason.SESSION_EXPIRED,)


def test_a_lease_that_runs_out_frees_the_session() -> None:
    """The capture being judged counts as never made, and the session takes another."""
    session = processing(NOW_MS + 30_000)
    assert elapsed(session, NOW_MS + 29_999) is session
    freed = elapsed(session, NOW_MS + 30_000)
    assert (freed.state, freed.submission) == (State.CAPTURING, None)
    assert (freed.tries, freed.failed_attempts, freed.captures) == (0, 0, 0)


def test_a_submission_accepted_in_time_may_finish_late() -> None:
    """The lease alone ends a judgement; only when it runs out has the session expired as well."""
    session = processing(EXPIRES_MS + 20_000)
    assert elapsed(session, EXPIRES_MS + 19_999) is session
    assert elapsed(session, EXPIRES_MS + 20_000).state is State.EXPIRED


def test_a_review_that_nobody_makes_expires() -> None:
    """After 30 days without a decision there is none to make."""
    session = a_session(state=State.NEEDS_REVIEW)
    assert elapsed(session, NOW_MS + REVIEW_MS_MAX - 1) is session
    assert elapsed(session, NOW_MS + REVIEW_MS_MAX).state is State.EXPIRED


@pytest.mark.parametrize("state", [state for state in State if not PUBLISHED[state]])
def test_what_is_over_stays_over(state: State) -> None:
    """No time moves a session that has ended."""
    session = a_session(state=state)
    assert session.due_ms is None
    assert elapsed(session, NOW_MS + 100 * REVIEW_MS_MAX) is session


def test_a_session_prints_nobody() -> None:
    """Neither customer, reference, token digest nor URLs appear in a session's repr."""
    session = a_session(redirect_url="https://tenant.example/back")
    text = repr(session)
    for secret in ("alice", "order-1", session.token_sha256, "tenant.example"):
        assert secret not in text
