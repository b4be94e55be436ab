"""Every module imports alone, in a fresh interpreter, with warnings as errors.

A module that only imports after another one hides a cycle or a missing import; a warning at
import is an error in whoever turns warnings into errors. One interpreter per module, two at a
time: each child is mostly busy with its own imports, and small machines have two cores.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers import tree

CHILDREN = 2


def complaint(name: str, cwd: Path = tree.ROOT) -> str:
    """What the interpreter says when it imports only `name`; empty when all is well."""
    return tree.run("-W", "error", "-c", f"import {name}", cwd=cwd).stderr


def test_every_module_imports_alone() -> None:
    """No module needs another to be imported first, and none warns."""
    ours = tree.modules(*tree.PACKAGES)
    fixtures = [module for module in tree.modules("tests") if "helpers" in module.path.parts]
    names = [module.name for module in (*ours, *fixtures)]
    with ThreadPoolExecutor(CHILDREN) as pool:
        said = list(pool.map(complaint, names))
    tree.assert_none(f"{name}: {text}" for name, text in zip(names, said, strict=True) if text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import warnings\nwarnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
        ("import planted_twin", "circular import"),
        ("import not_there", "ModuleNotFoundError"),
    ],
)
def test_a_planted_fault_is_caught(tmp_path: Path, text: str, said: str) -> None:
    """A warning, a cycle or a missing module at import is reported."""
    (tmp_path / "planted.py").write_text(f"{text}\nname = 1\n")
    (tmp_path / "planted_twin.py").write_text("from planted import name\n")
    assert said in complaint("planted", cwd=tmp_path)
