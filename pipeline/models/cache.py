"""The cache folder on disk: atomic writes, hashes, and one builder at a time.

ROOT/downloads/<sha256>-<file>    verified sources, kept so that a build can resume
ROOT/packs/<pack>/manifest.json   written last after each model: it vouches for the rest
ROOT/packs/<pack>/<model>.onnx
ROOT/lock                         held by whoever is building
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import Code, PipelineError
from pipeline.models.manifest import MANIFEST_BYTES_MAX, Manifest, decode_manifest

MANIFEST_FILE = "manifest.json"
BUILD_WAIT_S_MAX = 1800.0  # a second builder waits for the first, then finds its work done
_CHUNK_BYTES = 2**20


class ModelCache:
    """Paths and guarded writes under `root`; knows nothing of where models come from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.downloads = root / "downloads"
        self.tools = root / "tools"

    def pack_dir(self, pack: str) -> Path:
        """The folder of the pack called `pack`; it may not exist."""
        return self.root / "packs" / pack

    @contextlib.contextmanager
    def building(self, wait_s: float = BUILD_WAIT_S_MAX) -> Iterator[None]:
        """Hold the build lock. It is the kernel's, so it dies with its holder."""
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / "lock", timeout=wait_s):
                yield
        except Timeout as error:
            raise PipelineError(
                Code.SOURCE_UNAVAILABLE, f"another build held {self.root} for {wait_s:.0f} s"
            ) from error

    def read_manifest(self, pack: str) -> Manifest:
        """The manifest of `pack`. Raises `pack_missing` or `pack_corrupt`."""
        path = self.pack_dir(pack) / MANIFEST_FILE
        try:
            with path.open("rb") as stream:
                data = stream.read(MANIFEST_BYTES_MAX + 1)
        except FileNotFoundError as error:
            raise PipelineError(
                Code.PACK_MISSING, f"{pack} is not in {self.root}; build or pull it first"
            ) from error
        return decode_manifest(data)

    def write_manifest(self, manifest: Manifest) -> None:
        """Publish `manifest`; readers see the old one or the new one, whole."""
        write_atomically(self.pack_dir(manifest.pack.name) / MANIFEST_FILE, manifest.encode())

    def read_model(self, manifest: Manifest, model_id: str) -> bytes:
        """The bytes of one model, checked against its manifest. Raises `pack_corrupt`."""
        entry = manifest.entry(model_id)
        if entry is None:
            raise PipelineError(Code.PACK_CORRUPT, f"{manifest.pack.name} lacks {model_id}")
        path = self.pack_dir(manifest.pack.name) / entry.file
        try:
            with path.open("rb") as stream:
                data = stream.read(entry.size_bytes + 1)
        except FileNotFoundError as error:
            raise PipelineError(Code.PACK_CORRUPT, f"{entry.file} is gone") from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise PipelineError(Code.PACK_CORRUPT, f"{entry.file} differs from its manifest")
        return data


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write, fsync, rename, fsync the folder: `path` holds all of `data` or what it held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
