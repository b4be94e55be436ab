"""Photos to enrol, one after the other, from a folder or an NDJSON file.

    DIR/alice.jpg           the file's stem is the customer's id, or
    DIR/alice/2019.jpg      its folder's name is
    FILE.ndjson             {"customer_id": …, "image": base64 or "path": …, "consent_id"?: …,
                             "signals"?: {"document"?: …, "device"?: …, "phone"?: …, "email"?: …}}

What cannot be read as a photo of somebody comes out as a failure, in its place. Hidden files are
passed over.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from serve.api.intake.body import parse
from serve.api.intake.proof import decode
from serve.api.wire import Name, SignalsBody, Wire
from serve.cli.options import faults_of, read_bounded
from serve.domain.sweeps.signals import SignalKind
from serve.errors import Code, ServeError

LINE_MARGIN_BYTES = 2**16  # of an NDJSON line beside its image
BLOCK_BYTES = 2**20


class EnrolLine(Wire):
    """One line of the NDJSON file; it has an image or the path of one."""

    customer_id: Name
    image: str | None = None
    path: str | None = None
    consent_id: Name | None = None
    signals: SignalsBody = SignalsBody()


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo to enrol. `place` tells where it was found, `read` gives its bytes."""

    place: str
    customer_id: str = field(repr=False)
    read: Callable[[], bytes] = field(repr=False)
    consent_id: str | None = field(default=None, repr=False)
    signals: Mapping[SignalKind, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class NotEnrolled:
    """A photo that is not enrolled, and why; `feedback` are hints to who takes the next one."""

    place: str
    code: str
    detail: str
    feedback: tuple[str, ...] = ()


Photos = Iterator[Photo | NotEnrolled]


def photos_in(path: Path, image_bytes_max: int) -> tuple[Photos, int]:
    """The photos of a folder or an NDJSON file, and how many there are. Raises `file_unreadable`.

    Images are read no further than one byte beyond `image_bytes_max`.
    """
    try:
        if path.is_dir():
            return _of_folder(path, image_bytes_max), sum(1 for _ in _of_folder(path, 0))
        return _of_lines(path, image_bytes_max), _count_lines(path)
    except OSError as error:
        raise ServeError(Code.FILE_UNREADABLE, f"{path}: {error.strerror}") from error


def _of_folder(folder: Path, image_bytes_max: int) -> Photos:
    for entry in _visible(folder):
        if not entry.is_dir():
            yield _of_file(folder, entry, entry.stem, image_bytes_max)
            continue
        for photo in _visible(entry):
            yield _of_file(folder, photo, entry.name, image_bytes_max)


def _of_file(
    folder: Path, path: Path, customer_id: str, image_bytes_max: int
) -> Photo | NotEnrolled:
    place = os.fsencode(path.relative_to(folder)).decode(errors="replace")
    try:
        line = EnrolLine(customer_id=customer_id)
    except ValueError:
        return NotEnrolled(place, Code.FIELD_INVALID, "the name is none that a customer can have")
    return Photo(place, line.customer_id, partial(read_bounded, path, image_bytes_max))


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _of_lines(path: Path, image_bytes_max: int) -> Photos:
    line_bytes_max = image_bytes_max * 4 // 3 + LINE_MARGIN_BYTES
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(line_bytes_max + 1):
            number += 1
            place = f"line {number}"
            if len(line) > line_bytes_max and not line.endswith(b"\n"):
                _skip_line(stream)
                yield NotEnrolled(place, Code.BODY_TOO_LARGE, f"over {line_bytes_max} bytes")
            elif line.strip():
                yield _of_line(place, line, path.parent, image_bytes_max)


def _of_line(place: str, line: bytes, folder: Path, image_bytes_max: int) -> Photo | NotEnrolled:
    try:
        found = parse(line, EnrolLine)
    except ServeError as error:
        return NotEnrolled(place, error.code, faults_of(error))
    if (found.image is None) == (found.path is None):
        return NotEnrolled(place, Code.FIELD_INVALID, "either image or path is needed")
    if found.path is not None:
        read = partial(read_bounded, folder / found.path, image_bytes_max)
    else:
        read = partial(decode, found.image or "")
    return Photo(place, found.customer_id, read, found.consent_id, found.signals.given)


def _skip_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(BLOCK_BYTES)) and not rest.endswith(b"\n"):
        continue


def _count_lines(path: Path) -> int:
    """Lines that are not empty, or nearly: what a progress bar needs to know."""
    with path.open("rb") as stream:
        count, end = 0, b"\n"
        while block := stream.read(BLOCK_BYTES):
            count += block.count(b"\n")
            end = block[-1:]
        return count + (end != b"\n")
