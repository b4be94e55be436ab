"""The file of a backup: read back exactly as it was written, or refused."""

import io
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from serve.domain.upkeep.backup import Counts, Manifest
from serve.errors import Code, ServeError
from serve.store.local.archive import BLOCK_BYTES, digest_of, read_archive, write_archive
from tests.fixtures import silent

CONTENT = b"REDIS0009" + bytes(range(256)) * 9


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A backup of some bytes."""
    dump = tmp_path / "source.rdb"
    dump.write_bytes(CONTENT)
    with dump.open("rb") as source:
        size, sha256 = digest_of(source, silent)
    manifest = Manifest(
        format=1, created_at_ms=1_763_700_000_000, keys_fingerprint="0" * 64, schema_version=1,
        partitions=64, redis_version="6.2.14", epochs=(1, 2), current_epoch=2, rdb_bytes=size,
        rdb_sha256=sha256, counts=Counts(tenants=1, customers=2, sessions=3),
    )  # fmt: skip
    path = tmp_path / "backup.tar"
    with dump.open("rb") as source:
        write_archive(path, manifest, source, silent)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ServeError) as refused:
        read_archive(path, silent)
    return str(refused.value.code)


def packed(*members: tuple[str, bytes, bytes]) -> bytes:
    """A tar of these names, types and contents."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind, content in members:
            head = tarfile.TarInfo(name)
            head.size, head.type = len(content), kind
            archive.addfile(head, io.BytesIO(content))
    return stream.getvalue()


def test_what_is_written_is_read_back(written: Path, tmp_path: Path) -> None:
    """Any tar opens it, nobody else may read it, and no half of one is left beside it."""
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    with tarfile.open(written) as archive:
        assert archive.getnames() == ["manifest.json", "dump.rdb"]
    manifest = read_archive(written, silent, tmp_path / "copy.rdb")
    assert (tmp_path / "copy.rdb").read_bytes() == CONTENT
    assert stat.S_IMODE((tmp_path / "copy.rdb").stat().st_mode) == 0o600
    assert manifest.counts.customers == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "backup.tar", "copy.rdb", "source.rdb"
    ]  # fmt: skip


def test_no_shorter_file_is_a_backup(written: Path) -> None:
    """Wherever it was cut off."""
    whole = written.read_bytes()
    for length in {0, 1, len(whole) - 1, *range(0, len(whole), BLOCK_BYTES // 2)}:
        written.write_bytes(whole[:length])
        assert refusal(written) == Code.BACKUP_INVALID


def test_no_changed_bit_goes_unnoticed_in_what_it_holds(written: Path) -> None:
    """Names, sizes, manifest, snapshot, padding and end are all looked at."""
    whole = written.read_bytes()
    first = whole.index(CONTENT)
    for place in (0, 130, BLOCK_BYTES + 3, first - BLOCK_BYTES, first, first + 700, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        written.write_bytes(changed)
        assert refusal(written) == Code.BACKUP_INVALID, place


@pytest.mark.parametrize(
    "change",
    [
        lambda text: packed(("../manifest.json", tarfile.REGTYPE, text)),
        lambda text: packed(("manifest.json", tarfile.SYMTYPE, b""), ("dump.rdb", b"0", CONTENT)),
        lambda text: packed(("dump.rdb", b"0", CONTENT), ("manifest.json", b"0", text)),
        lambda text: packed(("manifest.json", b"0", text), ("/etc/dump.rdb", b"0", CONTENT)),
        lambda text: packed(
            ("manifest.json", b"0", text), ("dump.rdb", b"0", CONTENT), ("more", b"0", b"x")
        ),
        lambda text: packed(("manifest.json", b"0", text + b" " * 2**20)),
        lambda text: packed(("manifest.json", b"0", text), ("dump.rdb", b"0", CONTENT * 2)),
        lambda text: packed(
            ("manifest.json", b"0", text.replace(b'"format": 1', b'"format": 2')),
            ("dump.rdb", b"0", CONTENT),
        ),
        lambda _: b"not a tar" * 100,
    ],
)
def test_another_tar_is_refused(written: Path, change: Callable[[bytes], bytes]) -> None:
    """Other names, links, orders, sizes and formats are no backup, whatever they hold."""
    with tarfile.open(written) as archive:
        member = archive.extractfile("manifest.json")
        assert member is not None
        text = member.read()
    written.write_bytes(change(text))
    assert refusal(written) == Code.BACKUP_INVALID


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is refused as unreadable, not as a bad backup."""
    assert refusal(tmp_path / "absent.tar") == Code.FILE_UNREADABLE


def test_what_cannot_be_written_leaves_nothing(written: Path, tmp_path: Path) -> None:
    """A failed backup neither replaces an older one nor leaves a half beside it."""
    before = written.read_bytes()
    manifest = read_archive(written, silent)
    source = (tmp_path / "source.rdb").open("ab")  # that cannot be read
    with source, pytest.raises(ServeError) as refused:
        write_archive(written, manifest, source, silent)
    assert refused.value.code is Code.FILE_UNWRITABLE
    assert written.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "source.rdb"]
