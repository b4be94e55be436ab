"""`.ci/run`, tried on a small project whose Makefile has the same stages."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.tree import ROOT

STAGES = ("install", "lint", "audit", "models", "tests")
MAKEFILE = """
test:
\t@.ci/stage install 30 echo installing
\t@.ci/stage lint 30 sh -c '{lint}'
\t@.ci/stage tests 30 sh -c 'echo "CI is $$CI"; cat; echo "== 3 passed in 0.1s =="'
"""

# Percentages of the budget that no stage exceeds, and that every stage does: no test waits.
AMPLE, SPENT = 100_000, -100


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    for name in ("run", "stage"):
        shutil.copy(ROOT / ".ci" / name, tmp_path / ".ci" / name)
    return tmp_path


def ci(project: Path, lint: str, percent: int = AMPLE) -> subprocess.CompletedProcess[str]:
    (project / "Makefile").write_text(MAKEFILE.format(lint=lint))
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        [project / ".ci" / "run"],
        cwd=project.parent,
        env={**inherited, "CI": "", "BUDGET_PERCENT": str(percent)},
        input="never read\n",
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def table(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    lines = done.stdout.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("stage "))
    return [line.split(maxsplit=3) for line in lines[start + 1 :]]


def test_a_good_run_ends_with_a_table_of_stages(project: Path) -> None:
    """Every stage stands in the table with its seconds, its budget and its outcome."""
    done = ci(project, "true")
    assert done.returncode == 0
    assert [(row[0], row[2], row[3]) for row in table(done)] == [
        ("install", "30000", "passed"),
        ("lint", "30000", "passed"),
        ("tests", "30000", "passed"),
    ]
    assert "== lint: budget 30000 s" in done.stdout


def test_the_tests_closing_line_is_shown(project: Path) -> None:
    """The last line of pytest reaches stdout as it was printed."""
    assert "== 3 passed in 0.1s ==\n" in ci(project, "true").stdout


def test_the_run_is_strict_and_has_no_input(project: Path) -> None:
    """Stages see CI=true and an empty standard input."""
    done = ci(project, "true")
    assert "CI is true\n" in done.stdout
    assert "never read" not in done.stdout


def test_a_failing_stage_fails_the_run(project: Path) -> None:
    """The run stops at the stage that failed, and the table names it."""
    done = ci(project, "exit 7")
    assert done.returncode != 0
    assert [(row[0], row[3]) for row in table(done)] == [
        ("install", "passed"),
        ("lint", "FAILED (exit 7)"),
    ]


def test_a_slow_stage_is_loud_but_passes(project: Path) -> None:
    """Over budget is said, and fails nothing: a busy machine is not a defect."""
    done = ci(project, "true", percent=SPENT)
    assert done.returncode == 0
    assert re.search(
        r"^== lint: \d+ s, OVER BUDGET of -30 s \(exit 0\)$", done.stdout, re.MULTILINE
    )
    assert [row[3] for row in table(done)] == ["passed, OVER BUDGET"] * 3


def test_the_makefile_has_every_stage_with_a_budget() -> None:
    """`make test` goes through all the stages in order, each with its seconds."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    stages = [line.split()[1:3] for line in lines if line.startswith("\t@$(STAGE) ")]
    assert tuple(name for name, _ in stages) == STAGES
    assert all(int(budget_s) > 0 for _, budget_s in stages)


@pytest.mark.parametrize("name", ["run", "stage", "audit"])
def test_the_scripts_are_executable(name: str) -> None:
    """A fresh clone can run them without a chmod."""
    assert os.access(ROOT / ".ci" / name, os.X_OK)
