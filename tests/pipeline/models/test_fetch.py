"""Registry clients are programs; only hashes are believed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import Code, PipelineError
from pipeline.models.archive import MEMBERS_MAX, read_members
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import Source
from pipeline.models.fetch import bytes_under, npm_command, obtain
from tests.fixtures import silent
from tests.helpers.archives import tar_of

CONTENT = b"the pinned bytes"


def source(data: bytes, integrity: str | None = None) -> Source:
    """An npm source pinned to `data`."""
    return Source(
        id="thing",
        kind="npm",
        package="thing",
        version="1.0.0",
        file="thing-1.0.0.tgz",
        sha256=hashlib.sha256(data).hexdigest(),
        integrity=integrity,
        size_bytes=len(data),
        licence="MIT",
    )


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    """An empty cache."""
    return ModelCache(tmp_path / "cache")


def fake_npm(folder: Path, script: str) -> None:
    """Put a program called npm on a PATH of its own."""
    folder.mkdir()
    path = folder / "npm"
    path.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{script}\n")
    path.chmod(0o755)


DELIVER = "pathlib.Path(sys.argv[-1], 'thing-1.0.0.tgz').write_bytes({data!r})"


def test_delivered_file_is_kept(
    tmp_path: Path, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with the pinned hashes is kept, and the client is not asked twice."""
    fake_npm(tmp_path / "bin", DELIVER.format(data=CONTENT))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    path = obtain(source(CONTENT), cache, None, silent)
    assert path.read_bytes() == CONTENT
    (tmp_path / "bin" / "npm").unlink()
    assert obtain(source(CONTENT), cache, None, silent) == path


