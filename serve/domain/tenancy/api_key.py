"""API keys: their shape, what they may do, and how they are kept.

    sk_live_<16 characters of id>_<43 characters of secret>

The id finds the record; the whole key is kept as HMAC-SHA256 under a pepper that never enters
Redis. 256 random bits need no slow hash.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

from serve.domain.audit import Actor
from serve.domain.document import Document
from serve.domain.ids import Mode

KEY_ID_BYTES = 12
SECRET_BYTES = 32


class Scope(StrEnum):
    """What a key may be used for; one for each family of routes."""

    SESSIONS = "sessions"
    CUSTOMERS = "customers"
    PREFERENCES = "preferences"
    ALERTS = "alerts"
    EVENTS = "events"
    TENANT = "tenant"
    AUDIT = "audit"
    SEARCH = "search"
    SEARCH_EMBEDDING = "search:embedding"  # whoever has it can look for any vector: off by default
    BLOCKLIST = "blocklist"
    SWEEPS = "sweeps"
    LIVENESS = "liveness"  # clips and faces that belong to no session
    PII = "pii"  # whether names are shown beside what is found


DEFAULT_SCOPES = tuple(scope for scope in Scope if scope not in {Scope.SEARCH_EMBEDDING, Scope.PII})
"""Of a key that is made without saying for what."""


class ApiKey(Document):
    """The record of a key: everything but the key."""

    id: str
    tenant_id: str
    mode: Mode
    scopes: tuple[Scope, ...]
    hmac_sha256: str
    created_at_ms: int
    revoked_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request this is, and who asks for them: a key that has been proved, or an operator."""

    tenant_id: str
    mode: Mode
    scopes: frozenset[Scope]
    actor: Actor

    @property
    def key_id(self) -> str:
        """The id of the key; empty for an operator."""
        return self.actor.key_id


_SHAPE = re.compile(r"sk_(live|test)_([A-Za-z0-9_-]{16})_[A-Za-z0-9_-]{43}")


def make_key(mode: Mode, key_id: bytes, secret: bytes) -> tuple[str, str]:
    """The key to show once, and its id, from 12 and 32 random bytes."""
    assert len(key_id) == KEY_ID_BYTES
    assert len(secret) == SECRET_BYTES
    name = base64.urlsafe_b64encode(key_id).decode()
    text = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return f"sk_{mode}_{name}_{text}", name


def key_id_of(key: str) -> str | None:
    """The id inside what may be a key, or None when it has no key's shape."""
    match = _SHAPE.fullmatch(key)
    return None if match is None else match[2]


def hash_key(pepper: bytes, key: str) -> str:
    """What is stored of a key."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()


def is_proved(pepper: bytes, key: str, record: ApiKey) -> bool:
    """Whether `key` is the one `record` was made for, and not revoked; in constant time."""
    is_same = hmac.compare_digest(hash_key(pepper, key), record.hmac_sha256)
    return is_same and record.revoked_at_ms is None
