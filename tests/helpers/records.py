"""Builders of the service's records, valid by default; a test gives what it is about."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from pipeline.evidence import Template
from serve.domain.alert import Alert, AlertType
from serve.domain.callback import CallbackEvent, callback_for
from serve.domain.customer import Customer
from serve.domain.handoff import Handoff
from serve.domain.ids import Mode, Prefix, Subject, make_id, make_token
from serve.domain.session import Session, State
from serve.domain.tenancy.preferences import Event, Reactions

NOW_MS = 1_763_700_000_000
TENANT = "ten_a"
MODEL = "model.1"


def an_id(prefix: Prefix, partition: int, number: int = 0) -> str:
    """An id of that partition; another `number` gives another."""
    return make_id(prefix, partition, number.to_bytes(16, "big"))


def a_token(partition: int, number: int = 0) -> str:
    """A session token of that partition."""
    return make_token(partition, number.to_bytes(32, "big"))


def subjects_apart(subject_of: Callable[[str, Mode, str], Subject], number: int) -> list[Subject]:
    """So many customers, each in a partition of its own, which keys made anew may well share."""
    found: dict[int, Subject] = {}
    numbers = count()
    while len(found) < number:
        subject = subject_of(TENANT, Mode.TEST, f"customer-{next(numbers)}")
        found.setdefault(subject.partition, subject)
    return list(found.values())


def a_customer(**changes: Any) -> Customer:
    """A customer without a face."""
    return Customer(**{"customer_id": "alice", "created_at_ms": NOW_MS, **changes})


def a_session(partition: int = 0, number: int = 0, **changes: Any) -> Session:
    """A session that was opened just now."""
    fields: dict[str, Any] = {
        "id": an_id(Prefix.SESSION, partition, number),
        "tenant_id": TENANT,
        "mode": Mode.TEST,
        "customer_id": "alice",
        "reference": "order-1",
        "event": Event.LOGIN,
        "state": State.CREATED,
        "token_sha256": "0" * 64,
        "callback_url": "https://tenant.example/hook",
        "created_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
        "expires_at_ms": NOW_MS + 600_000,
        "reactions": Reactions(),
    }
    return Session(**{**fields, **changes})


def a_callback(session: Session, number: int = 0, **changes: Any) -> CallbackEvent:
    """The callback that tells of `session`."""
    partition = int(session.id.removeprefix("ses_")[:2])
    _, event = callback_for(session, an_id(Prefix.EVENT, partition, number), NOW_MS)
    return event.model_copy(update=changes)


def an_alert(partition: int = 0, number: int = 0, **changes: Any) -> Alert:
    """An open alert of `a_session`."""
    fields: dict[str, Any] = {
        "id": an_id(Prefix.ALERT, partition, number),
        "tenant_id": TENANT,
        "mode": Mode.TEST,
        "customer_id": "alice",
        "session_id": an_id(Prefix.SESSION, partition),
        "reference": "order-1",
        "alert_type": AlertType.RETRY_LIMIT_EXCEEDED,
        "created_at_ms": NOW_MS + number,
        "updated_at_ms": NOW_MS + number,
    }
    return Alert(**{**fields, **changes})


def a_handoff(session: Session, subject_key: str, token_sha256: str) -> Handoff:
    """The record that a token of `session` finds."""
    return Handoff(
        token_sha256=token_sha256,
        session_id=session.id,
        tenant_id=session.tenant_id,
        mode=session.mode,
        subject_key=subject_key,
        created_at_ms=session.created_at_ms,
    )


def a_template(seed: int = 0, model_id: str = MODEL) -> Template:
    """128 numbers of unit norm, the same for the same seed."""
    vector = np.random.default_rng(seed).normal(size=128).astype(np.float32)
    return Template(model_id, vector / np.float32(np.linalg.norm(vector)))
