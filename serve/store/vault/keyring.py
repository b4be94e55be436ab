"""The install's secrets, kept outside Redis: a folder of small files, 0600 in 0700.

    salt, pepper, master    32 bytes each, made once
    epochs/<number>         32 bytes each: the epoch keys
    epochs.json             when each epoch began and when it was replaced
    lock                    held while files are made, replaced or destroyed

Data keys of customers are wrapped under the current epoch key. An epoch key that is destroyed
takes with it whatever only it could open: old backups of what was erased. `Keyring` is all that
the stores know of this; a key-management service can stand in its place.

    wrapped = epoch number (4 bytes, big-endian) | the data key, sealed
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.models.cache import sync_folder, write_atomically
from serve.domain.document import Document
from serve.errors import Code, ServeError
from serve.store.local.filelocks import lock
from serve.store.vault.sealing import KEY_BYTES, new_key, seal, unseal

SECRETS = ("salt", "pepper", "master")
EPOCHS_FILE = "epochs.json"
EPOCHS_BYTES_MAX = 2**20
EPOCH_NUMBER_BYTES = 4
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
UPKEEP_MS_MAX = HOUR_MS  # whoever rotates and destroys does so at least this often


class Epoch(Document):
    """When an epoch key began to wrap data keys, and when it stopped."""

    number: int
    began_at_ms: int
    replaced_at_ms: int | None = None


class EpochList(Document):
    """Epochs whose keys exist, oldest first; the last one is current."""

    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, slots=True)
class _Epochs:
    """One state of the folder, swapped whole: readers in other threads see old or new."""

    epochs: tuple[Epoch, ...]
    keys: dict[int, bytes] = field(repr=False)
    version: tuple[int, int] | None

    @property
    def current(self) -> Epoch:
        return self.epochs[-1]


class Keyring:
    """The secrets and the epoch keys. Take one from `open_keyring`."""

    def __init__(self, folder: Path, secrets: dict[str, bytes]) -> None:
        self._folder = folder
        self._secrets = secrets
        self._state = _read_epochs(folder)

    @property
    def salt(self) -> bytes:
        """Names subjects and partitions."""
        return self._secrets["salt"]

    @property
    def pepper(self) -> bytes:
        """Digests API keys."""
        return self._secrets["pepper"]

    @property
    def master(self) -> bytes:
        """Seals the tenants' signing secrets."""
        return self._secrets["master"]

    def fingerprint(self) -> str:
        """64 hexadecimal digits that name these secrets and tell nothing of them."""
        state = hashlib.sha256(b"limen keyring 1")
        for name in SECRETS:
            state.update(self._secrets[name])
        return state.hexdigest()

    @property
    def current_epoch(self) -> int:
        """The epoch that wraps."""
        return self._latest().current.number

    def wrap(self, data_key: bytes, subject_key: str) -> bytes:
        """A customer's data key, sealed under the current epoch for that customer alone."""
        state = self._latest()
        number = state.current.number
        sealed = seal(state.keys[number], data_key, _label(subject_key))
        return number.to_bytes(EPOCH_NUMBER_BYTES, "big") + sealed

    def unwrap(self, wrapped: bytes, subject_key: str) -> bytes:
        """The data key. Raises `keys_mismatch`, also when its epoch's key is destroyed."""
        number = self.epoch_of(wrapped)
        key = self._state.keys.get(number) or self._latest().keys.get(number)
        if key is None:
            raise ServeError(Code.KEYS_MISMATCH, f"there is no key of epoch {number}")
        return unseal(key, wrapped[EPOCH_NUMBER_BYTES:], _label(subject_key))

    @staticmethod
    def epoch_of(wrapped: bytes) -> int:
        """The epoch that a data key is wrapped under. Raises `keys_mismatch`."""
        if len(wrapped) <= EPOCH_NUMBER_BYTES:
            raise ServeError(Code.KEYS_MISMATCH, "a wrapped data key is cut short")
        return int.from_bytes(wrapped[:EPOCH_NUMBER_BYTES], "big")

    def reload(self) -> None:
        """Read the epochs anew."""
        self._state = _read_epochs(self._folder)

    def _latest(self) -> _Epochs:
        """The epochs as they are now, read again if another process changed them.

        A key that was destroyed meanwhile must wrap nothing any more.
        """
        if _version(self._folder) != self._state.version:
            self.reload()
        return self._state

    def rotate(self, now_ms: int) -> int:
        """Begin a new epoch if the current one is older than a day; the current number.

        Writes files: call it from a thread.
        """
        with _locked(self._folder):
            self.reload()
            current = self._state.current
            if now_ms - current.began_at_ms < DAY_MS:
                return current.number
            replaced = current.model_copy(update={"replaced_at_ms": now_ms})
            _begin_epoch(self._folder, (*self._state.epochs[:-1], replaced), now_ms)
            self.reload()
            return self.current_epoch

    def destroy_replaced(self, now_ms: int, retention_days: int) -> list[int]:
        """Overwrite and delete the keys replaced longer ago; their numbers.

        Only for a caller who has wrapped every live data key anew. Writes files: call it from a
        thread.
        """
        with _locked(self._folder):
            self.reload()
            cutoff_ms = now_ms - retention_days * DAY_MS
            doomed = [
                epoch.number
                for epoch in self._state.epochs[:-1]
                if epoch.replaced_at_ms is not None and epoch.replaced_at_ms <= cutoff_ms
            ]
            for number in doomed:
                _destroy(_key_path(self._folder, number))
            if doomed:
                kept = tuple(e for e in self._state.epochs if e.number not in doomed)
                write_atomically(self._folder / EPOCHS_FILE, EpochList(epochs=kept).dump())
                self.reload()
            return doomed

    def is_destroyed(self, epoch: int) -> bool:
        """Whether that key existed and is gone."""
        state = self._latest()
        return epoch <= state.current.number and epoch not in state.keys

    def destroyed_by_ms(self, epoch: int, retention_days: int) -> int:
        """By when its key will be gone, if `rotate` and `destroy_replaced` run every hour.

        For a key that is gone already: the earliest time that is certainly past, 0.
        """
        if self.is_destroyed(epoch):
            return 0
        found = next((e for e in self._state.epochs if e.number == epoch), None)
        if found is None:
            raise ServeError(Code.KEYS_MISMATCH, f"there is no epoch {epoch}")
        replaced_ms = found.replaced_at_ms
        if replaced_ms is None:
            replaced_ms = found.began_at_ms + DAY_MS + UPKEEP_MS_MAX
        return replaced_ms + retention_days * DAY_MS + UPKEEP_MS_MAX


