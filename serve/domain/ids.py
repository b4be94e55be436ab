"""Names of things, and the one partition number that all of a customer's records share.

    p = BLAKE2b(key = install salt; tenant, mode, customer) mod 64

Every id and token carries `p`, so whoever holds one knows the hash slot without a look-up. The
digest itself, and never the customer's id, is what keys are named by. All formats here are
fixed: records written under them outlive the code.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from serve.errors import Code, ServeError

PARTITIONS = 64
ID_RANDOM_BYTES = 16
TOKEN_RANDOM_BYTES = 32


class Mode(StrEnum):
    """The two worlds of a tenant; nothing crosses between them."""

    LIVE = "live"
    TEST = "test"


class Prefix(StrEnum):
    """What an id names."""

    SESSION = "ses"
    FACE = "fac"
    ALERT = "alr"
    EVENT = "msg"
    ERASURE = "era"
    JOB = "job"
    VERIFICATION = "ver"
    FLAG = "flg"
    SCREENING = "scr"
    BLOCK = "blk"
    SWEEP = "swp"


@dataclass(frozen=True, slots=True)
class Subject:
    """One customer of one tenant in one mode, without the customer's id.

    `key` is 32 hexadecimal digits, the digest that partitions and names the records.
    """

    tenant_id: str
    mode: Mode
    key: str

    @property
    def partition(self) -> int:
        """0 to 63."""
        return int(self.key, 16) % PARTITIONS

    @property
    def locator(self) -> str:
        """How a record names its customer: `tenant:mode:subject key`."""
        return f"{self.tenant_id}:{self.mode}:{self.key}"

    @classmethod
    def located(cls, locator: str) -> Self:
        """The subject that a locator names."""
        tenant_id, mode, key = locator.split(":")
        return cls(tenant_id, Mode(mode), key)


def subject_of(salt: bytes, tenant_id: str, mode: Mode, customer_id: str) -> Subject:
    """The subject that `customer_id` names; never readable without the salt."""
    return Subject(tenant_id, mode, keyed_digest(salt, tenant_id, mode, customer_id))


def make_id(prefix: Prefix, partition: int, random: bytes) -> str:
    """`ses_07…`: the prefix, two digits of partition, 22 characters of `random` (16 bytes)."""
    assert len(random) == ID_RANDOM_BYTES
    return f"{prefix}_{partition:02d}{_text(random)}"


def make_token(partition: int, random: bytes) -> str:
    """`st_07…`: a session token of 256 random bits; only its digest is ever stored."""
    assert len(random) == TOKEN_RANDOM_BYTES
    return f"st_{partition:02d}{_text(random)}"


def make_identity_token(partition: int, random: bytes) -> str:
    """`rid_07…`: a reusable identity token of 256 random bits; only its digest is ever stored."""
    assert len(random) == TOKEN_RANDOM_BYTES
    return f"rid_{partition:02d}{_text(random)}"


def renamed(prefix: Prefix, text: str) -> str:
    """The id of another kind that goes with `text`: what follows the prefix is the same."""
    return f"{prefix}_{text.partition('_')[2]}"


_PARTITION = "([0-5][0-9]|6[0-3])"
TOKEN_PATTERN = f"st_{_PARTITION}[A-Za-z0-9_-]{{43}}"
IDENTITY_PATTERN = f"rid_{_PARTITION}[A-Za-z0-9_-]{{43}}"


def id_pattern(prefix: str) -> str:
    """A regular expression of the ids with this prefix; its last group is the partition."""
    return f"{prefix}_{_PARTITION}[A-Za-z0-9_-]{{22}}"


_ID = re.compile(id_pattern(f"({'|'.join(Prefix)})"))
_TOKEN = re.compile(TOKEN_PATTERN)
_IDENTITY = re.compile(IDENTITY_PATTERN)


def partition_of(prefix: Prefix, text: str) -> int:
    """The partition an id carries. Raises `not_found` for what is no such id."""
    match = _ID.fullmatch(text)
    if match is None or match[1] != prefix:
        raise ServeError(Code.NOT_FOUND, f"no such {prefix.name.lower()}")
    return int(match[2])


def token_partition(token: str) -> int:
    """The partition a session token carries. Raises `not_found` for what is no token."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ServeError(Code.NOT_FOUND, "no such session token")
    return int(match[1])


def identity_partition(token: str) -> int:
    """The partition an identity token carries. Raises `not_found` for what is no such token."""
    match = _IDENTITY.fullmatch(token)
    if match is None:
        raise ServeError(Code.NOT_FOUND, "no such identity token")
    return int(match[1])


def digest(text: str) -> str:
    """SHA-256 in hexadecimal: how a secret of full entropy is kept."""
    return hashlib.sha256(text.encode()).hexdigest()


def keyed_digest(key: bytes, *parts: str) -> str:
    """A digest of guessable text, useless without `key`; 32 hexadecimal digits.

    Each part is preceded by its length, so that ("ab", "c") is not ("a", "bc").
    """
    state = hashlib.blake2b(key=key, digest_size=16)
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(4, "big") + data)
    return state.hexdigest()


def _text(random: bytes) -> str:
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode()
