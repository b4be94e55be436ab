"""Files of an embedded store."""

import stat
from pathlib import Path

import pytest

from serve.errors import Code, ServeError
from serve.store.local.places import LOG_BYTES_MAX, make_folder, places, prepare

SERVER = Path("redis-server")


def test_a_made_data_directory_is_private(tmp_path: Path) -> None:
    """Folder and data directory are for their owner alone; one that exists stays as it is."""
    folder = places(tmp_path / "var").folder
    make_folder(folder)
    for made in (folder, folder.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    make_folder(folder)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file in its place is named in the refusal."""
    (tmp_path / "var").write_text("")
    with pytest.raises(ServeError) as caught:
        make_folder(places(tmp_path / "var").folder)
    assert caught.value.code is Code.FILE_UNWRITABLE


def test_the_log_is_bounded(tmp_path: Path) -> None:
    """A long log is put aside once, over the one put aside before."""
    where = places(tmp_path)
    make_folder(where.folder)
    for letter in "ab":
        (where.folder / "redis.log").write_text(letter * (LOG_BYTES_MAX + 1))
        prepare(where, SERVER, "child")
    assert (where.folder / "redis.log.1").read_text()[0] == "b"
    assert not (where.folder / "redis.log").exists()


def test_a_short_socket_folder_is_made_anew_when_it_is_not_ours(tmp_path: Path) -> None:
    """A recorded folder that others may enter, or that is gone, is not trusted."""
    where = places(tmp_path / ("d" * 100))
    make_folder(where.folder)
    prepare(where, SERVER, "child")
    first = where.socket.parent
    prepare(where, SERVER, "child")
    assert where.socket.parent == first
    first.chmod(0o755)
    prepare(where, SERVER, "child")
    second = where.socket.parent
    second.rmdir()
    prepare(where, SERVER, "child")
    assert len({first, second, where.socket.parent}) == 3
    first.rmdir()
    where.socket.parent.rmdir()
