"""The checker itself: it must see what it is there to see."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history import UNANSWERED, Found, Journey, complaints

DECLINED = {"status": "declined", "resource_id": "ses_1"}
APPROVED = {"status": "approved", "resource_id": "ses_1"}


def a_journey(**changes: Any) -> Journey:
    """Enrolled, declined once, then approved; all of it acknowledged."""
    fields: dict[str, Any] = {
        "customer_id": "c", "face_id": "f", "token": "t", "session_id": "ses_1",
        "verdicts": [DECLINED, APPROVED], "submitted": 2,
    }  # fmt: skip
    return Journey(**{**fields, **changes})


TRAIL = (
    ("session.judged", "ses_1", "approved"),
    ("session.judged", "ses_1", "declined"),
    ("session.opened", "ses_1", "created"),
    ("customer.enrolled", "f", ""),
)
GOOD = Found(
    kyc_status="approved", enrolled_again=200, face_id="f", status=APPROVED,
    session={"attempts": 1}, callbacks=((1, "declined", "m1"), (2, "approved", "m2")),
    trail=TRAIL,
)  # fmt: skip


def test_a_service_that_keeps_its_word_passes() -> None:
    """Nothing is said where everything acknowledged is there once."""
    assert list(complaints(a_journey(), GOOD)) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kyc_status": "pending"}, "lost"),
        ({"enrolled_again": 201}, "another face"),
        ({"face_id": "g"}, "another face"),
        ({"status": None}, "session"),
        ({"session": {"attempts": 2}, "status": DECLINED}, "told approved"),
        ({"session": {"attempts": 0}}, "0 counted"),
        ({"session": {"attempts": 3}}, "3 counted"),
        ({"callbacks": ((1, "declined", "m1"),)}, "0 callbacks"),
        ({"callbacks": ((1, "declined", "m1"), (2, "approved", "m2"), (2, "approved", "m3"))},
         "different callbacks"),
        ({"callbacks": ((1, "declined", "m1"), (2, "approved", "m2"), (3, "declined", "m3"))},
         "told of 2 captures"),
        ({"trail": TRAIL[1:]}, "the entry is lost"),
        ({"trail": (TRAIL[0], *TRAIL)}, "in the trail of"),
        ({"trail": TRAIL[:-1]}, "0 enrolments in the trail"),
        ({"trail": (*TRAIL, TRAIL[-1])}, "2 enrolments in the trail"),
    ],
)  # fmt: skip
def test_each_broken_promise_is_seen(changes: dict[str, Any], word: str) -> None:
    """What is lost, doubled or contradicted is complained of in its own words."""
    assert any(word in line for line in complaints(a_journey(), replace(GOOD, **changes)))


def test_a_capture_refused_for_no_reason_is_seen() -> None:
    """A session that still takes captures, and refuses one, counted another twice."""
    journey = a_journey(refused="409 attempts_exhausted")
    assert any("had to be taken" in line for line in complaints(journey, GOOD))


def test_what_was_never_answered_may_be_either_way() -> None:
    """A second capture without an answer may have counted or not."""
    journey = a_journey(verdicts=[DECLINED], submitted=2)
    once = replace(GOOD, status=DECLINED, callbacks=((1, "declined", "m1"),))
    twice = replace(
        GOOD, status=DECLINED, session={"attempts": 2},
        callbacks=((1, "declined", "m1"), (2, "declined", "m2")),
    )  # fmt: skip
    assert list(complaints(journey, once)) == []
    assert list(complaints(journey, twice)) == []


def test_an_erased_customer_who_comes_back_is_seen() -> None:
    """After an acknowledged erasure nothing may know the customer."""
    journey = a_journey(is_erasing=True, erasure_id="era_1")
    assert any("still known" in line for line in complaints(journey, GOOD))
    erased = ("customer.erased", "era_1", "")
    gone = replace(GOOD, kyc_status="pending", trail=(erased, *TRAIL))
    assert list(complaints(journey, gone)) == []
    for trail in (TRAIL, (erased, erased, *TRAIL)):
        (line,) = complaints(journey, replace(gone, trail=trail))
        assert "erasures in the trail" in line


def test_a_session_opened_twice_under_one_key_is_seen() -> None:
    """Whoever names a request gets one session of it, however often it is sent."""
    journey = a_journey(is_keyed=True)
    assert list(complaints(journey, GOOD)) == []
    opened = ("session.opened", "ses_2", "created")
    unopened = tuple(entry for entry in TRAIL if entry[0] != "session.opened")
    for trail in (unopened, (opened, *TRAIL)):
        (line,) = complaints(journey, replace(GOOD, trail=trail))
        assert "under one key" in line


def test_an_erasure_that_finds_nobody_under_its_key_is_seen() -> None:
    """A repeat under a key gets the receipt; one without may find that nobody is there."""
    gone = replace(GOOD, kyc_status="pending", trail=(("customer.erased", "era_1", ""), *TRAIL))
    journey = a_journey(is_erasing=True, erasure_id=UNANSWERED)
    assert list(complaints(journey, gone)) == []
    journey = a_journey(is_keyed=True, is_erasing=True, erasure_id=UNANSWERED)
    (line,) = complaints(journey, gone)
    assert "found nobody" in line
