"""The install's secrets, kept outside Redis: a folder of small files, 0600 in 0700.

    salt, pepper            32 bytes each, made once
    master, masters/…       the master keys: the first, and those that replaced it
    epochs/<number>         32 bytes each: the epoch keys
    epochs.json             when each epoch began and when it was replaced
    erased/<number>/…       who was erased while that epoch's key exists: see `tombstones`
    lock                    held while files are made, replaced or destroyed

Data keys of customers are wrapped under the current epoch key. An epoch key that is destroyed
takes with it whatever only it could open: old backups of what was erased. The master key seals
what belongs to no customer: the tenants' signing secrets. `Keyring` is all that the stores know
of this; a key-management service can stand in its place.

    wrapped = epoch number (4 bytes, big-endian) | the data key, sealed
"""

import hashlib
import shutil
from pathlib import Path

from pipeline.models.cache import write_atomically
from serve.errors import Code, ServeError
from serve.store.vault.sealing import new_key, seal, unseal
from serve.store.vault.series import (
    DAY_MS,
    HOUR_MS,
    Generation,
    Series,
    has_list,
    locked,
    read_key,
    write_generation,
)

SECRETS = ("salt", "pepper", "master")
EPOCHS, MASTERS = "epochs", "masters"
EPOCH_NUMBER_BYTES = 4
UPKEEP_MS_MAX = HOUR_MS  # whoever rotates and destroys does so at least this often