@pytest.mark.parametrize("delivered", [b"other bytes, same", CONTENT + b"!", b""])
def test_other_bytes_are_refused(
    delivered: bytes, tmp_path: Path, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not the pinned one is refused and not kept."""
    fake_npm(tmp_path / "bin", DELIVER.format(data=delivered))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(PipelineError) as refused:
        obtain(source(CONTENT), cache, None, silent)
    assert refused.value.code is Code.SOURCE_HASH_MISMATCH
    assert list(cache.downloads.iterdir()) == []


def test_wrong_integrity_is_refused(
    tmp_path: Path, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry's own integrity hash is checked besides ours."""
    fake_npm(tmp_path / "bin", DELIVER.format(data=CONTENT))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(PipelineError) as refused:
        obtain(source(CONTENT, integrity="sha512-AAAA"), cache, None, silent)
    assert refused.value.code is Code.SOURCE_HASH_MISMATCH


@pytest.mark.parametrize("script", ["sys.exit('no such package')", "pass"])
def test_client_that_brings_nothing_is_unavailable(
    script: str, tmp_path: Path, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that fails, or ends without the file, is `source_unavailable` with its words."""
    fake_npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(PipelineError) as refused:
        obtain(source(CONTENT), cache, None, silent)
    assert refused.value.code is Code.SOURCE_UNAVAILABLE
    assert "thing" in refused.value.detail


@pytest.mark.models
def test_npm_comes_from_a_wheel_where_there_is_none(
    cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without npm on PATH, a pinned wheel brings Node.js with an npm that runs."""
    cache.downloads.mkdir(parents=True)
    monkeypatch.setenv("PATH", "")
    command = npm_command(cache)
    environment = {**os.environ, "PATH": str(Path(command[0]).parent)}
    said = subprocess.run(
        [*command, "--version"], capture_output=True, check=True, timeout=60, env=environment
    )
    assert int(said.stdout.split(b".")[0]) >= 10
    assert npm_command(cache) == command  # and is not installed twice


def test_members_come_in_the_order_asked(tmp_path: Path) -> None:
    """Members are read by name, in the caller's order, whatever the archive's."""
    path = tar_of(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    assert read_members(path, ["c", "a"]) == [b"3", b"1"]


def test_broken_archives_are_typed_errors(tmp_path: Path) -> None:
    """A missing member, a cut archive and a non-archive are all `format_invalid`."""
    path = tar_of(tmp_path, {"a": os.urandom(5000)})
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(path.read_bytes()[:2000])
    text = tmp_path / "text.tgz"
    text.write_text("no archive")
    for broken, member in ((path, "nosuch"), (cut, "a"), (text, "a")):
        with pytest.raises(PipelineError) as refused:
            read_members(broken, [member])
        assert refused.value.code is Code.FORMAT_INVALID


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link in the place of a member is not a member."""
    path = tar_of(tmp_path, {}, links={"a": "/etc/hostname"})
    with pytest.raises(PipelineError) as refused:
        read_members(path, ["a"])
    assert refused.value.code is Code.FORMAT_INVALID


def test_archive_of_too_many_members_is_refused(tmp_path: Path) -> None:
    """The walk through an archive is bounded."""
    path = tar_of(tmp_path, {f"m{i}": b"" for i in range(MEMBERS_MAX + 1)})
    with pytest.raises(PipelineError) as refused:
        read_members(path, ["nosuch"])
    assert refused.value.code is Code.FORMAT_TOO_LARGE


def test_progress_survives_files_that_vanish(tmp_path: Path) -> None:
    """A client's temporary files may go while they are counted: what is gone counts nothing."""
    (tmp_path / "there").write_bytes(CONTENT)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")  # listed, and then not found
    assert bytes_under(tmp_path) == len(CONTENT)
    assert bytes_under(tmp_path / "nowhere") == 0


def test_busy_client_is_watched_to_its_end(
    tmp_path: Path, cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that a client creates and removes all the time never stop a download."""
    churn = (
        "import shutil, tempfile, time\n"
        "end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end:\n"
        "    folder = pathlib.Path(tempfile.mkdtemp())\n"
        "    for i in range(50): (folder / str(i)).mkdir()\n"
        "    shutil.rmtree(folder)\n"
    )
    fake_npm(tmp_path / "bin", churn + DELIVER.format(data=CONTENT))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert obtain(source(CONTENT), cache, None, silent).read_bytes() == CONTENT


def url_source(path: Path, size_bytes: int) -> Source:
    """A source at a file's address: recipes admit only https, the reading is the same."""
    return Source.model_construct(
        id="thing",
        kind="url",
        url=path.as_uri(),
        file="thing.onnx",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        integrity=None,
        size_bytes=size_bytes,
        licence="MIT",
    )


def test_url_is_read_with_progress(tmp_path: Path, cache: ModelCache) -> None:
    """A file comes from its address, counted while it comes, and is kept."""
    (tmp_path / "thing.onnx").write_bytes(CONTENT)
    seen: list[tuple[int, int]] = []
    source = url_source(tmp_path / "thing.onnx", len(CONTENT))
    path = obtain(source, cache, None, lambda _, done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_url_that_sends_too_much_is_cut_off(tmp_path: Path, cache: ModelCache) -> None:
    """An answer longer than the recipe says is refused while it comes."""
    (tmp_path / "thing.onnx").write_bytes(CONTENT + b"!" * 10_000_000)
    with pytest.raises(PipelineError) as refused:
        obtain(url_source(tmp_path / "thing.onnx", len(CONTENT)), cache, None, silent)
    assert refused.value.code is Code.SOURCE_HASH_MISMATCH
    assert "too long" in refused.value.detail


def test_url_that_does_not_answer_is_unavailable(tmp_path: Path, cache: ModelCache) -> None:
    """An address without an answer is `source_unavailable`, and leaves nothing behind."""
    with pytest.raises(PipelineError) as refused:
        obtain(url_source(tmp_path / "nosuch.onnx", len(CONTENT)), cache, None, silent)
    assert refused.value.code is Code.SOURCE_UNAVAILABLE
    assert list(cache.downloads.iterdir()) == []


def test_with_a_mirror_no_url_is_asked(tmp_path: Path, cache: ModelCache) -> None:
    """What a mirror lacks is unavailable, even where its URL would answer."""
    (tmp_path / "thing.onnx").write_bytes(CONTENT)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with pytest.raises(PipelineError) as refused:
        obtain(url_source(tmp_path / "thing.onnx", len(CONTENT)), cache, mirror, silent)
    assert refused.value.code is Code.SOURCE_UNAVAILABLE