def open_keyring(folder: Path, now_ms: int, *, create: bool) -> Keyring:
    """The keyring of `folder`; with `create`, what is missing is made, once for all processes.

    Raises `keys_mismatch` when a file is missing or damaged, and `file_unwritable`.
    """
    if create:
        try:
            _make(folder, now_ms)
        except OSError as error:
            raise ServeError(Code.FILE_UNWRITABLE, f"{folder}: {error.strerror}") from error
    return Keyring(folder, {name: _read_key(folder / name) for name in SECRETS})


def _make(folder: Path, now_ms: int) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        for name in SECRETS:
            if not (folder / name).exists():
                write_atomically(folder / name, new_key())
        if not (folder / EPOCHS_FILE).exists():
            _begin_epoch(folder, (), now_ms)


def _begin_epoch(folder: Path, before: tuple[Epoch, ...], now_ms: int) -> None:
    """The key first: a list never names a key that is not there yet."""
    number = before[-1].number + 1 if before else 1
    path = _key_path(folder, number)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(path, new_key())
    epochs = (*before, Epoch(number=number, began_at_ms=now_ms))
    write_atomically(folder / EPOCHS_FILE, EpochList(epochs=epochs).dump())


def _read_epochs(folder: Path) -> _Epochs:
    """Replaced epochs without a key are destroyed ones: a crash came before the list."""
    version = _version(folder)
    try:
        with (folder / EPOCHS_FILE).open("rb") as stream:
            listed = EpochList.model_validate_json(stream.read(EPOCHS_BYTES_MAX))
    except (OSError, ValueError) as error:
        raise ServeError(Code.KEYS_MISMATCH, f"{folder / EPOCHS_FILE} cannot be read") from error
    if not listed.epochs:
        raise ServeError(Code.KEYS_MISMATCH, f"{folder / EPOCHS_FILE} names no epoch")
    keys = {}
    for epoch in listed.epochs:
        path = _key_path(folder, epoch.number)
        if epoch is listed.epochs[-1] or path.exists():
            keys[epoch.number] = _read_key(path)
    return _Epochs(listed.epochs, keys, version)


def _version(folder: Path) -> tuple[int, int] | None:
    """Changes whenever the list is replaced."""
    try:
        status = (folder / EPOCHS_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            key = stream.read(KEY_BYTES + 1)
    except OSError as error:
        raise ServeError(Code.KEYS_MISMATCH, f"{path}: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise ServeError(Code.KEYS_MISMATCH, f"{path} does not hold {KEY_BYTES} bytes")
    return key


def _destroy(path: Path) -> None:
    """Overwritten before it is deleted: the file system may keep what a file held."""
    try:
        with path.open("r+b") as stream:
            stream.write(bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)


def _key_path(folder: Path, number: int) -> Path:
    return folder / "epochs" / f"{number:08d}"


def _label(subject_key: str) -> str:
    return f"data-key|{subject_key}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    held = lock(folder / "lock")
    try:
        yield
    finally:
        held.release()