class Keyring:
    """The secrets, the master keys and the epoch keys. Take one from `open_keyring`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._salt = read_key(folder / "salt")
        self._pepper = read_key(folder / "pepper")
        self._masters = Series(folder, MASTERS, first=folder / "master")
        self._epochs = Series(folder, EPOCHS)

    @property
    def salt(self) -> bytes:
        """Names subjects and partitions."""
        return self._salt

    @property
    def pepper(self) -> bytes:
        """Digests API keys."""
        return self._pepper

    @property
    def master(self) -> bytes:
        """Seals the tenants' signing secrets."""
        return self._masters.current_key()[1]

    @property
    def erased_folder(self) -> Path:
        """Where tombstones lie, in one folder for each epoch."""
        return self._folder / "erased"

    def fingerprint(self) -> str:
        """64 hexadecimal digits that name these secrets and tell nothing of them."""
        return self._fingerprint(self.master)

    def fingerprints(self) -> frozenset[str]:
        """That, and what it was under each master key that still exists."""
        return frozenset(map(self._fingerprint, self._masters.newest_first()))

    def _fingerprint(self, master: bytes) -> str:
        state = hashlib.sha256(b"limen keyring 1")
        for secret in (self._salt, self._pepper, master):
            state.update(secret)
        return state.hexdigest()

    @property
    def current_epoch(self) -> int:
        """The epoch that wraps."""
        return self._epochs.current.number

    @property
    def epochs(self) -> tuple[Generation, ...]:
        """The epochs whose keys exist, oldest first."""
        return self._epochs.generations

    @property
    def masters(self) -> tuple[Generation, ...]:
        """The master keys that exist, oldest first."""
        return self._masters.generations

    def wrap(self, data_key: bytes, subject_key: str) -> bytes:
        """A customer's data key, sealed under the current epoch for that customer alone."""
        number, key = self._epochs.current_key()
        sealed = seal(key, data_key, _label(subject_key))
        return number.to_bytes(EPOCH_NUMBER_BYTES, "big") + sealed

    def unwrap(self, wrapped: bytes, subject_key: str) -> bytes:
        """The data key. Raises `keys_mismatch`, also when its epoch's key is destroyed."""
        number = self.epoch_of(wrapped)
        key = self._epochs.key(number)
        if key is None:
            raise ServeError(Code.KEYS_MISMATCH, f"there is no key of epoch {number}")
        return unseal(key, wrapped[EPOCH_NUMBER_BYTES:], _label(subject_key))

    @staticmethod
    def epoch_of(wrapped: bytes) -> int:
        """The epoch that a data key is wrapped under. Raises `keys_mismatch`."""
        if len(wrapped) <= EPOCH_NUMBER_BYTES:
            raise ServeError(Code.KEYS_MISMATCH, "a wrapped data key is cut short")
        return int.from_bytes(wrapped[:EPOCH_NUMBER_BYTES], "big")

    def seal_secret(self, plain: bytes, label: str) -> bytes:
        """A secret of a tenant, sealed under the current master key."""
        return seal(self.master, plain, label)

    def open_secret(self, sealed: bytes, label: str) -> bytes:
        """What was sealed under any master key that exists. Raises `keys_mismatch`."""
        for master in self._masters.newest_first():
            try:
                return unseal(master, sealed, label)
            except ServeError:
                continue
        raise ServeError(Code.KEYS_MISMATCH, "no master key opens a sealed secret")

    def resealed(self, sealed: bytes, label: str) -> bytes | None:
        """The same under the current master key; None if it is under that already."""
        try:
            unseal(self.master, sealed, label)
        except ServeError:
            return self.seal_secret(self.open_secret(sealed, label), label)
        return None

    def rotate(self, now_ms: int, *, at_once: bool = False) -> int:
        """Begin a new epoch if the current one is older than a day, or `at_once`; the current
        number.

        Writes files: call it from a thread.
        """
        return self._epochs.begin(now_ms, None if at_once else DAY_MS)

    def rotate_master(self, now_ms: int) -> int:
        """A new master key takes over; its number. Writes files: call it from a thread."""
        return self._masters.begin(now_ms)

    def destroy_replaced(self, now_ms: int, retention_days: int) -> list[int]:
        """Overwrite and delete the epoch keys replaced longer ago; their numbers.

        What they alone could open needs no tombstone any more. Only for a caller who has wrapped
        every live data key anew. Writes files: call it from a thread.
        """
        doomed = self._epochs.destroy_replaced(now_ms, retention_days)
        self._forget_erased()
        return doomed

    def destroy_replaced_masters(self, now_ms: int, retention_days: int) -> list[int]:
        """The same of the master keys, for a caller who has sealed anew all that they sealed."""
        return self._masters.destroy_replaced(now_ms, retention_days)

    def is_destroyed(self, epoch: int) -> bool:
        """Whether that key existed and is gone."""
        return self._epochs.is_destroyed(epoch)

    def destroyed_by_ms(self, epoch: int, retention_days: int) -> int:
        """By when its key will be gone, if `rotate` and `destroy_replaced` run every hour.

        For a key that is gone already: the earliest time that is certainly past, 0.
        """
        if self.is_destroyed(epoch):
            return 0
        found = next((e for e in self.epochs if e.number == epoch), None)
        if found is None:
            raise ServeError(Code.KEYS_MISMATCH, f"there is no epoch {epoch}")
        replaced_ms = found.replaced_at_ms
        if replaced_ms is None:
            replaced_ms = found.began_at_ms + DAY_MS + UPKEEP_MS_MAX
        return replaced_ms + retention_days * DAY_MS + UPKEEP_MS_MAX

    def _forget_erased(self) -> None:
        """The tombstones of epochs whose keys are gone, those that a crash left among them."""
        if not self.erased_folder.is_dir():
            return
        for folder in self.erased_folder.iterdir():
            if folder.name.isdigit() and self.is_destroyed(int(folder.name)):
                shutil.rmtree(folder)


def open_keyring(folder: Path, now_ms: int, *, create: bool) -> Keyring:
    """The keyring of `folder`; with `create`, what is missing is made, once for all processes.

    Raises `keys_mismatch` when a file is missing or damaged, and `file_unwritable`.
    """
    if create:
        try:
            _make(folder, now_ms)
        except OSError as error:
            raise ServeError(Code.FILE_UNWRITABLE, f"{folder}: {error.strerror}") from error
    return Keyring(folder)


def _make(folder: Path, now_ms: int) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder):
        for name in SECRETS:
            if not (folder / name).exists() and not (
                name == "master" and has_list(folder, MASTERS)
            ):
                write_atomically(folder / name, new_key())
        if not has_list(folder, EPOCHS):
            write_generation(folder, EPOCHS, (), now_ms)


def _label(subject_key: str) -> str:
    return f"data-key|{subject_key}"
