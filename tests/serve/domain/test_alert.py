"""Alerts: what an operator may change of one."""

import pytest
from pydantic import ValidationError

from serve.domain.alert import AlertPatch, AlertStatus, AlertType, patched
from tests.helpers.records import NOW_MS, an_alert


def test_a_patch_changes_only_what_it_names() -> None:
    """Status and type change alone or together, and the change is dated."""
    seen = patched(an_alert(), AlertPatch(status=AlertStatus.IN_REVIEW), NOW_MS + 5)
    changes = {"status": AlertStatus.IN_REVIEW, "updated_at_ms": NOW_MS + 5}
    assert seen == an_alert().model_copy(update=changes)
    typed = patched(seen, AlertPatch(alert_type=AlertType.DUPLICATE_FACE), NOW_MS + 6)
    assert (typed.status, typed.alert_type) == (AlertStatus.IN_REVIEW, AlertType.DUPLICATE_FACE)


@pytest.mark.parametrize("patch", [{"status": "closed"}, {"alert_type": "x"}, {"customer_id": "b"}])
def test_what_no_patch_may_say_is_refused(patch: dict[str, object]) -> None:
    """Other words and other members are errors."""
    with pytest.raises(ValidationError):
        AlertPatch.model_validate(patch)


def test_an_alert_prints_nobody() -> None:
    """Neither customer nor reference appear in the repr."""
    assert "alice" not in repr(an_alert())
    assert "order-1" not in repr(an_alert())
