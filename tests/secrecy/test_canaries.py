"""The search itself: it finds what was planted, however it is spelt and wherever it lies."""

import base64
import json
import os
from pathlib import Path

import pytest

from tests.secrecy.canaries import Search, below, spellings, windows

CANARY = bytes(range(0, 250, 9))  # with quotes, backslashes and bytes beyond ASCII in it
TEXT = b'canary "of" a\\customer'


@pytest.mark.parametrize("canary", [CANARY, TEXT])
@pytest.mark.parametrize(
    "spelt",
    [
        bytes,
        lambda canary: canary.hex().encode(),
        lambda canary: canary.hex().upper().encode(),
        lambda canary: json.dumps({"x": canary.decode("latin-1")}).encode(),
        lambda canary: repr(canary).encode(),
        base64.b64encode,
        lambda canary: base64.b64encode(b"a" + canary),
        lambda canary: base64.b64encode(b"ab" + canary + b"c"),
        lambda canary: base64.urlsafe_b64encode(b"abcd" + canary + b"cd"),
    ],
)
def test_every_spelling_is_found(canary: bytes, spelt: object) -> None:
    """In the midst of other bytes, and not in those bytes alone."""
    assert callable(spelt)
    search = Search({"it": canary})
    noise = os.urandom(1000)
    assert search.within("here", noise + spelt(canary) + noise)
    assert search.within("here", noise + noise) == []


def test_a_part_of_something_large_is_found() -> None:
    """A third of a photo betrays it."""
    photo = os.urandom(30_000)
    search = Search(windows("photo", photo))
    assert search.within("here", b"..." + photo[20_000:])
    assert search.within("here", photo[:5_000]) == []


def test_files_are_searched_but_where_they_may_be(tmp_path: Path) -> None:
    """A canary in any file but the keys' is found, with the name of the file."""
    for name in ("keys/master", "redis/deep/file", "log"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" + CANARY)
    search = Search({"it": CANARY})
    found = search.files(below(tmp_path, tmp_path / "keys"))
    assert sorted({line.split(":")[0] for line in found}) == [
        str(tmp_path / "log"), str(tmp_path / "redis/deep/file")
    ]  # fmt: skip
    assert search.looked_at == 2


def test_no_spelling_is_so_short_that_chance_finds_it() -> None:
    """What is searched for has twelve bytes at least."""
    for canary in (CANARY, TEXT, b"short-canary"):
        assert min(map(len, spellings(canary).values())) >= 12
