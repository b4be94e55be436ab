"""The rules about skips, each tried on a small suite of its own."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.tree import ROOT, run

ALLOW_GPU = """
[[allowed]]
test = "tests/test_*.py::test_*"
reason = "*no GPU*"
why = "few machines have one"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def outcome(
    suite: Path, body: str, *options: str, allowed: str = "", ci: str = ""
) -> subprocess.CompletedProcess[str]:
    (suite / "tests" / "test_one.py").write_text(f"import pytest\n{body}\ndef test_ok(): pass\n")
    (suite / "tests" / "allowed_skips.toml").write_text(allowed)
    plugin = ("-m", "pytest", "-p", "tests.helpers.skips", "-p", "no:cacheprovider")
    return run(
        *plugin,
        *options,
        cwd=suite,
        CI=ci,
        PYTHONPATH=str(ROOT),
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )


SKIPPED = "def test_gpu(): pytest.skip('no GPU here')"


def test_a_run_without_skips_says_so(suite: Path) -> None:
    """The end of a run states that nothing was skipped."""
    done = outcome(suite, "", ci="true")
    assert done.returncode == 0
    assert "skips: none" in done.stdout


def test_every_skip_is_listed_with_its_reason(suite: Path) -> None:
    """A lenient run passes and names each skipped test and why."""
    done = outcome(suite, SKIPPED)
    assert done.returncode == 0
    assert "skips: 1\n  tests/test_one.py::test_gpu: no GPU here" in done.stdout


@pytest.mark.parametrize(
    "body",
    [
        "def test_bare(): pytest.skip()",
        "def test_bare(): pytest.skip('')",
        "@pytest.mark.skip\ndef test_bare(): pass",
    ],
)
def test_a_skip_without_a_reason_fails_anywhere(suite: Path, body: str) -> None:
    """Even a lenient run refuses a skip that does not say why."""
    done = outcome(suite, body)
    assert done.returncode == 1
    assert "skip refused: tests/test_one.py::test_bare" in done.stdout
    assert "a skip says why" in done.stdout


@pytest.mark.parametrize(("options", "ci"), [((), "true"), (("--strict-skips",), "")])
def test_a_strict_run_refuses_a_skip_nobody_foresaw(
    suite: Path, options: tuple[str, ...], ci: str
) -> None:
    """With CI=true or the switch, an unlisted skip fails the run and is named."""
    done = outcome(suite, SKIPPED, *options, ci=ci)
    assert done.returncode == 1
    assert "skip refused: tests/test_one.py::test_gpu: 'no GPU here'" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_a_strict_run_lets_a_listed_skip_pass(suite: Path) -> None:
    """A row of the file allows the skip, which is still listed."""
    done = outcome(suite, SKIPPED, allowed=ALLOW_GPU, ci="true")
    assert done.returncode == 0
    assert "test_gpu: no GPU here" in done.stdout


def test_a_strict_run_refuses_a_whole_module_that_skips_itself(suite: Path) -> None:
    """A skip at import hides many tests at once, so it needs a row as well."""
    done = outcome(suite, "pytest.skip('not today', allow_module_level=True)", ci="true")
    assert done.returncode != 0
    assert "skip refused: tests/test_one.py: 'not today'" in done.stdout


def test_an_expected_failure_is_not_a_skip(suite: Path) -> None:
    """A strict run leaves `xfail` to pytest."""
    body = "@pytest.mark.xfail(reason='known')\ndef test_known(): assert False"
    done = outcome(suite, body, ci="true")
    assert done.returncode == 0
    assert "skips: none" in done.stdout


def test_a_row_must_say_why_it_is_allowed(suite: Path) -> None:
    """A row without a case for itself stops the run before any test."""
    done = outcome(
        suite, SKIPPED, allowed=ALLOW_GPU.replace("few machines have one", ""), ci="true"
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "every row has exactly" in done.stderr
