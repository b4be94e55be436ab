"""Labelled pairs of images, read from a user's CSV file.

The file is UTF-8 with a header, `path_a,path_b,same[,group]`: any order, no other columns. A
path is relative to the file; it may be absolute or climb with `..`, because whoever runs this
reads their own disk with their own rights. `same` is 1, true or yes for two images of one
person, 0, false or no for images of two people; capitals do not matter, blanks do. An empty
`group` is none. A wrong row is an error and never skipped, because every row left out silently
would move the rates.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GROUP_CHARS_MAX = 64

_COLUMNS = ("path_a", "path_b", "same")
_GROUP = "group"
_SAME = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class PairsLimits:
    """What one file may ask for: a template of each image and every pair are held in memory."""

    size_bytes_max: int = 256 * 2**20
    pairs_max: int = 1_000_000
    images_max: int = 100_000
    groups_max: int = 64


DEFAULT_LIMITS = PairsLimits()


class PairsError(Exception):
    """The pairs cannot be used; `line` counts from 1 and is 0 for the file as a whole.

    The caller, who knows the name of the file, makes it a coded error.
    """

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(line, detail)
        self.line = line
        self.detail = detail

    def __str__(self) -> str:
        return f"line {self.line}: {self.detail}" if self.line > 0 else self.detail


@dataclass(frozen=True, slots=True)
class Pair:
    """One labelled pair: the paths as written in `line`, and the files that they name."""

    line: int
    path_a: str
    path_b: str
    image_a: Path
    image_b: Path
    is_genuine: bool
    group: str | None


def read_pairs(path: Path, limits: PairsLimits = DEFAULT_LIMITS) -> list[Pair]:
    """The pairs in the file, at least one. Blank lines are skipped, nothing else is.

    Raises PairsError for anything but the format above, an image that is not there, an image
    paired with itself, a pair listed twice and a limit exceeded.
    """
    reader = csv.reader(
        io.StringIO(_read_text(path, limits.size_bytes_max), newline=""), strict=True
    )
    images = _Images(path.parent, limits.images_max)
    pairs: list[Pair] = []
    lines: dict[frozenset[Path], int] = {}
    groups: set[str | None] = set()
    try:
        header = _checked_header(next(reader, []))
        for row in filter(None, reader):
            pair = _parse(reader.line_num, header, row, images)
            pairs.append(pair)
            groups.add(pair.group)
            first = lines.setdefault(frozenset((pair.image_a, pair.image_b)), pair.line)
            if first != pair.line:
                raise PairsError(pair.line, f"lists the pair of line {first} again")
            if len(pairs) > limits.pairs_max:
                raise PairsError(pair.line, f"more than {limits.pairs_max} pairs")
            if len(groups - {None}) > limits.groups_max:
                raise PairsError(pair.line, f"more than {limits.groups_max} groups")
    except csv.Error as error:
        raise PairsError(reader.line_num, str(error)) from error
    if not pairs:
        raise PairsError(0, "lists no pairs")
    return pairs


def read_image(pair: Pair, image: Path, bytes_max: int) -> bytes:
    """The file's bytes; one byte more than `bytes_max` says that it is too large.

    Raises PairsError when the file has gone since the pairs were read.
    """
    try:
        with image.open("rb") as stream:
            return stream.read(bytes_max + 1)
    except OSError as error:
        raise PairsError(pair.line, f"{image}: {error.strerror}") from error


def _read_text(path: Path, size_bytes_max: int) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(size_bytes_max + 1)
    except OSError as error:
        raise PairsError(0, str(error.strerror)) from error
    if len(content) > size_bytes_max:
        raise PairsError(0, f"has more than {size_bytes_max} bytes")
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        raise PairsError(content.count(b"\n", 0, error.start) + 1, "not UTF-8") from error


def _checked_header(header: list[str]) -> list[str]:
    for name in header:
        if name not in (*_COLUMNS, _GROUP):
            raise PairsError(1, f"unknown column {name!r}")
        if header.count(name) > 1:
            raise PairsError(1, f"column {name!r} occurs twice")
    for name in _COLUMNS:
        if name not in header:
            raise PairsError(1, f"column {name!r} is missing")
    return header


class _Images:
    """From paths as written to the files they name, each looked up once."""

    def __init__(self, folder: Path, images_max: int) -> None:
        self._folder = folder
        self._images_max = images_max
        self._known: dict[str, Path] = {}

    def find(self, line: int, written: str) -> Path:
        """The resolved path of a regular file."""
        if written not in self._known:
            if len(self._known) == self._images_max:
                raise PairsError(line, f"more than {self._images_max} images")
            self._known[written] = self._look_up(line, written)
        return self._known[written]

    def _look_up(self, line: int, written: str) -> Path:
        try:
            path = (self._folder / written).resolve()
            is_file = path.is_file()
        except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a NUL
            is_file = False
        if not is_file:
            raise PairsError(line, f"there is no file {written!r}")
        return path


def _parse(line: int, header: Sequence[str], row: Sequence[str], images: _Images) -> Pair:
    if len(row) != len(header):
        raise PairsError(line, f"{len(row)} cells under {len(header)} columns")
    cells = dict(zip(header, row, strict=True))
    is_genuine = _SAME.get(cells["same"].lower())
    if is_genuine is None:
        raise PairsError(line, f"`same` is {cells['same']!r}, not one of {', '.join(_SAME)}")
    group = cells.get(_GROUP) or None
    if group is not None and (len(group) > GROUP_CHARS_MAX or not group.isprintable()):
        raise PairsError(line, f"a group has at most {GROUP_CHARS_MAX} printable characters")
    path_a, path_b = cells["path_a"], cells["path_b"]
    image_a, image_b = images.find(line, path_a), images.find(line, path_b)
    if image_a == image_b:
        raise PairsError(line, f"{path_a!r} is paired with itself")
    return Pair(line, path_a, path_b, image_a, image_b, is_genuine, group)
