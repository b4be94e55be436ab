"""Second signals: what a customer gave beside a face. A tenant sends a hash of it, of its own
making; kept is a keyed digest of that, which says only who of one world gave the same.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from serve.domain.ids import Subject, keyed_digest

SIGNALS_KEPT = 16  # of one customer, the newest
SIGNAL_LENGTH_MIN, SIGNAL_LENGTH_MAX = 16, 128
SIGNAL_PATTERN = "^[A-Za-z0-9+/=_:.-]+$"  # how hashes are written; it has no room for an address


class SignalKind(StrEnum):
    """What may be given. These words are stored: one may be added, none renamed."""

    DOCUMENT = "document"
    DEVICE = "device"
    PHONE = "phone"
    EMAIL = "email"


def signals_of(pepper: bytes, subject: Subject, given: Mapping[SignalKind, str]) -> tuple[str, ...]:
    """What is kept of the tenant's hashes, each as `kind:digest`: the same text in another tenant,
    mode or kind has another digest, and without `pepper` none can be guessed.
    """
    world = (subject.tenant_id, subject.mode)
    return tuple(
        f"{kind}:{keyed_digest(pepper, 'signal', *world, kind, text)}"
        for kind, text in sorted(given.items())
    )


def joined(kept: Iterable[str], given: tuple[str, ...]) -> tuple[str, ...]:
    """Those kept and those given, each once, the newest last; the oldest go when there are more
    than 16.
    """
    return (*(signal for signal in kept if signal not in given), *given)[-SIGNALS_KEPT:]
