"""What the log of faces holds, opened: sealed rows in, entries of the index out.

It takes some 15 µs a row, so a long batch belongs in a thread. A row that does not open is told
from one whose customer is gone: the caller looks which it is.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from index.entry import Enrolled, Entry, Erased, Gallery, LogId
from serve.domain.search.gallery import GalleryKind
from serve.errors import ServeError
from serve.store.vault.keyring import EPOCH_NUMBER_BYTES, Keyring
from serve.store.vault.sealing import unseal

GALLERIES_KEPT = 1_024
LISTED_FIRST = GalleryKind.ENROLLED.encode()  # before there were lists, the log named none


class Row(NamedTuple):
    """An entry of a partition's stream, as Redis has it."""

    partition: int
    log_id: bytes
    fields: Mapping[bytes, bytes]

    @property
    def place(self) -> LogId:
        """Where in its log it stands."""
        return LogId.parse(self.log_id.decode())

    @property
    def enrols(self) -> bool:
        """Whether a face came by it."""
        return self.fields.get(b"k") == b"enrol"

    @property
    def subject_key(self) -> str:
        """Whose it is, within the partition."""
        return self.fields.get(b"u", b"").rpartition(b":")[2].decode()


class Unopened(Enum):
    """A row that is no entry."""

    GONE = "gone"  # with its customer, whose erasure follows in the log
    SHUT = "shut"  # it does not open, or is not written as it should be


def opened(
    keyring: Keyring, rows: Sequence[Row], wrapped: Mapping[str, bytes | None]
) -> list[Entry | Unopened]:
    """Each row's entry, in order. `wrapped` is the data key of every subject that enrolled a face,
    None where there is none any more. Raises `keys_mismatch` when the key of an epoch is missing:
    then nothing of that epoch opens.
    """
    return [_enrolled(keyring, row, wrapped) if row.enrols else _erased(row) for row in rows]


def _erased(row: Row) -> Erased | Unopened:
    is_erasure = row.fields.get(b"k") == b"erase" and b"u" in row.fields
    return Erased(row.place, row.fields[b"u"].decode()) if is_erasure else Unopened.SHUT


def _enrolled(
    keyring: Keyring, row: Row, wrapped: Mapping[str, bytes | None]
) -> Enrolled | Unopened:
    fields = row.fields
    owner = fields.get(b"u", b"").decode()
    world, _, subject_key = owner.rpartition(":")
    sealed_key = wrapped[subject_key]
    if sealed_key is None:
        return Unopened.GONE
    data_key = _data_key(keyring, sealed_key, subject_key)
    if data_key is None:
        return Unopened.SHUT
    try:
        face = fields[b"f"].decode()
        gallery = _gallery(world, fields.get(b"l", LISTED_FIRST), fields[b"m"])
        plain = unseal(data_key, fields[b"d"], f"template|{face}")
        vector = np.frombuffer(plain, dtype="<f4")
    except (ServeError, KeyError, ValueError):
        return Unopened.SHUT
    return Enrolled(row.place, gallery, owner, face, vector.astype(np.float32, copy=False))


def _data_key(keyring: Keyring, wrapped: bytes, subject_key: str) -> bytes | None:
    """None for a key that does not open though the key of its epoch is there."""
    try:
        return keyring.unwrap(wrapped, subject_key)
    except ServeError:
        is_short = len(wrapped) <= EPOCH_NUMBER_BYTES
        if is_short or keyring.epoch_of(wrapped) in {each.number for each in keyring.epochs}:
            return None
        raise


@lru_cache(GALLERIES_KEPT)
def _gallery(world: str, kind: bytes, model_id: bytes) -> Gallery:
    """One object for all faces of a gallery."""
    return Gallery(world, kind.decode(), model_id.decode())
