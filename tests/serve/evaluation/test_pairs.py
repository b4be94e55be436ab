"""The pairs file: what is read, and how everything else is refused."""

from pathlib import Path

import pytest

from serve.flows.evaluation.pairs import (
    DEFAULT_LIMITS,
    PairsError,
    PairsLimits,
    read_image,
    read_pairs,
)

HEADER = "path_a,path_b,same\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images a to d, `set/e` among them, beside which the pairs file will lie."""
    (tmp_path / "set").mkdir()
    for name in ("a", "b", "c", "d", "set/e"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def write(folder: Path, text: str | bytes, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, limits: PairsLimits = DEFAULT_LIMITS) -> PairsError:
    with pytest.raises(PairsError) as refused:
        read_pairs(path, limits)
    return refused.value


def test_pairs_are_read_as_written_and_resolved(folder: Path) -> None:
    """Each row becomes a pair with its line, label, group and the files it names."""
    path = write(folder, "path_a,path_b,same,group\na,b,1,night\n\na,set/e,no,\n")
    first, second = read_pairs(path)
    assert (first.line, first.path_a, first.path_b) == (2, "a", "b")
    assert (first.image_a, first.image_b) == (folder / "a", folder / "b")
    assert (first.is_genuine, first.group) == (True, "night")
    assert (second.line, second.image_b) == (4, folder / "set" / "e")
    assert (second.is_genuine, second.group) == (False, None)


def test_columns_come_in_any_order_and_quoted(folder: Path) -> None:
    """The header says which column is which; a spreadsheet's mark and line ends are accepted."""
    text = '\ufeffgroup,same,path_b,path_a\r\n"x, y",1,"b",a\r\n'
    (pair,) = read_pairs(write(folder, text))
    assert (pair.path_a, pair.path_b, pair.is_genuine, pair.group) == ("a", "b", True, "x, y")


@pytest.mark.parametrize(
    ("same", "expected"),
    [("1", True), ("true", True), ("Yes", True), ("0", False), ("FALSE", False), ("no", False)],
)
def test_labels_are_a_closed_set(folder: Path, same: str, expected: bool) -> None:
    """1, true, yes and 0, false, no are labels, in any case."""
    (pair,) = read_pairs(write(folder, f"{HEADER}a,b,{same}\n"))
    assert pair.is_genuine is expected


@pytest.mark.parametrize("same", ["", " 1", "2", "y", "match", "-1", "1.0", "None"])
def test_any_other_label_is_refused(folder: Path, same: str) -> None:
    """A label that is not in the set is an error on its line, never a guess."""
    assert refusal(write(folder, f"{HEADER}a,c,1\na,b,{same}\n")).line == 3


@pytest.mark.parametrize(
    ("text", "line", "detail"),
    [
        ("", 1, "'path_a' is missing"),
        (HEADER, 0, "lists no pairs"),
        ("path_a,path_b\na,b\n", 1, "'same' is missing"),
        ("path_a,path_b,same,notes\na,b,1,x\n", 1, "unknown column 'notes'"),
        ("path_a,path_b,same,Group\na,b,1,x\n", 1, "unknown column 'Group'"),
        ("path_a,path_b,same,same\na,b,1,1\n", 1, "'same' occurs twice"),
        (HEADER + "a,b\n", 2, "2 cells under 3 columns"),
        (HEADER + "a,b,1,x\n", 2, "4 cells under 3 columns"),
        (HEADER + "a,b,1\na,z,1\n", 3, "no file 'z'"),
        (HEADER + "a,,1\n", 2, "no file ''"),
        (HEADER + "a,set,1\n", 2, "no file 'set'"),
        (HEADER + "a,x\0,1\n", 2, ""),
        (HEADER + f"a,{'x' * 5000},1\n", 2, "no file"),
        (HEADER + "a,set/../a,1\n", 2, "paired with itself"),
        (HEADER + "a,b,1\nc,d,1\nb,a,0\n", 4, "line 2 again"),
        (HEADER + 'a,"b"x,1\n', 2, "expected after"),
        (HEADER + 'a,"b,1\n', 2, "end of data"),
        ("path_a,path_b,same,group\na,b,1," + "g" * 65 + "\n", 2, "64 printable"),
        ("path_a,path_b,same,group\na,b,1,\x1b[31m\n", 2, "64 printable"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    folder: Path, text: str, line: int, detail: str
) -> None:
    """Every fault is an error that names its line; no row is left out silently."""
    error = refusal(write(folder, text))
    assert error.line == line
    assert detail in error.detail
    assert str(error) == (f"line {line}: {error.detail}" if line else error.detail)


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(folder: Path) -> None:
    """A file in another encoding is named as such, not read as gibberish."""
    error = refusal(write(folder, HEADER.encode() + b"a,b,1\nc,\xe9,0\n"))
    assert (error.line, error.detail) == (3, "not UTF-8")


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    """A missing pairs file, or a folder in its place, is the same kind of error."""
    assert refusal(folder / "nowhere.csv").line == 0
    assert refusal(folder / "set").line == 0


def test_paths_may_leave_the_folder(folder: Path) -> None:
    """A user's own disk is theirs to read: absolute paths and `..` name files like any other."""
    path = write(folder / "set", f"{HEADER}../a,{folder / 'b'},1\n")
    (pair,) = read_pairs(path)
    assert (pair.image_a, pair.image_b) == (folder / "a", folder / "b")


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        (PairsLimits(pairs_max=2), "a,b,1,x\na,c,1,x\na,d,1,x\n"),
        (PairsLimits(images_max=2), "a,b,1,x\nb,c,1,x\n"),
        (PairsLimits(groups_max=2), "a,b,1,x\na,c,1,y\na,d,1,z\n"),
        (PairsLimits(size_bytes_max=2), ""),
    ],
)
def test_every_limit_is_met_with_an_error(folder: Path, limits: PairsLimits, rows: str) -> None:
    """More pairs, images, groups or bytes than the limit are refused, not cut off."""
    path = write(folder, f"path_a,path_b,same,group\n{rows}")
    assert "more than 2 " in refusal(path, limits).detail


def test_a_limit_is_a_maximum(folder: Path) -> None:
    """A file exactly at its limits is read; rows outside any group count for none."""
    text = "path_a,path_b,same,group\na,b,1,x\na,c,1,y\nb,c,1,\n"
    limits = PairsLimits(size_bytes_max=len(text), pairs_max=3, images_max=3, groups_max=2)
    assert len(read_pairs(write(folder, text), limits)) == 3


def test_an_image_is_read_no_further_than_its_limit(folder: Path) -> None:
    """A file over the limit yields one byte too many, which is how the caller knows."""
    (pair,) = read_pairs(write(folder, f"{HEADER}a,set/e,1\n"))
    assert read_image(pair, pair.image_b, 5) == b"set/e"
    assert read_image(pair, pair.image_b, 3) == b"set/"


def test_an_image_that_has_gone_is_an_error_on_its_line(folder: Path) -> None:
    """A file that disappears after the check is an error too, and says where it was listed."""
    (pair,) = read_pairs(write(folder, f"{HEADER}a,b,1\n"))
    pair.image_b.unlink()
    with pytest.raises(PairsError) as refused:
        read_image(pair, pair.image_b, 5)
    assert refused.value.line == 2
