"""Credits: how many frames may come, and when more may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.liveness.credits import CREDITS, Credits
from serve.errors import Code, ServeError


def test_a_frame_without_a_credit_is_refused() -> None:
    """As many as were granted may come, and not one more."""
    credits_ = Credits(10.0, 100)
    for _ in range(CREDITS):
        credits_.spend()
    with pytest.raises(ServeError) as caught:
        credits_.spend()
    assert caught.value.code is Code.TOO_MANY_FRAMES


def test_a_clip_has_so_many_frames_and_no_more() -> None:
    """Nothing is owed beyond them, but for those that were dropped."""
    credits_ = Credits(10.0, CREDITS + 1)
    for _ in range(CREDITS):
        credits_.spend()
        credits_.owe()
    assert credits_.owed == 1
    credits_.owe(is_dropped=True)
    assert credits_.owed == 2


def test_nothing_is_granted_while_it_is_slowed_down() -> None:
    """What is owed stays owed until then."""
    credits_ = Credits(10.0, 100)
    credits_.spend()
    credits_.owe()
    credits_.slow_down(5.0)
    assert (credits_.grant(4.0), credits_.wait_s(4.0)) == (0, 1.0)
    assert credits_.grant(5.0) == 1


@given(
    per_s=st.floats(0.5, 60),
    waits=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60),
)
def test_no_pace_is_exceeded(per_s: float, waits: list[float]) -> None:
    """However it is asked, in any span no more is granted than the pace and two at once."""
    credits_, now_s, granted = Credits(per_s, 10_000), 100.0, 0
    for wait_s in waits:
        while credits_.left:
            credits_.spend()
            credits_.owe()
        now_s += wait_s
        granted += credits_.grant(now_s)
        assert credits_.left + credits_.owed <= CREDITS
    assert granted <= (now_s - 100.0) * per_s + 2.000001
