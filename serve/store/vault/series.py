"""Keys of one kind, numbered: the newest seals, the older ones open what they once sealed.

    <name>.json         when each key began and when it was replaced, the current one last
    <name>/<number>     32 bytes each

Every process sees a new key as soon as the list names it. The key is written before the list and
destroyed before the list forgets it, so a crash at any point leaves a series that works.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.models.cache import sync_folder, write_atomically
from serve.domain.document import Document
from serve.errors import Code, ServeError
from serve.store.local.filelocks import lock
from serve.store.vault.sealing import KEY_BYTES, new_key

LIST_BYTES_MAX = 2**20
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Generation(Document):
    """When a key began to seal, and when another took its place."""

    number: int
    began_at_ms: int
    replaced_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """One state of the folder, swapped whole: readers in other threads see old or new."""

    generations: tuple[Generation, ...]
    keys: dict[int, bytes] = field(repr=False)
    version: tuple[int, int] | None


class Series:
    """The keys called `name` under `folder`.

    The first may have a file of its own, `first`: then there need not be a list before the
    second.
    """

    def __init__(self, folder: Path, name: str, first: Path | None = None) -> None:
        self._folder = folder
        self._name = name
        self._first = first
        self._state = self._read()

    @property
    def current(self) -> Generation:
        """The one that seals."""
        return self._latest().generations[-1]

    @property
    def generations(self) -> tuple[Generation, ...]:
        """All that exist, oldest first."""
        return self._latest().generations

    def current_key(self) -> tuple[int, bytes]:
        """The number and the key that seal now: a destroyed one must seal nothing any more."""
        state = self._latest()
        number = state.generations[-1].number
        return number, state.keys[number]

    def key(self, number: int) -> bytes | None:
        """One key, None when there is none, or none any more."""
        return self._state.keys.get(number) or self._latest().keys.get(number)

    def newest_first(self) -> Iterator[bytes]:
        """Every key, the newest first."""
        state = self._latest()
        for generation in reversed(state.generations):
            if (key := state.keys.get(generation.number)) is not None:
                yield key

    def is_destroyed(self, number: int) -> bool:
        """Whether that key existed and is gone."""
        state = self._latest()
        return number <= state.generations[-1].number and number not in state.keys

    def begin(self, now_ms: int, min_age_ms: int | None = None) -> int:
        """A new key takes over, if the current one is that old; the number of the current one.

        Writes files: call it from a thread.
        """
        with locked(self._folder):
            self._reload()
            current = self._state.generations[-1]
            if min_age_ms is not None and now_ms - current.began_at_ms < min_age_ms:
                return current.number
            replaced = current.model_copy(update={"replaced_at_ms": now_ms})
            before = (*self._state.generations[:-1], replaced)
            write_generation(self._folder, self._name, before, now_ms)
            self._reload()
            return self._state.generations[-1].number

    def destroy_replaced(self, now_ms: int, retention_days: int) -> list[int]:
        """Overwrite and delete the keys replaced longer ago; their numbers.

        Only for a caller who has sealed anew whatever they sealed. Writes files: call it from a
        thread.
        """
        with locked(self._folder):
            self._reload()
            cutoff_ms = now_ms - retention_days * DAY_MS
            doomed = [
                each.number
                for each in self._state.generations[:-1]
                if each.replaced_at_ms is not None and each.replaced_at_ms <= cutoff_ms
            ]
            for number in doomed:
                _destroy(self._path(number))
            if doomed:
                kept = tuple(e for e in self._state.generations if e.number not in doomed)
                _write_list(self._folder, self._name, kept)
                self._reload()
            return doomed

    def _latest(self) -> _State:
        """The keys as they are now, read again if another process changed them."""
        if self._version() != self._state.version:
            self._reload()
        return self._state

    def _reload(self) -> None:
        self._state = self._read()

    def _read(self) -> _State:
        """Replaced keys without a file are destroyed ones: a crash came before the list."""
        version = self._version()
        generations = self._listed(version)
        keys = {}
        for each in generations:
            path = self._path(each.number)
            try:
                keys[each.number] = read_key(path)
            except ServeError:
                if each is generations[-1] or path.exists():
                    raise
        return _State(generations, keys, version)

    def _listed(self, version: tuple[int, int] | None) -> tuple[Generation, ...]:
        if version is None and self._first is not None:
            return (Generation(number=1, began_at_ms=0),)
        path = _list_path(self._folder, self._name)
        try:
            with path.open("rb") as stream:
                rows = json.loads(stream.read(LIST_BYTES_MAX))[self._name]
            generations = tuple(Generation.model_validate(row) for row in rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ServeError(Code.KEYS_MISMATCH, f"{path} cannot be read") from error
        if not generations:
            raise ServeError(Code.KEYS_MISMATCH, f"{path} names no key")
        return generations

    def _version(self) -> tuple[int, int] | None:
        """Changes whenever the list is replaced."""
        try:
            status = _list_path(self._folder, self._name).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _path(self, number: int) -> Path:
        if number == 1 and self._first is not None:
            return self._first
        return _key_path(self._folder, self._name, number)


def write_generation(folder: Path, name: str, before: tuple[Generation, ...], now_ms: int) -> None:
    """Begin the key after those. The key first: a list never names one that is not there yet."""
    number = before[-1].number + 1 if before else 1
    path = _key_path(folder, name, number)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(path, new_key())
    _write_list(folder, name, (*before, Generation(number=number, began_at_ms=now_ms)))


def has_list(folder: Path, name: str) -> bool:
    """Whether a list of these keys was ever written."""
    return _list_path(folder, name).exists()


def read_key(path: Path) -> bytes:
    """The 32 bytes of a key's file. Raises `keys_mismatch`."""
    try:
        with path.open("rb") as stream:
            key = stream.read(KEY_BYTES + 1)
    except OSError as error:
        raise ServeError(Code.KEYS_MISMATCH, f"{path}: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise ServeError(Code.KEYS_MISMATCH, f"{path} does not hold {KEY_BYTES} bytes")
    return key


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone with the keys of `folder`, among all processes."""
    held = lock(folder / "lock")
    try:
        yield
    finally:
        held.release()


def _write_list(folder: Path, name: str, generations: tuple[Generation, ...]) -> None:
    rows = {name: [each.model_dump() for each in generations]}
    write_atomically(_list_path(folder, name), json.dumps(rows).encode())


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


def _list_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _key_path(folder: Path, name: str, number: int) -> Path:
    return folder / name / f"{number:08d}"
