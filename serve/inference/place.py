"""The folder where doors and the engine meet: a socket, and what Ray keeps while it runs.

It is short, because a socket's path must be, and private; a file under the data directory names
it. Nothing in it outlives the service.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.models.cache import write_atomically
from serve.errors import Code, ServeError

PREFIX = "limen-engine-"
SOCKET = "faces.sock"


@contextmanager
def meeting_place(data_dir: Path) -> Iterator[Path]:
    """A fresh folder, recorded for the children, until the block ends; what a killed service
    left is removed first. Raises `file_unwritable`.
    """
    record = _record(data_dir)
    try:
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove(recorded(data_dir))
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        write_atomically(record, os.fsencode(folder))
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{record}: {error.strerror}") from error
    try:
        yield folder
    finally:
        _remove(folder)
        record.unlink(missing_ok=True)


def recorded(data_dir: Path) -> Path | None:
    """The folder of the service over `data_dir`; None where none was started."""
    with suppress(OSError):
        return Path(os.fsdecode(_record(data_dir).read_bytes()))
    return None


def token_file(data_dir: Path) -> Path:
    """The token of this install's own cluster."""
    return data_dir.absolute() / "engine" / "ray-token"


def _record(data_dir: Path) -> Path:
    return data_dir.absolute() / "engine" / "folder"


def _remove(folder: Path | None) -> None:
    """Only what looks like ours is removed, whatever the record says."""
    if folder is None or not folder.name.startswith(PREFIX) or folder.is_symlink():
        return
    with suppress(OSError):
        if folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
