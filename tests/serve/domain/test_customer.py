"""What is remembered of a customer: carried failures, lockout, open sessions."""

from hypothesis import given
from hypothesis import strategies as st

from serve.domain.customer import (
    CARRY_OVER_MS,
    LOCKOUT_FAILURES,
    LOCKOUT_WINDOW_MS,
    with_failure,
    with_open_session,
    without_carried,
    without_open_session,
)
from serve.domain.tenancy.preferences import Event
from tests.helpers.records import NOW_MS, a_customer

DAY_MS = 24 * 3_600_000


def test_failures_carry_over_for_a_day() -> None:
    """Failed attempts of a reference count for 24 hours from the first, and only for it."""
    customer = with_failure(a_customer(), "order-1", NOW_MS)
    customer = with_failure(customer, "order-1", NOW_MS + CARRY_OVER_MS - 2)
    assert customer.carried_failures("order-1", NOW_MS + CARRY_OVER_MS - 1) == 2
    assert customer.carried_failures("order-1", NOW_MS + CARRY_OVER_MS) == 0
    assert customer.carried_failures("order-2", NOW_MS) == 0


def test_an_approval_forgets_the_references_failures() -> None:
    """Once approved a reference starts afresh; others keep theirs, and so does the lockout."""
    customer = with_failure(with_failure(a_customer(), "order-1", NOW_MS), "order-2", NOW_MS)
    cleared = without_carried(customer, "order-1")
    assert cleared.carried_failures("order-1", NOW_MS) == 0
    assert cleared.carried_failures("order-2", NOW_MS) == 1
    assert len(cleared.recent_failures(NOW_MS)) == 2


def test_ten_failures_in_a_day_lock() -> None:
    """The tenth failure within 24 hours locks, over all references, until one is a day old."""
    customer = a_customer()
    for number in range(LOCKOUT_FAILURES):
        assert not customer.is_locked(NOW_MS + number)
        customer = with_failure(customer, f"order-{number}", NOW_MS + number)
    assert customer.is_locked(NOW_MS + LOCKOUT_FAILURES)
    assert customer.is_locked(NOW_MS + LOCKOUT_WINDOW_MS - 1)
    assert not customer.is_locked(NOW_MS + LOCKOUT_WINDOW_MS)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, DAY_MS)), max_size=60))
def test_a_record_of_failures_stays_small_and_true(steps: list[tuple[str, int]]) -> None:
    """However many fail, the record is bounded and locks exactly at ten within 24 hours."""
    customer, now_ms, times = a_customer(), NOW_MS, list[int]()
    for reference, pause_ms in steps:
        now_ms += pause_ms
        times.append(now_ms)
        customer = with_failure(customer, reference, now_ms)
        recent = [at for at in times if now_ms - at < LOCKOUT_WINDOW_MS]
        assert customer.is_locked(now_ms) == (len(recent) >= LOCKOUT_FAILURES)
        assert len(customer.failures_ms) <= LOCKOUT_FAILURES
        assert len(customer.carried) <= 3


def test_one_open_session_for_each_event() -> None:
    """A later session takes its event's place, and the end of an earlier one leaves it there."""
    customer = with_open_session(a_customer(), Event.LOGIN, "ses_1")
    customer = with_open_session(customer, Event.DEPOSIT, "ses_2")
    customer = with_open_session(customer, Event.LOGIN, "ses_3")
    assert without_open_session(customer, "ses_1").open_sessions == {
        Event.LOGIN: "ses_3",
        Event.DEPOSIT: "ses_2",
    }
    assert without_open_session(customer, "ses_3").open_sessions == {Event.DEPOSIT: "ses_2"}


def test_a_customer_prints_nobody() -> None:
    """Neither the customer's id nor references of the tenant's appear in the repr."""
    text = repr(with_failure(a_customer(), "order-1", NOW_MS))
    assert "alice" not in text
    assert "order-1" not in text
