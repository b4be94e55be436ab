"""README.md tells the truth about settings, errors, commands and targets."""

import pytest

from pipeline.errors import Code as PipelineCode
from serve import errors
from serve.settings import fields, variable
from tests.helpers import readme_tables
from tests.helpers.readme_tables import README, TABLES, updated

UPDATE = "run `python -m tests.helpers.readme_tables --update`"


@pytest.mark.parametrize("name", TABLES)
def test_the_readme_s_table_is_the_code_s(name: str) -> None:
    """Each marked table stands in the README line for line as the code gives it."""
    text = README.read_text()
    shown = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    assert shown.strip() == TABLES[name](), UPDATE


def test_every_setting_is_in_its_table() -> None:
    """No field of the settings can be left out of the README."""
    rows = [line.split(" | ") for line in readme_tables.settings().splitlines()[2:]]
    assert [row[0].strip("|` ") for row in rows] == [
        variable(section, key) for section, key, _ in fields()
    ]


@pytest.mark.parametrize("code", [*PipelineCode, *errors.Code])
def test_every_code_is_in_its_table(code: PipelineCode | errors.Code) -> None:
    """No error can reach a user that the README does not explain."""
    assert f"| `{code}` | {errors.SENTENCES[code]} |" in readme_tables.errors()


def test_every_target_says_what_it_is_for() -> None:
    """The Makefile has no target that its help and the README would leave out."""
    makefile = (README.parent / "Makefile").read_text()
    (phony,) = (line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    listed = {line.split("`")[1] for line in readme_tables.targets().splitlines()[2:]}
    assert listed == {f"make {name}" for name in phony.split()[1:]}


def test_a_stale_table_is_caught() -> None:
    """An edited row is put right, which the first test would have reported."""
    text = README.read_text()
    stale = text.replace(f"`{PipelineCode.NOT_AN_IMAGE}`", "`not_a_picture`")
    assert stale != text
    assert updated(stale) == updated(text)


def test_a_table_without_its_marks_is_caught() -> None:
    """Deleting a mark does not silently end the check of its table."""
    with pytest.raises(AssertionError, match="settings"):
        updated(README.read_text().replace("<!-- settings -->", ""))
