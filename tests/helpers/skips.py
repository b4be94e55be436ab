"""No silent skips: every run ends with the list of what it did not test, and why.

A skip without a reason fails anywhere. With `--strict-skips`, or CI=true in the environment, a
skip that no row of `tests/allowed_skips.toml` foresees fails too: a suite that skips itself
green on a bare machine proves nothing. A refused skip is turned into a failure of that very
test, so that it shows wherever failures show.
"""

import os
import tomllib
from collections.abc import Generator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import pytest

ALLOWED_FILE = Path("tests") / "allowed_skips.toml"
_KEYS = {"test", "reason", "why"}
_NO_REASON = {"", "unconditional skip"}  # the second is pytest's own wording for none
_allowed_key = pytest.StashKey["list[Allowed] | None"]()

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@dataclass(frozen=True, slots=True)
class Allowed:
    """One row of the file: globs on a test's id and on the reason, and why that is right."""

    test: str
    reason: str
    why: str

    def covers(self, test: str, reason: str) -> bool:
        """Whether this row foresees the skip of `test` for `reason`."""
        return fnmatchcase(test, self.test) and fnmatchcase(reason, self.reason)


def read_allowed(path: Path) -> list[Allowed]:
    """The rows of `path`; none if there is no such file. Raises `UsageError` for a bad row."""
    if not path.is_file():
        return []
    rows = tomllib.loads(path.read_text()).get("allowed", [])
    for row in rows:
        if set(row) != _KEYS or not all(isinstance(row[key], str) and row[key] for key in _KEYS):
            raise pytest.UsageError(f"{path}: every row has exactly {sorted(_KEYS)}, not {row}")
    return [Allowed(**row) for row in rows]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips",
        action="store_true",
        help=f"fail on a skip that {ALLOWED_FILE} does not allow (also when CI=true)",
    )


def pytest_configure(config: pytest.Config) -> None:
    strict = config.getoption("--strict-skips") or os.environ.get("CI") == "true"
    config.stash[_allowed_key] = read_allowed(config.rootpath / ALLOWED_FILE) if strict else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _judged(report, item.config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _judged(report, collector.config)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost, so that nothing follows the list
def pytest_terminal_summary(terminalreporter: Any) -> Generator[None, None, None]:
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    terminalreporter.write_line(f"skips: {len(skipped) or 'none'}")
    for report in skipped:
        terminalreporter.write_line(f"  {report.nodeid}: {_reason(report)}")


def _judged(report: Report, config: pytest.Config) -> Report:
    """`report` itself, or turned into a failure if it is a skip that must not pass."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return report
    reason = _reason(report)
    allowed = config.stash[_allowed_key]
    if reason in _NO_REASON:
        complaint = "a skip says why"
    elif allowed is None or any(row.covers(report.nodeid, reason) for row in allowed):
        return report
    else:
        complaint = f"no row of {ALLOWED_FILE} allows it"
    report.outcome = "failed"
    report.longrepr = f"skip refused: {report.nodeid}: {reason!r}: {complaint}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip, which pytest keeps as (file, line, "Skipped: reason")."""
    assert isinstance(report.longrepr, tuple)
    return report.longrepr[2].removeprefix("Skipped").removeprefix(":").strip()
