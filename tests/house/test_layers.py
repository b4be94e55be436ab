"""The layer contracts of pyproject.toml hold, and a planted breach of each is caught."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import tree

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    return tree.run("-c", LINT, "--no-cache", "--no-logo", cwd=folder)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The three packages and their contracts, free to be spoilt."""
    wanted = [Path("pyproject.toml"), *(module.path for module in tree.modules(*tree.PACKAGES))]
    for path in wanted:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree.ROOT / path, target)
    return tmp_path


def test_the_contracts_hold() -> None:
    """Imports point downwards only."""
    done = linted(tree.ROOT)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("path", "breach", "named"),
    [
        ("pipeline/face/planted.py", "import serve.settings", "pipeline.face.planted"),
        ("pipeline/image/planted.py", "import index", "pipeline.image.planted"),
        ("index/planted.py", "import pipeline.evidence", "index.planted"),
        ("pipeline/decision/planted.py", "import pipeline.models", "pipeline.decision.planted"),
        ("pipeline/image/planted.py", "import pipeline.face", "pipeline.image.planted"),
        ("serve/settings.py", "import serve.cli.options", "serve.settings"),
        ("pipeline/planted.py", "", "planted"),
    ],
)
def test_a_planted_breach_is_caught(copy: Path, path: str, breach: str, named: str) -> None:
    """An import that points upwards, or a module on no floor, breaks the contracts."""
    with (copy / path).open("a") as stream:
        stream.write(f"\n{breach}\n")
    done = linted(copy)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
    assert named in done.stdout
