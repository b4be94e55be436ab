"""Take named members out of a source archive, without unpacking it."""

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import Code, PipelineError

MEMBERS_MAX = 10_000
MEMBER_BYTES_MAX = 64 * 2**20


def read_members(path: Path, members: Sequence[str]) -> list[bytes]:
    """The bytes of `members` of the gzipped tar at `path`, in the order asked.

    Only regular files are read, nothing is written. Raises `format_invalid` for a broken
    archive or a missing member, `format_too_large` past a bound.
    """
    wanted = dict.fromkeys(members, b"")
    found = 0
    try:
        with tarfile.open(path, "r:gz") as archive:
            for count, info in enumerate(archive):
                if count >= MEMBERS_MAX:
                    raise PipelineError(Code.FORMAT_TOO_LARGE, f"over {MEMBERS_MAX} members")
                if info.name not in wanted or not info.isreg():
                    continue
                wanted[info.name] = _read(archive, info)
                found += 1
                if found == len(wanted):
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise PipelineError(Code.FORMAT_INVALID, f"{path.name}: {error}") from error
    missing = [name for name, data in wanted.items() if not data]
    if missing:
        raise PipelineError(Code.FORMAT_INVALID, f"{path.name} lacks {missing}")
    return [wanted[name] for name in members]


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    if info.size > MEMBER_BYTES_MAX:
        raise PipelineError(Code.FORMAT_TOO_LARGE, f"{info.name} has {info.size} bytes")
    stream = archive.extractfile(info)
    return b"" if stream is None else stream.read()
