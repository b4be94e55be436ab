"""Which events call for a face: every rule of the contract, at every edge."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.tenancy.preferences import (
    Event,
    FrequencyTrigger,
    Preferences,
    ThresholdTrigger,
    Triggers,
)
from serve.domain.tenancy.trigger import Exemption, Occurrence, exemption

THRESHOLD_EVENTS = (Event.DEPOSIT, Event.WITHDRAWAL, Event.LARGE_BET_PLACEMENT)
FREQUENCY_EVENT = Event.HIGH_FREQUENCY_BETTING
ALL_OFF = MappingProxyType[str, object]({})
SWITCH_EVENTS = tuple(set(Event) - {*THRESHOLD_EVENTS, FREQUENCY_EVENT})


def preferences(rules: Mapping[str, object] = ALL_OFF, *, enabled: bool = True) -> Preferences:
    return Preferences(
        id="prf_a",
        tenant_id="ten_a",
        created_at_ms=0,
        updated_at_ms=0,
        is_reuse_kyc_enabled=enabled,
        reuse_kyc_triggers=Triggers.model_validate(rules),
    )


def all_on() -> dict[str, object]:
    rules: dict[str, object] = {event.value: True for event in SWITCH_EVENTS}
    rules |= {event.value: ThresholdTrigger(enabled=True) for event in THRESHOLD_EVENTS}
    return {**rules, FREQUENCY_EVENT.value: FrequencyTrigger(enabled=True)}


def said(rules: Preferences, event: str, *numbers: float | None) -> Exemption | None:
    occurrence = Occurrence(event, *numbers)  # type: ignore[arg-type]
    return exemption(rules, occurrence, has_prior_kyc=True)


@pytest.mark.parametrize("event", Event)
def test_each_event_has_its_switch(event: Event) -> None:
    """With everything on the event calls for a face; with its own rule off it does not."""
    assert said(preferences(all_on()), event) is None
    off = {name: rule for name, rule in all_on().items() if name != event}
    assert said(preferences(off), event) is Exemption.EVENT_DISABLED


@pytest.mark.parametrize("event", Event)
def test_the_master_switch_outweighs_every_rule(event: Event) -> None:
    """Where event-based verification is off nothing calls for a face."""
    assert said(preferences(all_on(), enabled=False), event) is Exemption.FEATURE_DISABLED


@pytest.mark.parametrize("event", ["", "logout", "LOGIN", " login"])
def test_an_unknown_event_passes_through(event: str) -> None:
    """Empty and unknown events pass, with a reason of their own to be counted by."""
    assert said(preferences(all_on()), event) is Exemption.UNKNOWN_EVENT


@pytest.mark.parametrize("event", Event)
def test_without_a_verified_face_there_is_nothing_to_compare(event: Event) -> None:
    """A customer without prior KYC is let pass, but only for that reason."""
    on = preferences(all_on())
    assert exemption(on, Occurrence(event), has_prior_kyc=False) is Exemption.NO_PRIOR_KYC
    off = preferences()
    assert exemption(off, Occurrence(event), has_prior_kyc=False) is Exemption.EVENT_DISABLED


@pytest.mark.parametrize("event", THRESHOLD_EVENTS)
@pytest.mark.parametrize(
    ("threshold", "amount", "expected"),
    [
        (0, None, None),
        (0, 0.0, None),
        (0, 1e12, None),
        (None, None, None),
        (None, 5.0, None),
        (100, None, Exemption.THRESHOLD_NOT_MET),
        (100, 0.0, Exemption.THRESHOLD_NOT_MET),
        (100, math.nextafter(100, 0), Exemption.THRESHOLD_NOT_MET),
        (100, 100.0, None),
        (100, 100.01, None),
        (0.01, 0.0, Exemption.THRESHOLD_NOT_MET),
        (0.01, 0.01, None),
        (100, math.nan, None),  # never reaches here, but if it did it would be checked
    ],
)
def test_threshold_rules(
    event: Event, threshold: float | None, amount: float | None, expected: Exemption | None
) -> None:
    """Any amount at threshold 0 or none; at or above it otherwise; never without an amount."""
    rule = ThresholdTrigger(enabled=True, threshold=threshold)
    assert said(preferences({event: rule}), event, amount) is expected
    off = ThresholdTrigger(enabled=False, threshold=threshold)
    assert said(preferences({event: off}), event, amount) is Exemption.EVENT_DISABLED


@pytest.mark.parametrize(
    ("count", "window", "events", "minutes", "fires"),
    [
        (0, 0, None, None, True),
        (None, None, None, None, True),
        (5, 0, 5, None, True),
        (5, 0, 4, None, False),
        (5, 0, None, None, False),
        (5, None, 5, 10_000, True),
        (0, 10, None, 10, True),
        (0, 10, None, 11, False),
        (0, 10, None, 0, True),
        (5, 10, 5, 10, True),
        (5, 10, 4, 10, False),
        (5, 10, 5, 11, False),
        (5, 10, 4, 11, False),
        (5, 10, 5, None, True),  # a window that is not told hides nothing
    ],
)
def test_the_frequency_rule(
    count: int | None, window: int | None, events: int | None, minutes: int | None, *, fires: bool
) -> None:
    """Both bounds must hold, and a bound of 0 or none is not enforced."""
    rule = FrequencyTrigger(enabled=True, count=count, window_minutes=window)
    found = said(preferences({FREQUENCY_EVENT: rule}), FREQUENCY_EVENT, None, events, minutes)
    assert found is (None if fires else Exemption.FREQUENCY_NOT_MET)


@given(
    st.floats(0, 1e9), st.floats(0, 1e9), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)
)
def test_more_at_stake_never_calls_for_less(
    threshold: float, amount: float, count: int, events: int, minutes: int
) -> None:
    """Raising an amount or a count never turns a required face into none."""
    rules = preferences(
        {
            Event.DEPOSIT: ThresholdTrigger(enabled=True, threshold=threshold),
            FREQUENCY_EVENT: FrequencyTrigger(enabled=True, count=count, window_minutes=50),
        }
    )
    if said(rules, Event.DEPOSIT, amount) is None:
        assert said(rules, Event.DEPOSIT, amount * 2) is None
    if said(rules, FREQUENCY_EVENT, None, events, minutes) is None:
        assert said(rules, FREQUENCY_EVENT, None, events + 1, minutes) is None


def test_every_exemption_has_a_sentence() -> None:
    """The tenant reads a sentence of its own for each reason."""
    sentences = {reason.sentence for reason in Exemption}
    assert len(sentences) == len(Exemption)
    assert all(sentence.endswith(".") for sentence in sentences)
