"""Watching a service: which process is which, what it spent, and what its metrics say."""

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from serve.bench.service import cpu_s_by_process, metric_sum, role_of

EXPOSED = """\
# HELP limen_engine_cpu_seconds_total Processor seconds.
# TYPE limen_engine_cpu_seconds_total counter
limen_engine_cpu_seconds_total 1.5
limen_engine_cpu_seconds_total{pid="7"} 2.25
limen_engine_cpu_seconds_total_created 9.0
limen_refusals_total{code="a b}"} 3.0 1700000000
"""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("limen_engine_cpu_seconds_total", 3.75),
        ("limen_refusals_total", 3.0),
        ("limen_engine_cpu_seconds", 0.0),
    ],
)
def test_a_metric_is_summed_over_its_labels(name: str, wanted: float) -> None:
    """Every line of exactly that name counts, whatever its labels and with or without a time."""
    assert metric_sum(EXPOSED, name) == wanted


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["python", "-m", "serve", "door", "--announce", "3"], "front door"),
        (["python", "-m", "serve", "work", "--lifeline", "4"], "worker"),
        (["/somewhere/redis-server", "unixsocket:/x"], "redis"),
        (["git", "describe"], "other"),
        ([], "other"),
    ],
)
def test_a_process_is_told_by_its_command(command: list[str], wanted: str) -> None:
    """Front doors, workers and Redis are told apart; what is none of them is still counted."""
    assert role_of(command) == wanted


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    """A process with a child of its own that has worked a little; both wait for the end."""
    child = "for _ in range(3_000_000): pass\nprint('worked', flush=True)\ninput()"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "worked\n"
        yield running
        running.communicate("\n")


def test_a_whole_tree_is_counted(parent: "subprocess.Popen[str]") -> None:
    """The first process is the supervisor, and what its children spend is counted apart."""
    spent = cpu_s_by_process(parent.pid)
    assert set(spent) == {"supervisor", "other"}
    assert spent["other"] > 0
    (child,) = psutil.Process(parent.pid).children()
    assert child.is_running()
