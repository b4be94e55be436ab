"""The README's two commands are the ones that exist and the ones that are checked."""

import re

import pytest

from tests.helpers.tree import ROOT

COMMAND = re.compile(r"^(make [a-z]+)", re.MULTILINE)


def quoted_commands() -> list[str]:
    """The commands of the first fenced block below `## Two commands`."""
    text = (ROOT / "README.md").read_text()
    block = text.partition("## Two commands")[2].partition("```sh\n")[2].partition("```")[0]
    return COMMAND.findall(block)


def test_the_readme_promises_two_commands() -> None:
    """One command runs everything and one tests everything."""
    assert quoted_commands() == ["make run", "make test"]


def test_continuous_integration_runs_the_readme_s_test_command() -> None:
    """What the README tells a reader to run is what CI runs, word for word and only once."""
    run = COMMAND.findall((ROOT / ".ci" / "run").read_text())
    assert run == quoted_commands()[1:]


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_the_commands_are_targets(command: str) -> None:
    """Both commands exist."""
    target = command.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
