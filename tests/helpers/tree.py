"""The checkout as the house tests see it: files that git knows, and their syntax trees."""

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("serve", "pipeline", "index")
OWN_ROOTS = (*PACKAGES, "configs", "tests")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: where it is, what it is called, what it says."""

    path: PurePosixPath  # below ROOT
    text: str

    @functools.cached_property
    def syntax(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def name(self) -> str:
        """The dotted name that imports it."""
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")

    def imports(self) -> Iterator[str]:
        """Every absolute dotted name it imports, `from a import b` counted as `a.b`."""
        for node in ast.walk(self.syntax):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and called(node).endswith(
                ("import_module", "__import__")
            ):
                yield from (text for arg in node.args[:1] for text in _texts(arg))

    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones too."""
        for node in ast.walk(self.syntax):
            if isinstance(node, Function):
                yield node


@functools.cache
def files() -> tuple[PurePosixPath, ...]:
    """Every file that is, or would be, committed; without git, every file not built or cached."""
    found = _listed_by_git() if (ROOT / ".git").exists() else _walked()
    return tuple(sorted(path for path in found if (ROOT / path).is_file()))


@functools.cache
def modules(*roots: str) -> tuple[Module, ...]:
    """The Python files below `roots`, by default below every folder of ours."""
    wanted = roots or OWN_ROOTS
    return tuple(
        Module(path, (ROOT / path).read_text())
        for path in files()
        if path.suffix == ".py" and path.parts[0] in wanted
    )


def called(node: ast.Call) -> str:
    """The dotted name of what a call calls, or an empty string."""
    parts: list[str] = []
    target: ast.expr = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    if not isinstance(target, ast.Name):
        return ""
    return ".".join([target.id, *reversed(parts)])


def assert_none(complaints: Iterable[str]) -> None:
    """Fail with every complaint on a line of its own."""
    found = list(complaints)
    assert not found, "\n" + "\n".join(found)


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with `command`, its output captured, its input empty."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
    )


def _listed_by_git() -> set[PurePosixPath]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return {PurePosixPath(name) for name in listing.stdout.split("\0") if name}


def _walked() -> set[PurePosixPath]:
    found: set[PurePosixPath] = set()
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if not _is_made(name)]
        here = PurePosixPath(Path(folder).relative_to(ROOT))
        found.update(here / name for name in names)
    return found


def _is_made(folder: str) -> bool:
    hidden = folder.startswith(".") and folder not in {".ci", ".github"}
    return hidden or folder in {"__pycache__", "dist", "var", "shared"}


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
