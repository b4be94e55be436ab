"""Names: none that says nothing, none that is taken, none that binds us to one machine."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.helpers import tree
from tests.helpers.tree import ROOT, Module

EMPTY_WORDS = {
    "utils",
    "util",
    "helpers",
    "helper",
    "manager",
    "data",
    "process",
    "handle",
    "handler",
    "common",
    "misc",
}
# Written in pieces, so that this file does not break its own rule.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
    )
)
MACHINE_PATHS = tuple("/".join(("", *parts, "")) for parts in (("work",), ("tmp", "x"), ("root",)))
# Tests of `serve/inference/cluster` lie one floor up, where folders are not too deep.
RAY_HOMES = ("serve/inference", "tests/serve/inference", "tests/serve/cluster")


def badly_named(path: PurePosixPath) -> Iterator[str]:
    """Complaints about a module whose name says nothing or shadows the standard library."""
    word = path.parent.name if path.stem == "__init__" else path.stem
    if word in EMPTY_WORDS and path.parts[:2] != ("tests", "helpers"):
        yield f"{path}: '{word}' does not say what is inside"
    if word in sys.stdlib_module_names:
        yield f"{path}: '{word}' is a module of the standard library"


def misplaced_ray(module: Module) -> Iterator[str]:
    """Complaints about Ray: `from ray import serve` would silently replace our `serve`."""
    for node in ast.walk(module.syntax):
        if isinstance(node, ast.Import):
            names = {alias.name: alias.asname for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}": alias.asname for alias in node.names}
        else:
            continue
        for name, asname in names.items():
            if name.split(".")[0] != "ray":
                continue
            if not any(map(module.path.is_relative_to, RAY_HOMES)):
                yield f"{module.path}:{node.lineno}: Ray belongs to serve/inference"
            if name == "ray.serve" and asname != "ray_serve":
                yield f"{module.path}:{node.lineno}: write `from ray import serve as ray_serve`"


def tied_to_a_place(path: PurePosixPath, text: str) -> Iterator[str]:
    """Complaints about text that names a registry's host or a folder of somebody's machine."""
    for word in (*HOSTS, *MACHINE_PATHS):
        if word in text:
            yield f"{path}: names {word}"


def test_every_module_has_a_telling_name() -> None:
    """No module is called utils, and none shadows the standard library."""
    paths = [module.path for module in tree.modules()]
    tree.assert_none(complaint for path in paths for complaint in badly_named(path))


def test_ray_cannot_replace_our_serve() -> None:
    """Ray is imported in one folder, its `serve` always under another name."""
    tree.assert_none(complaint for module in tree.modules() for complaint in misplaced_ray(module))


def test_no_file_names_a_registry_or_a_machine() -> None:
    """Whoever clones the tree uses their own registries and their own folders."""
    texts = {path: (ROOT / path).read_bytes().decode(errors="replace") for path in tree.files()}
    tree.assert_none(found for path, text in texts.items() for found in tied_to_a_place(path, text))


@pytest.mark.parametrize("package", tree.PACKAGES)
def test_our_packages_are_the_ones_imported(package: str) -> None:
    """`serve`, `pipeline` and `index` come from this tree, not from an installed namesake."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve().is_relative_to(ROOT / package)


@pytest.mark.parametrize(
    "path",
    ["pipeline/utils.py", "serve/helpers.py", "pipeline/data/__init__.py", "serve/http/__init__.py",
     "index/queue.py"],
)  # fmt: skip
def test_a_planted_name_is_caught(path: str) -> None:
    """The rule on names can fail."""
    assert len(list(badly_named(PurePosixPath(path)))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("serve/inference/graph.py", "from ray import serve"),
        ("serve/app.py", "from ray import serve as ray_serve"),
        ("pipeline/face/embed.py", "import ray"),
    ],
)
def test_planted_ray_is_caught(path: str, text: str) -> None:
    """The rule on Ray can fail."""
    assert len(list(misplaced_ray(Module(PurePosixPath(path), text)))) == 1


@pytest.mark.parametrize("word", [*HOSTS, *MACHINE_PATHS])
def test_a_planted_place_is_caught(word: str) -> None:
    """The rule on hosts and paths can fail."""
    assert len(list(tied_to_a_place(PurePosixPath("a.md"), f"see {word}x"))) == 1
