"""Entries of the audit trail: their words, and what they may hold."""

import re
from dataclasses import fields

import pytest

from serve.domain.audit import (
    OPERATOR,
    PERSON,
    SERVICE,
    Action,
    Actor,
    ActorKind,
    AuditEntry,
    AuditRecord,
    Concern,
)
from serve.domain.ids import Mode, Subject


@pytest.mark.parametrize("actor", [PERSON, OPERATOR, SERVICE, Actor(ActorKind.KEY, "AbC-_123")])
def test_an_actor_is_read_as_it_was_kept(actor: Actor) -> None:
    """The text of an actor tells who it was."""
    assert Actor.parse(str(actor)) == actor


def test_actions_are_a_noun_and_what_became_of_it() -> None:
    """Every word of the enum has the one form that readers of a trail can filter by."""
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", action) for action in Action)


def test_whom_it_concerns_is_a_customer_only_with_world_and_digest() -> None:
    """A subject comes back as it went in; a tenant and the install name no customer."""
    subject = Subject("ten_a", Mode.LIVE, "0" * 32)
    assert Concern.of(subject).subject == subject
    for concern in (Concern(), Concern("ten_a"), Concern("ten_a", Mode.TEST)):
        assert concern.subject is None


def test_an_entry_has_no_place_for_what_is_personal() -> None:
    """A record has ids, words, a time and a number: whoever adds a field decides it here."""
    assert {item.name for item in fields(AuditEntry)} == {
        "action", "actor", "target", "outcome", "count",
    }  # fmt: skip
    assert {item.name for item in fields(AuditRecord)} == {"id", "at_ms", "concern", "entry"}
