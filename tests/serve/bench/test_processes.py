"""Watching a service: which process is which, and what each has used."""

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from serve.bench.processes import Usage, lost, machine_busy_s, role_of, usage

SITE = "/v/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["python", "-m", "serve.processes", "door", "--announce", "3"], "front door"),
        (["python", "-m", "serve.processes", "work", "--lifeline", "4"], "worker"),
        (["python", "-m", "serve.processes", "engine", "--lifeline", "4"], "engine"),
        (["python", "-m", "serve.processes", "sweep", "--lifeline", "4"], "sweeper"),
        (["/somewhere/redis-server", "unixsocket:/x"], "redis"),
        (["python", "-m", "serve.inference.cluster.head_process", "/x", "2"], "Ray control"),
        ([f"{SITE}/ray/core/src/ray/gcs/gcs_server", "--log_dir=/x"], "Ray control"),
        ([f"{SITE}/ray/core/src/ray/raylet/raylet", "--raylet_socket_name=/x"], "Ray control"),
        (["python", f"{SITE}/ray/dashboard/dashboard.py", "--host=127.0.0.1"], "Ray control"),
        (["python", "-u", f"{SITE}/ray/_private/log_monitor.py"], "Ray control"),
        (["ray::DashboardAgent", "", ""], "Ray control"),
        (["ray::RuntimeEnvAgent"], "Ray control"),
        (["ray::ServeController"], "Ray control"),
        (["ray::IDLE"], "Ray control"),
        (["ray::ServeReplica:limen:Faces"], "replica"),
        (["ray::ShardActor.search"], "shard"),
        (["ray::ShardActor", ""], "shard"),
        (["ray::ServeReplica:limen:Faces.handle_request_with_rejection", ""], "replica"),
        (["git", "describe"], "other"),
        ([], "other"),
    ],
)
def test_a_process_is_told_by_its_command(command: list[str], wanted: str) -> None:
    """Every part of a service is told apart; what is none of them is still counted."""
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
    """The first process is the supervisor, and what its children use is counted apart."""
    used = usage(parent.pid)
    assert set(used) == {"supervisor", "other"}
    assert used["other"].cpu_s > 0
    assert used["other"].rss_bytes > 2**20
    (child,) = psutil.Process(parent.pid).children()
    assert child.is_running()
    assert used["other"].pids == {child.pid}
    assert machine_busy_s() > sum(each.cpu_s for each in used.values())


def test_a_part_that_has_ended_is_missed() -> None:
    """A process that is another one afterwards was lost; Redis's own children come and go."""
    before = {"replica": Usage(pids=frozenset({1, 2})), "redis": Usage(pids=frozenset({3, 4}))}
    after = {"replica": Usage(pids=frozenset({2, 5})), "redis": Usage(pids=frozenset({3}))}
    assert lost(before, after) == ["replica"]
    assert lost(before, {**before, "worker": Usage(pids=frozenset({6}))}) == []
    assert lost(before, {}) == ["replica"]
