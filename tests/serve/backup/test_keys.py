"""`limen keys`: what there is, and new ones at an operator's word."""

from pathlib import Path

import pytest

from serve.store.vault.keyring import open_keyring
from tests.serve.cli.command_line import limen


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data directory of an install with one tenant."""
    assert limen("tenant", "create", "Acme", data_dir=tmp_path).exit_code == 0
    return tmp_path


def test_keys_are_listed_without_what_they_are(data_dir: Path) -> None:
    """Kind, number and dates of each; no key, in no spelling, is printed."""
    said = limen("keys", "list", "--json", data_dir=data_dir)
    rows = said.document["keys"]
    assert [(row["kind"], row["number"]) for row in rows] == [("master", 1), ("epoch", 1)]
    assert [row["destroyed_by"] for row in rows] == [None, None]
    keyring = open_keyring(data_dir / "keys", 0, create=False)
    for shown in (said.output, limen("keys", "list", data_dir=data_dir).output):
        for key in (keyring.master, keyring.salt, keyring.pepper):
            assert key.hex() not in shown


@pytest.mark.parametrize(
    ("switches", "numbers"),
    [
        (("--epoch",), [("master", 1), ("epoch", 1), ("epoch", 2)]),
        (("--master",), [("master", 1), ("master", 2), ("epoch", 1)]),
        (("--master", "--epoch"), [("master", 1), ("master", 2), ("epoch", 1), ("epoch", 2)]),
    ],
)
def test_what_is_asked_for_is_rotated(
    data_dir: Path, switches: tuple[str, ...], numbers: list[tuple[str, int]]
) -> None:
    """That and nothing else, at once; each key that was replaced says when it will be gone."""
    rows = limen("keys", "rotate", *switches, "--json", data_dir=data_dir).document["keys"]
    assert [(row["kind"], row["number"]) for row in rows] == numbers
    for row in rows:
        assert (row["replaced_at"] is None) == (row["destroyed_by"] is None)
    assert sum(row["replaced_at"] is not None for row in rows) == len(switches)
    assert limen("tenant", "list", data_dir=data_dir).exit_code == 0


def test_nothing_is_rotated_by_chance(data_dir: Path) -> None:
    """Without a switch the command is refused, and no key is made."""
    assert limen("keys", "rotate", data_dir=data_dir).exit_code == 2
    assert len(limen("keys", "list", "--json", data_dir=data_dir).document["keys"]) == 2
