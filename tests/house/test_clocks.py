"""One clock: what is dated, is dated by Redis. The host's wall clock may step and differ.

Only what nobody decides by may read it. `time.monotonic` and the event loop's clock measure spans
and may be read by all.
"""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from tests.helpers import tree
from tests.helpers.tree import Module

PURE = ("serve/domain", "serve/flows", "serve/store", "serve/api", "serve/outbound")
WALL = {
    "time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime", "time.strftime",
    "time.asctime", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "time", "time_ns", "localtime", "gmtime",
}  # fmt: skip
ALLOWED: dict[str, str] = {}
"""File: why it may read the host's clock."""


def wall_clocks(module: Module) -> Iterator[str]:
    """Calls that read the host's wall clock, in the floors that decide and write."""
    path = str(module.path)
    if not path.startswith(PURE) or path in ALLOWED:
        return
    imported = {
        alias.asname or alias.name
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.ImportFrom) and node.module in {"time", "datetime"}
        for alias in node.names
    }
    for node in ast.walk(module.syntax):
        if not isinstance(node, ast.Call):
            continue
        name = ".".join(tree.called(node).split(".")[-2:])
        is_bare = "." not in name
        if name in WALL and (not is_bare or name in imported):
            yield f"{path}:{node.lineno}: {name} reads the host's clock; ask the records for theirs"


def test_nothing_that_decides_reads_the_hosts_clock() -> None:
    """Records, limits, tokens and signatures are dated by Redis alone."""
    tree.assert_none(complaint for module in tree.modules() for complaint in wall_clocks(module))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import time\nx = time.time()", "time.time"),
        ("from time import time_ns\nx = time_ns()", "time_ns"),
        ("import datetime\nx = datetime.datetime.now()", "datetime.now"),
        ("from datetime import datetime\nx = datetime.now(tz)", "datetime.now"),
    ],
)
def test_a_planted_clock_is_seen(text: str, complaint: str) -> None:
    """The rule can fail, and does not for clocks of spans or of Redis."""
    planted = Module(PurePosixPath("serve/flows/planted.py"), text)
    assert any(complaint in line for line in wall_clocks(planted))
    innocent = "import time\nx = time.monotonic()\ny = await link.time()\nz = clock.time(x)"
    assert list(wall_clocks(Module(PurePosixPath("serve/store/planted.py"), innocent))) == []
