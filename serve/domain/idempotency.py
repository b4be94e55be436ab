"""Requests that are sent again under the same key: what a repeat is, and what is kept for it.

    digest       names the key of one tenant, mode and route; the operation's id as well
    fingerprint  tells what was asked under it: path, query and body

Both are keyed digests, because keys, paths and bodies can be guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from serve.domain.document import Document
from serve.domain.ids import Mode, keyed_digest
from serve.errors import Code, ServeError

KEY_LENGTH_MAX = 255
ANSWER_BYTES_MAX = 256 * 2**10
"""A larger answer is not kept: its request is carried out again, as the same operation."""
KEPT_HEADERS = ("Content-Type", "Preference-Applied")
RETRY_AFTER = "Retry-After"

_PRINTABLE = re.compile(r"[ -~]+")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a string after RFC 8941
_ESCAPED = re.compile(r"\\(.)")
# Who asks may be told something else next time: about the key, the time or the load.
_PASSING = frozenset({401, 403, 408, 425, 429})


class Repeat(StrEnum):
    """What became of a request with a key."""

    FIRST = "first"
    AGAIN = "again"  # an earlier one ended without an answer that could be kept
    REPLAYED = "replayed"
    MISMATCH = "mismatch"
    IN_PROGRESS = "in_progress"
    ERASED = "erased"
    NOT_KEPT = "not_kept"  # its answer is too large


@dataclass(frozen=True, slots=True)
class Keyed:
    """One request under a key; both are 32 hexadecimal digits."""

    digest: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered, as HTTP has it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def is_final(self) -> bool:
        """Whether asking again could only get the same; one that says `Retry-After` is not."""
        names = {name.lower() for name in self.headers}
        is_passing = self.status >= 500 or self.status in _PASSING
        return not is_passing and RETRY_AFTER.lower() not in names

    @property
    def is_small(self) -> bool:
        """Whether it is kept."""
        return len(self.body) <= ANSWER_BYTES_MAX

    def dump(self) -> bytes:
        """The bytes that are kept: one line of JSON, then the body as it is."""
        wanted = {name.lower() for name in KEPT_HEADERS}
        kept = {name: value for name, value in self.headers.items() if name.lower() in wanted}
        return _Head(status=self.status, headers=kept).dump() + b"\n" + self.body


class _Head(Document):
    status: int
    headers: dict[str, str]


def loaded(data: bytes) -> Answer:
    """The answer that `dump` made `data` of."""
    head, _, body = data.partition(b"\n")
    found = _Head.model_validate_json(head)
    return Answer(found.status, found.headers, body)


def key_of(header: str) -> str:
    """The key in a header's value: 1 to 255 printable ASCII characters, quoted or not.

    Raises `idempotency_key_invalid`.
    """
    key = header
    if header.startswith('"'):
        quoted = _QUOTED.fullmatch(header)
        key = "" if quoted is None else _ESCAPED.sub(r"\1", quoted[1])
    if len(key) > KEY_LENGTH_MAX or not _PRINTABLE.fullmatch(key):
        detail = f"1 to {KEY_LENGTH_MAX} printable ASCII characters are needed"
        raise ServeError(Code.IDEMPOTENCY_KEY_INVALID, detail)
    return key


def digest_of(pepper: bytes, tenant_id: str, mode: Mode, route: tuple[str, str], key: str) -> str:
    """What names the key; `route` is a method and the template of a path.

    It holds nothing that another attempt would not bring again: so it is the operation's id.
    """
    return keyed_digest(pepper, "idempotency", tenant_id, mode, *route, key)


def fingerprint_of(pepper: bytes, parameters: str, body: str) -> str:
    """What tells one request from another, given both as canonical JSON."""
    return keyed_digest(pepper, "fingerprint", parameters, body)
