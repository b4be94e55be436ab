"""Small gzipped tar archives for tests."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def tar_of(
    folder: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None
) -> Path:
    """Write an archive of `files` and symbolic `links` into `folder`."""
    path = folder / "archive.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.SYMTYPE
            info.linkname = target
            archive.addfile(info)
    return path
