"""Canaries: things that must be nowhere in the clear, and the search for them in every spelling."""

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

FORM_BYTES_MIN = 12  # a shorter spelling would be found by chance
WINDOW_BYTES = 24
FILE_BYTES_MAX = 2**28


def spellings(canary: bytes) -> dict[str, bytes]:
    """How these bytes would look wherever software may have written them down."""
    text = canary.decode("latin-1")
    found = {
        "raw": canary,
        "hex": canary.hex().encode(),
        "HEX": canary.hex().upper().encode(),
        "repr": repr(canary)[2:-1].encode(),
        "url": quote(canary, safe="").encode(),
        "json": json.dumps(text)[1:-1].encode(),
    }
    for shift in range(3):  # of what stands before it in the same base64
        whole = base64.b64encode(bytes(shift) + canary).rstrip(b"=")
        spelt = whole[(0, 2, 3)[shift] : -1]
        found[f"base64+{shift}"] = spelt
        found[f"base64url+{shift}"] = spelt.replace(b"+", b"-").replace(b"/", b"_")
    return {name: form for name, form in found.items() if len(form) >= FORM_BYTES_MIN}


def windows(name: str, content: bytes, count: int = 5) -> dict[str, bytes]:
    """Some stretches of a large canary: a part of it is too much as well.

    The head is left out: it is the same in every file of its format.
    """
    assert len(content) > 4 * WINDOW_BYTES
    first, last = len(content) // 3, len(content) - WINDOW_BYTES
    starts = [first + (last - first) * number // (count - 1) for number in range(count)]
    return {f"{name}@{start}": content[start : start + WINDOW_BYTES] for start in starts}


class Search:
    """Looks for every spelling of every canary."""

    def __init__(self, canaries: Mapping[str, bytes]) -> None:
        self._forms = [
            (f"{name} ({how})", form)
            for name, canary in canaries.items()
            for how, form in spellings(canary).items()
        ]
        self.looked_at = 0
        self.bytes = 0

    def within(self, place: str, content: bytes) -> list[str]:
        """What is found in `content`, each with its place."""
        self.looked_at += 1
        self.bytes += len(content)
        return [f"{place}: {name}" for name, form in self._forms if form in content]

    def files(self, paths: Iterable[Path]) -> list[str]:
        """The same of files and their names; one that has gone meanwhile holds nothing."""
        return [
            found
            for path in paths
            for found in self.within(str(path), os.fsencode(path) + b"\n" + read(path))
        ]


def below(folder: Path, *but: Path) -> Iterator[Path]:
    """Every file in `folder` but those in the folders `but`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(map(path.is_relative_to, but)):
            yield path


def read(path: Path) -> bytes:
    """What a file, or a descriptor of somebody's, holds."""
    try:
        with path.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX)
    except OSError:
        return b""
