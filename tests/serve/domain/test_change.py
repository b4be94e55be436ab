"""Changes: how a step is written down, and what becomes of an older session."""

import pytest

from pipeline.decision.verdict import Outcome
from serve.domain.audit import OPERATOR
from serve.domain.change import Change, closing, merged, settle, supersede
from serve.domain.progress import Progress, cancel, release, review
from serve.domain.session import Session, State, Submission, moved
from serve.domain.tenancy.preferences import Event
from tests.helpers.records import NOW_MS, a_customer, a_session

LATER_MS = NOW_MS + 1_000
SUBMISSION = Submission(op_id="op", lease_until_ms=NOW_MS + 30_000)
LISTED = a_session()
HOLDER = a_customer(open_sessions={Event.LOGIN: LISTED.id})
SUCCESSOR = a_customer(open_sessions={Event.LOGIN: "ses_later"})


def in_state(state: State) -> Session:
    submission = SUBMISSION if state is State.PROCESSING else None
    return a_session(state=state, submission=submission)


def test_a_step_that_tells_makes_a_callback() -> None:
    """The callback and the session that counts it are part of the same change."""
    step = cancel(LISTED, HOLDER, LATER_MS)
    change = settle(LISTED, step, "msg_1", LATER_MS, tells=True)
    assert [event.id for event in change.callbacks] == ["msg_1"]
    assert change.sessions[0].sequence == change.callbacks[0].sequence == 1
    assert change.counts == {"sessions.pending": -1, "sessions.canceled": 1}


def test_a_step_that_tells_nobody_makes_none() -> None:
    """Without the wish, or without a URL, there is no callback and no number is used up."""
    step = cancel(LISTED, HOLDER, LATER_MS)
    assert settle(LISTED, step, "msg_1", LATER_MS, tells=False).callbacks == ()
    silent = a_session(callback_url="")
    change = settle(silent, cancel(silent, HOLDER, LATER_MS), "msg_1", LATER_MS, tells=True)
    assert change.callbacks == ()
    assert change.sessions[0].sequence == 0


def test_counts_follow_the_status() -> None:
    """A new session is counted once in all; a step within one status changes no count."""
    assert settle(None, Progress(LISTED, HOLDER), "", NOW_MS, tells=False).counts == {
        "sessions.total": 1,
        "sessions.pending": 1,
    }
    attached = moved(LISTED, State.CAPTURING, LATER_MS)
    assert settle(LISTED, Progress(attached, HOLDER), "", LATER_MS, tells=False).counts == {}


def test_a_decision_drops_the_capture_kept_for_it() -> None:
    """The image goes with the review, and with nothing else."""
    held = in_state(State.NEEDS_REVIEW)
    decided = review(held, HOLDER, Outcome.APPROVED, "alr", LATER_MS)
    change = settle(held, decided, "msg_1", LATER_MS, tells=True)
    assert change.captures == {held.id: None}
    assert (
        settle(LISTED, cancel(LISTED, HOLDER, LATER_MS), "m", LATER_MS, tells=True).captures == {}
    )


@pytest.mark.parametrize("state", [State.CREATED, State.CAPTURING])
def test_a_usable_older_session_is_canceled(state: State) -> None:
    """Whoever could still use it cannot any more, and its tenant is told."""
    change = supersede(in_state(state), HOLDER, "msg_1", LATER_MS, OPERATOR)
    assert change is not None
    assert change.sessions[0].state is State.CANCELED
    assert len(change.callbacks) == 1
    assert change.customer.open_sessions == {}


def test_an_older_session_that_ran_out_has_expired() -> None:
    """What time did first is what is written down and told."""
    change = supersede(LISTED, HOLDER, "msg_1", NOW_MS + 600_000, OPERATOR)
    assert change is not None
    assert change.sessions[0].state is State.EXPIRED


@pytest.mark.parametrize(
    "state", [state for state in State if state not in {State.CREATED, State.CAPTURING}]
)
def test_any_other_older_session_is_left(state: State) -> None:
    """One being judged may finish, one under review stays there, one that is over stays over."""
    assert supersede(in_state(state), HOLDER, "msg_1", LATER_MS, OPERATOR) is None


def test_a_superseded_session_ends_when_its_judgement_leaves_it_open() -> None:
    """Two sessions of one event are never open at once: a failed try closes the older."""
    before = in_state(State.PROCESSING)
    back = Progress(release(before, LATER_MS), SUCCESSOR)
    change = closing(settle(before, back, "msg_1", LATER_MS, tells=True), "msg_2", LATER_MS)
    assert [session.state for session in change.sessions] == [State.CANCELED]
    assert [event.sequence for event in change.callbacks] == [1, 2]
    assert change.customer == SUCCESSOR
    assert change.counts == {"sessions.processing": -1, "sessions.canceled": 1}


def test_the_listed_session_stays_open() -> None:
    """A failed try of the customer's open session leaves it open."""
    before = in_state(State.PROCESSING)
    back = Progress(release(before, LATER_MS), HOLDER)
    change = settle(before, back, "", LATER_MS, tells=False)
    assert closing(change, "msg_2", LATER_MS) is change


def test_merged_changes_keep_both() -> None:
    """Where both speak of one record the later counts; everything else is joined."""
    one = Change(
        customer=HOLDER,
        sessions=(LISTED,),
        captures={"a": b"1", "b": b"1"},
        counts={"x": 1, "y": 1},
        ended_jobs={"job_1": 1},
        answer=b"one",
    )
    ended = cancel(LISTED, HOLDER, LATER_MS).session
    two = Change(customer=SUCCESSOR, sessions=(ended,), captures={"b": None}, counts={"x": -1})
    both = merged(one, two)
    assert both.customer == SUCCESSOR
    assert both.sessions == (ended,)
    assert both.captures == {"a": b"1", "b": None}
    assert both.counts == {"y": 1}
    assert both.ended_jobs == {"job_1": 1}
    assert both.answer == b"one"
