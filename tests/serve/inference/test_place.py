"""The folder where doors and the engine meet: private, found again, and never left behind."""

import os
import stat
from pathlib import Path

import pytest

from serve.errors import Code, ServeError
from serve.inference.place import PREFIX, SOCKET, meeting_place, recorded, token_file

SOCKET_BYTES_MAX = 107  # of a path that a socket can be bound to


def test_children_find_the_folder(tmp_path: Path) -> None:
    """It is recorded under the data directory while the service runs, and gone afterwards."""
    assert recorded(tmp_path / "var") is None
    with meeting_place(tmp_path / "var") as folder:
        assert recorded(tmp_path / "var") == folder
        assert folder.is_dir()
        (folder / "ray").mkdir()
        (folder / SOCKET).touch()
    assert not folder.exists()
    assert recorded(tmp_path / "var") is None


def test_it_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded is not relative to where the service was started."""
    monkeypatch.chdir(tmp_path)
    with meeting_place(Path("var")) as folder:
        assert recorded(tmp_path / "var") == folder
        assert folder.is_absolute()
        assert token_file(Path("var")) == tmp_path / "var" / "engine" / "ray-token"


def test_only_its_owner_may_enter(tmp_path: Path) -> None:
    """Neither the folder nor the one that names it, where the token is, is open to others."""
    with meeting_place(tmp_path) as folder:
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, tmp_path / "engine")]
        assert modes == [0o700, 0o700]


def test_its_path_is_short_enough_for_a_socket(tmp_path: Path) -> None:
    """However deep the data directory is."""
    deep = tmp_path / ("deep" * 20) / ("deeper" * 20)
    with meeting_place(deep) as folder:
        assert len(os.fsencode(deep)) > SOCKET_BYTES_MAX
        assert len(os.fsencode(folder / SOCKET)) <= SOCKET_BYTES_MAX


def test_what_a_killed_service_left_is_removed(tmp_path: Path) -> None:
    """The next start clears away the last one's folder, and has its own."""
    left = meeting_place(tmp_path)
    old = left.__enter__()
    (old / "images").mkdir()
    with meeting_place(tmp_path) as folder:
        assert folder != old
        assert not old.exists()
        assert recorded(tmp_path) == folder
    left.__exit__(None, None, None)  # which its process never did


@pytest.mark.parametrize("name", ["documents", f"{PREFIX}link", "", "."])
def test_nothing_else_is_removed(tmp_path: Path, name: str) -> None:
    """A record that names another folder, or a link, is not believed."""
    kept = tmp_path / "documents"
    kept.mkdir()
    (kept / "thesis").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(kept)
    (tmp_path / "var" / "engine").mkdir(parents=True)
    named = str(tmp_path / name) if name.strip(".") else name
    (tmp_path / "var" / "engine" / "folder").write_text(named)
    with meeting_place(tmp_path / "var") as folder:
        assert recorded(tmp_path / "var") == folder
    assert (kept / "thesis").exists()
    assert (tmp_path / f"{PREFIX}link").is_symlink()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The refusal names the path and the reason."""
    (tmp_path / "var").touch()
    with pytest.raises(ServeError) as refused, meeting_place(tmp_path / "var"):
        pass
    assert refused.value.code is Code.FILE_UNWRITABLE
    assert str(tmp_path / "var") in refused.value.detail
