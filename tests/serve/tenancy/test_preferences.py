"""Preferences: what they are at first, and how a partial update merges into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve.domain.tenancy.preferences import (
    Event,
    FrequencyTrigger,
    Preferences,
    PreferencesPatch,
    Reactions,
    ThresholdTrigger,
    Triggers,
    patched,
)

FRESH = Preferences(id="prf_a", tenant_id="ten_a", created_at_ms=1, updated_at_ms=1)


def after(patch: dict[str, object], before: Preferences = FRESH) -> Preferences:
    return patched(before, PreferencesPatch.model_validate(patch), 2)


def test_a_new_tenant_asks_for_no_face() -> None:
    """At first the master switch and all 13 triggers are off, and reactions are the contract's."""
    assert not FRESH.is_reuse_kyc_enabled
    assert set(Triggers.model_fields) == {event.value for event in Event}
    assert len(Event) == 13
    for rule in FRESH.reuse_kyc_triggers.model_dump().values():
        assert rule is False or rule["enabled"] is False
    assert FRESH.reuse_kyc_reactions.model_dump() == {
        "max_retry_attempts": 2,
        "trigger_alert": True,
        "enforce_logout": False,
        "freeze_account": False,
        "freeze_duration_minutes": 0,
    }


def test_an_empty_patch_changes_only_the_date() -> None:
    """What a patch does not name stays."""
    assert after({}) == FRESH.model_copy(update={"updated_at_ms": 2})


def test_triggers_merge_by_event() -> None:
    """A partial update of the triggers changes only the events present."""
    first = after({"reuse_kyc_triggers": {"login": True, "deposit": {"enabled": True}}})
    second = after({"reuse_kyc_triggers": {"name_change": True}}, first)
    assert second.reuse_kyc_triggers == Triggers(
        login=True, name_change=True, deposit=ThresholdTrigger(enabled=True)
    )


def test_a_rule_given_replaces_its_whole_rule() -> None:
    """Within one event nothing merges: an absent member is 0."""
    first = after(
        {
            "reuse_kyc_triggers": {
                "deposit": {"enabled": True, "threshold": 500},
                "high_frequency_betting": {"enabled": True, "count": 5, "window_minutes": 10},
            }
        }
    )
    second = after(
        {
            "reuse_kyc_triggers": {
                "deposit": {"enabled": True},
                "high_frequency_betting": {"enabled": True, "count": 7},
            }
        },
        first,
    )
    assert second.reuse_kyc_triggers.deposit == ThresholdTrigger(enabled=True, threshold=0)
    assert second.reuse_kyc_triggers.high_frequency_betting == FrequencyTrigger(
        enabled=True, count=7, window_minutes=0
    )


@given(st.fixed_dictionaries({}, optional={
    "max_retry_attempts": st.integers(0, 10),
    "trigger_alert": st.booleans(),
    "enforce_logout": st.booleans(),
    "freeze_account": st.booleans(),
    "freeze_duration_minutes": st.integers(0, 525_600),
}))  # fmt: skip
def test_reactions_merge_key_by_key(given_keys: dict[str, object]) -> None:
    """A partial update of the reactions changes exactly the keys present."""
    before = after(
        {
            "reuse_kyc_reactions": {
                "max_retry_attempts": 7,
                "trigger_alert": False,
                "enforce_logout": True,
                "freeze_account": True,
                "freeze_duration_minutes": 30,
            }
        }
    )
    merged = after({"reuse_kyc_reactions": given_keys}, before).reuse_kyc_reactions
    assert merged.model_dump() == {**before.reuse_kyc_reactions.model_dump(), **given_keys}


@pytest.mark.parametrize(
    "patch",
    [
        {"unknown": 1},
        {"reuse_kyc_triggers": {"logout": True}},
        {"reuse_kyc_triggers": {"deposit": {"enabled": True, "limit": 1}}},
        {"reuse_kyc_triggers": {"deposit": {"enabled": True, "threshold": -1}}},
        {"reuse_kyc_triggers": {"deposit": {"enabled": True, "threshold": float("nan")}}},
        {"reuse_kyc_triggers": {"high_frequency_betting": {"count": -1}}},
        {"reuse_kyc_reactions": {"max_retry_attempts": 11}},
        {"reuse_kyc_reactions": {"max_retry_attempts": -1}},
        {"reuse_kyc_reactions": {"freeze_duration_minutes": 525_601}},
        {"reuse_kyc_reactions": {"freeze": True}},
        {"id": "prf_b"},
        {"tenant_id": "ten_b"},
    ],
)
def test_what_no_patch_may_say_is_refused(patch: dict[str, object]) -> None:
    """Unknown names, values out of range and server-set fields are no part of a patch."""
    with pytest.raises(ValidationError):
        PreferencesPatch.model_validate(patch)


def test_the_widest_reactions_are_allowed() -> None:
    """The bounds themselves are allowed."""
    widest = {"max_retry_attempts": 10, "freeze_duration_minutes": 525_600}
    assert Reactions.model_validate(widest).max_retry_attempts == 10
