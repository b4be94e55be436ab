"""Sizes and docstrings: what keeps a page readable, applied to tests as well as to sources."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import pytest

from tests.helpers import tree
from tests.helpers.tree import Function, Module

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FOLDER_FILES_MAX = 16
DEPTH_MAX = 3
COLUMNS_MAX = 100


def oversized(module: Module) -> Iterator[str]:
    lines = module.text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield f"{module.path}: {len(lines)} lines, at most {FILE_LINES_MAX}"
    for number, line in enumerate(lines, start=1):
        if len(line) > COLUMNS_MAX:
            yield f"{module.path}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"
    for function in module.functions():
        length = (function.end_lineno or 0) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            place = f"{module.path}:{function.lineno}"
            yield f"{place}: {function.name} has {length} lines, at most {FUNCTION_LINES_MAX}"


def crowded(paths: Iterable[PurePosixPath]) -> Iterator[str]:
    for folder, count in Counter(path.parent for path in paths).items():
        if count > FOLDER_FILES_MAX:
            yield f"{folder}: {count} files, at most {FOLDER_FILES_MAX}"
        if len(folder.parts) > DEPTH_MAX:
            yield f"{folder}: {len(folder.parts)} folders deep, at most {DEPTH_MAX}"


def unexplained(module: Module) -> Iterator[str]:
    """Modules, public classes and public functions of the sources that lack a docstring."""
    if module.text.strip() and not ast.get_docstring(module.syntax):
        yield f"{module.path}: no module docstring"
    if module.path.parts[0] not in tree.PACKAGES:
        return
    for node in public(module.syntax):
        if not ast.get_docstring(node):
            yield f"{module.path}:{node.lineno}: {node.name} has no docstring"


def public(parent: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | Function]:
    for node in parent.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def idle_tests(module: Module) -> Iterator[str]:
    """Tests that promise nothing (no docstring of one sentence) or that cannot fail."""
    judges = {function.name for function in module.functions() if judges_itself(function)}
    for function in module.functions():
        if not function.name.startswith("test_"):
            continue
        place = f"{module.path}:{function.lineno}: {function.name}"
        promise = ast.get_docstring(function) or ""
        if not promise.split("\n\n")[0].endswith("."):
            yield f"{place} does not state its promise in a sentence"
        if function.name not in judges and judges.isdisjoint(called_by(function)):
            yield f"{place} cannot fail"


def judges_itself(function: Function) -> bool:
    """Whether it asserts, expects an exception, or calls a shared `assert_...` or `check_...`.

    A test over drawn input (`@given`) judges by not raising, which is its whole promise.
    """
    verbs = {name.rpartition(".")[2] for name in called_by(function)}
    return (
        any(isinstance(node, ast.Assert) for node in ast.walk(function))
        or not verbs.isdisjoint({"raises", "warns", "fail", "given"})
        or any(verb.startswith(("assert_", "check_")) for verb in verbs)
    )


def called_by(function: Function) -> set[str]:
    return {tree.called(node) for node in ast.walk(function) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("rule", [oversized, unexplained, idle_tests])
def test_every_module_keeps_the_rule(rule: object) -> None:
    """No file, function or line is too long; none is unexplained; no test is idle."""
    assert callable(rule)
    tree.assert_none(complaint for module in tree.modules() for complaint in rule(module))


def test_no_folder_is_crowded_or_deep() -> None:
    """A folder can be taken in at a glance."""
    tree.assert_none(crowded(tree.files()))


@pytest.mark.parametrize(
    ("rule", "text", "complaint"),
    [
        (oversized, "x = 1\n" * 401, "401 lines"),
        (oversized, "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
        (oversized, "class C:\n    async def f():\n" + "        x = 1\n" * 60, "f has 61 lines"),
        (oversized, "x = '" + "y" * 100 + "'", "106 columns"),
        (unexplained, "x = 1", "no module docstring"),
        (unexplained, '"""Doc."""\ndef f(): ...', "f has no docstring"),
        (unexplained, '"""Doc."""\nclass C:\n    """Doc."""\n    def f(self): ...', "f has no"),
        (idle_tests, "def test_f():\n    assert f()", "does not state its promise"),
        (idle_tests, 'def test_f():\n    """It works."""\n    f()', "cannot fail"),
        (idle_tests, 'def f(): ...\ndef test_f():\n    """It works."""\n    f()', "cannot fail"),
    ],
)
def test_a_planted_fault_is_caught(rule: object, text: str, complaint: str) -> None:
    """Each rule can fail."""
    assert callable(rule)
    (found,) = rule(Module(PurePosixPath("pipeline/planted.py"), text))
    assert complaint in found


def test_a_planted_crowd_is_caught() -> None:
    """The rule on folders can fail."""
    crowd = [PurePosixPath(f"a/file_{number}.py") for number in range(FOLDER_FILES_MAX + 1)]
    assert list(crowded([*crowd, PurePosixPath("a/b/c/d/e.py")])) == [
        "a: 17 files, at most 16",
        "a/b/c/d: 4 folders deep, at most 3",
    ]
