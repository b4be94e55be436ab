"""The hand-off record: how long it is read, and what it does not hold."""

import pytest

from serve.domain.handoff import HANDOFF_VALID_MS, check_readable
from serve.domain.ids import Mode, Subject
from serve.errors import Code, ServeError
from tests.helpers.records import NOW_MS, TENANT, a_handoff, a_session

HANDOFF = a_handoff(a_session(), "0" * 32, "f" * 64)


def test_it_is_read_for_fifteen_minutes() -> None:
    """A millisecond less is in time, and from then on the token has expired."""
    check_readable(HANDOFF, NOW_MS + HANDOFF_VALID_MS - 1)
    with pytest.raises(ServeError) as refused:
        check_readable(HANDOFF, NOW_MS + HANDOFF_VALID_MS)
    assert refused.value.code is Code.TOKEN_EXPIRED


def test_it_leads_to_the_customer_without_naming_them() -> None:
    """Its subject is found again, and nothing in it is personal."""
    assert HANDOFF.subject == Subject(TENANT, Mode.TEST, "0" * 32)
    assert "alice" not in HANDOFF.model_dump_json()
    assert "order-1" not in HANDOFF.model_dump_json()
