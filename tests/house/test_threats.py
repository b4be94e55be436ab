"""The threat model and SECURITY.md name only files and tests that exist."""

import re
from pathlib import Path

import pytest

from tests.helpers.tree import ROOT

DOCUMENTS = ("THREAT_MODEL.md", "SECURITY.md")
ROW_CELLS = 5
_NAMED = re.compile(
    r"`((?:serve|pipeline|index|configs|tests|\.ci|\.github)/[\w./-]+)(?:::(\w+))?`"
)


def missing(text: str, root: Path = ROOT) -> list[str]:
    """What is named and is not there."""
    found = []
    for path, test in _NAMED.findall(text):
        if not (root / path).exists():
            found.append(path)
        elif test and not re.search(
            rf"^(async )?def {test}\(", (root / path).read_text(), re.MULTILINE
        ):
            found.append(f"{path}::{test}")
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_and_test_named_exists(name: str) -> None:
    """A control that was moved or a test that was renamed is noticed here."""
    text = (ROOT / ".github" / name).read_text()
    assert missing(text) == []
    assert _NAMED.search(text)


def test_every_threat_has_a_control_a_file_and_a_test() -> None:
    """No row of the table leaves a cell empty, names no source or names no test."""
    text = (ROOT / ".github" / "THREAT_MODEL.md").read_text()
    table = text.partition("## Threats and controls")[2].partition("## What remains")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 20
    for row in rows:
        assert len(row) == ROW_CELLS, row
        assert all(cell.strip() for cell in row), row
        assert _NAMED.search(row[3]), row
        assert "`tests/" in row[4], row


def test_what_is_not_there_is_noticed(tmp_path: Path) -> None:
    """A file that went, and a test that went from its file."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text("async def test_one() -> None: ...\n")
    text = (
        "`tests/test_a.py::test_one` `tests/test_a.py::test_two` `serve/gone.py` `tests/test_a.py`"
    )
    assert missing(text, tmp_path) == ["tests/test_a.py::test_two", "serve/gone.py"]
