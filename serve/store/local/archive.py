"""The file of a backup: a plain tar of two members, `manifest.json` and then `dump.rdb`.

Any tar opens it. Read back, it must be exactly that: the two names in that order, the sizes that
the manifest says, the digest, and nothing behind. Nothing in it says where anything is written.
"""

import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

from pipeline.models.cache import sync_folder
from serve.domain.upkeep.backup import BACKUP_FORMAT, Manifest
from serve.errors import Code, ServeError

MANIFEST, DUMP = "manifest.json", "dump.rdb"
MANIFEST_BYTES_MAX = 2**20
BLOCK_BYTES = tarfile.BLOCKSIZE
CHUNK_BYTES = 2**20
END = bytes(2 * BLOCK_BYTES)

Report = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""


def digest_of(dump: IO[bytes], report: Report) -> tuple[int, str]:
    """Size and SHA-256 of an open file, from its beginning."""
    state, done = hashlib.sha256(), 0
    dump.seek(0)
    total = os.fstat(dump.fileno()).st_size
    while chunk := dump.read(CHUNK_BYTES):
        state.update(chunk)
        done += len(chunk)
        report("hash", done, total)
    return done, state.hexdigest()


def write_archive(path: Path, manifest: Manifest, dump: IO[bytes], report: Report) -> None:
    """Put both into one file, 0600: `path` holds all of it or what it held before.

    Raises `file_unwritable`.
    """
    try:
        _write(path, manifest, dump, report)
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{path}: {error.strerror}") from error


def read_archive(path: Path, report: Report, dump: Path | None = None) -> Manifest:
    """Its manifest, once everything in the file was read and agreed with it.

    With `dump` the snapshot is written there, durably; it holds nothing of use if this raises.
    Raises `backup_invalid`, `file_unreadable`, `file_unwritable`.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ServeError(Code.FILE_UNREADABLE, f"{path}: {error.strerror}") from error
    with stream, _invalid(path):
        text = b"".join(_member(stream, MANIFEST, MANIFEST_BYTES_MAX))
        manifest = Manifest.model_validate_json(text)
        if manifest.format != BACKUP_FORMAT:
            raise ValueError(f"its format is {manifest.format}; this is {BACKUP_FORMAT}")
        _read_dump(stream, manifest, dump, report)
        if stream.read(len(END)) != END or stream.read(CHUNK_BYTES).strip(b"\0"):
            raise ValueError("it does not end where it should")
    return manifest


def _read_dump(
    stream: BufferedReader, manifest: Manifest, dump: Path | None, report: Report
) -> None:
    state, done = hashlib.sha256(), 0
    with _opened(dump) as copy:
        for chunk in _member(stream, DUMP, manifest.rdb_bytes):
            state.update(chunk)
            done += len(chunk)
            if copy is not None:
                copy.write(chunk)
            report("read", done, manifest.rdb_bytes)
    if (done, state.hexdigest()) != (manifest.rdb_bytes, manifest.rdb_sha256):
        raise ValueError(f"{DUMP} is not what the manifest says")


def _member(stream: BufferedReader, name: str, size_max: int) -> Iterator[bytes]:
    """The bytes of the next member, which must be a file of this name and no larger."""
    head = tarfile.TarInfo.frombuf(stream.read(BLOCK_BYTES), "utf-8", "strict")
    if head.name != name or head.type != tarfile.REGTYPE or not 0 <= head.size <= size_max:
        raise ValueError(f"{name} is not where it should be")
    left = head.size
    while left:
        chunk = stream.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise ValueError(f"it ends within {name}")
        left -= len(chunk)
        yield chunk
    padding = stream.read(-head.size % BLOCK_BYTES)
    if len(padding) != -head.size % BLOCK_BYTES or padding.strip(b"\0"):
        raise ValueError(f"it ends within {name}")


def _write(path: Path, manifest: Manifest, dump: IO[bytes], report: Report) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    temporary = Path(name)
    try:
        dump.seek(0)
        with os.fdopen(handle, "wb") as stream:
            text = json.dumps(manifest.model_dump(mode="json"), indent=2).encode()
            stream.write(_head(MANIFEST, len(text), manifest) + text)
            stream.write(bytes(-len(text) % BLOCK_BYTES))
            stream.write(_head(DUMP, manifest.rdb_bytes, manifest))
            done = 0
            while chunk := dump.read(CHUNK_BYTES):
                stream.write(chunk)
                done += len(chunk)
                report("write", done, manifest.rdb_bytes)
            stream.write(bytes(-done % BLOCK_BYTES) + END)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.absolute().parent)


def _head(name: str, size: int, manifest: Manifest) -> bytes:
    head = tarfile.TarInfo(name)
    head.size, head.mode, head.mtime = size, 0o600, manifest.created_at_ms // 1000
    return head.tobuf(tarfile.GNU_FORMAT)


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[bytes] | None]:
    """A new private file, on the disk for good at the end; None where none is wanted."""
    if path is None:
        yield None
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{path}: {error.strerror}") from error


@contextmanager
def _invalid(path: Path) -> Iterator[None]:
    """Whatever is wrong with the file is one refusal."""
    try:
        yield
    except OSError as error:
        raise ServeError(Code.FILE_UNREADABLE, f"{path}: {error.strerror}") from error
    except (ValueError, tarfile.TarError) as error:
        why = "its manifest" if isinstance(error, tarfile.TarError) else _line(error)
        raise ServeError(Code.BACKUP_INVALID, f"{path}: {why}") from error


def _line(error: ValueError) -> str:
    return str(error).splitlines()[0]
