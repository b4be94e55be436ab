"""Every module imports alone, with warnings as errors.

A module that only imports after another one hides a cycle or a missing import; a warning at
import is an error in whoever turns warnings into errors. One interpreter takes them all: before
each it forgets every module of ours, and keeps only the libraries. Ray alone may warn of what
its own modules do, which we can neither mend nor do without.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.helpers import tree

PROGRAM = """
import importlib, sys, traceback, warnings

warnings.filterwarnings("ignore", module=r"ray(\\.|$)")  # whose line it is: Ray's, not a caller's
own = set(sys.argv[1].split(","))
for name in sys.argv[2:]:
    for known in [each for each in sys.modules if each.split(".")[0] in own]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except BaseException as error:
        sys.stderr.write(f"{name}: {''.join(traceback.format_exception_only(error))}")
"""

RAY = """
import warnings

def old():
    warnings.warn("call new", DeprecationWarning, stacklevel=2)

old()
"""


def complaints(names: Sequence[str], cwd: Path = tree.ROOT, own: str = "") -> str:
    """What interpreters, one for each core, say when they import each of `names` alone; empty
    when all is well.
    """
    roots = own or ",".join(tree.OWN_ROOTS)
    cores = min(os.cpu_count() or 1, len(names))
    with ThreadPoolExecutor(cores) as threads:
        importing = partial(tree.run, "-W", "error", "-c", PROGRAM, roots, cwd=cwd)
        ran = threads.map(lambda some: importing(*some), [names[n::cores] for n in range(cores)])
        return "".join(each.stderr for each in ran)


def test_every_module_imports_alone() -> None:
    """No module needs another to be imported first, and none warns."""
    ours = tree.modules(*tree.PACKAGES)
    fixtures = [module for module in tree.modules("tests") if "helpers" in module.path.parts]
    names = [module.name for module in (*ours, *fixtures)]
    assert len(names) > 100
    assert complaints(names) == ""


@pytest.mark.parametrize(
    "name", ["serve.cli", "serve.app", "serve.processes.door", "serve.processes.work"]
)
def test_only_the_engine_imports_ray(name: str) -> None:
    """What starts often, and what a lost cluster must not take along, is free of Ray."""
    listing = f"import sys, {name}; print(*(each.split('.')[0] for each in sys.modules))"
    ran = tree.run("-c", listing)
    assert "serve" in ran.stdout.split(), ran.stderr
    assert "ray" not in ran.stdout.split()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import warnings\nwarnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
        ("import planted_twin", "circular import"),
        ("import not_there", "ModuleNotFoundError"),
        ("import ray", ""),
        ("import ray\nimport warnings\nwarnings.warn('ours')", "UserWarning: ours"),
        ("import ray\nray.old()", "DeprecationWarning: call new"),
    ],
)
def test_a_planted_fault_is_caught(tmp_path: Path, text: str, said: str) -> None:
    """A warning, a cycle or a missing module at import is reported, and of Ray's own warnings
    those that are about us.
    """
    (tmp_path / "planted.py").write_text(f"{text}\nname = 1\n")
    (tmp_path / "planted_twin.py").write_text("from planted import name\n")
    (tmp_path / "ray.py").write_text(RAY)
    found = complaints(["json", "planted"], tmp_path, "planted,planted_twin")
    assert said in found
    assert bool(said) == bool(found)
