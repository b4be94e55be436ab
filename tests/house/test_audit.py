"""`.ci/audit`, with a pip-audit of our own on its PATH."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.helpers.tree import ROOT

FLAGS = '"vulns": [{"id": "PYSEC-1", "fix_versions": ["3.0"], "aliases": ["CVE-1"]}]'
CLEAN = '"vulns": []'
SKIPPED = '"skip_reason": "not found"'
FAKE = """#!/bin/sh
case "$*" in
  *canary.txt*) {canary} ;;
  *) {pins} ;;
esac
"""


def says(name: str, found: str) -> str:
    """What pip-audit prints about one pin, as a command of the shell."""
    return f"""echo '{{"dependencies": [{{"name": "{name}", "version": "2.0", {found}}}]}}'"""


JINJA_FLAGGED, JINJA_SILENT = says("jinja2", FLAGS), says("jinja2", SKIPPED)


def audit(
    folder: Path, canary: str, pins: str = "exit 3", *, allowed: str = "", seconds_max: str = "30"
) -> subprocess.CompletedProcess[str]:
    """A run with a pip-audit that does `canary` for the canary and `pins` for the pins."""
    fake, pinned, allowances = folder / "pip-audit", folder / "pins.txt", folder / "allowed.toml"
    fake.write_text(FAKE.format(canary=canary, pins=pins))
    fake.chmod(0o700)
    pinned.write_text("some==2.0\n")
    allowances.write_text(allowed)
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit", pinned, allowances],
        env={"PATH": f"{folder}:/bin:/usr/bin", "AUDIT_SECONDS_MAX": seconds_max},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def allowance(days: int, name: str = "CVE-1", reason: str = "never called") -> str:
    """An entry that runs out so many days from now."""
    until = datetime.now(UTC).date() + timedelta(days=days)
    return f'[[allowed]]\npackage = "Some"\nid = "{name}"\nreason = "{reason}"\nuntil = {until}\n'


def test_pins_without_a_finding_pass(tmp_path: Path) -> None:
    """A flagged canary and clean pins: evidence, and it says so."""
    done = audit(tmp_path, JINJA_FLAGGED, says("some", CLEAN))
    assert (done.returncode, "not evidence" in done.stdout) == (0, False)
    assert "pypi flags the canary jinja2==2.4.1" in done.stdout
    assert "1 pins looked at, nothing found" in done.stdout


def test_a_finding_fails(tmp_path: Path) -> None:
    """What is found is named with its id and the version that mends it."""
    done = audit(tmp_path, JINJA_FLAGGED, says("some", FLAGS))
    assert done.returncode == 1
    assert "FOUND some 2.0: PYSEC-1; fixed in 3.0" in done.stdout


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (allowance(1), 0),
        (allowance(0, "PYSEC-1"), 0),
        (allowance(-1), 1),
        (allowance(1, "CVE-2"), 1),
        (allowance(1, reason=" "), 1),
    ],
)
def test_a_finding_may_wait_with_a_reason_and_a_date(entry: str, code: int, tmp_path: Path) -> None:
    """By its id or an alias of it, until the day that was given; never without a reason."""
    done = audit(tmp_path, JINJA_FLAGGED, says("some", FLAGS), allowed=entry)
    assert done.returncode == code
    assert ("allowed until" in done.stdout) is (code == 0)


@pytest.mark.parametrize(
    "canary",
    [JINJA_SILENT, says("jinja2", CLEAN), "exit 1", "echo no JSON", "echo []", "echo '{}'"],
)
def test_a_canary_that_nobody_flags_is_no_evidence(canary: str, tmp_path: Path) -> None:
    """Whatever is said of the pins then: it is called no evidence, and fails nothing."""
    done = audit(tmp_path, canary, says("some", FLAGS))
    assert done.returncode == 0
    assert "not evidence: the advisory service could not be asked" in done.stdout
    assert "FOUND" not in done.stdout


def test_a_service_that_hangs_is_given_up(tmp_path: Path) -> None:
    """The time for it is bounded, and no answer is no evidence."""
    done = audit(tmp_path, "exec sleep 50", seconds_max="0.5")
    assert (done.returncode, "no answer in time" in done.stdout) == (0, True)


def test_pins_that_were_not_looked_at_are_named(tmp_path: Path) -> None:
    """An answer for the canary alone is no evidence about the others."""
    done = audit(tmp_path, JINJA_FLAGGED, says("some", SKIPPED))
    assert (done.returncode, "not evidence for 1 of 1 pins: some" in done.stdout) == (0, True)
    failed = audit(tmp_path, JINJA_FLAGGED, "exit 3")
    assert failed.returncode == 0
    assert "not evidence: the advisory service did not answer for the pins" in failed.stdout


def test_without_pip_audit_it_cannot_run(tmp_path: Path) -> None:
    """An install without its tool is a failure, not a pass."""
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit"], env={"PATH": str(tmp_path)}, check=False,
        capture_output=True, timeout=60, text=True,
    )  # fmt: skip
    assert (done.returncode, "not installed" in done.stderr) == (2, True)


def test_every_allowance_of_ours_has_a_reason_and_a_date(tmp_path: Path) -> None:
    """The file in the tree is read by the same script."""
    done = audit(
        tmp_path, JINJA_FLAGGED, says("some", CLEAN),
        allowed=(ROOT / ".ci" / "audit_allowed.toml").read_text(),
    )  # fmt: skip
    assert done.returncode == 0
