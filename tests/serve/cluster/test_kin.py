"""The processes of an install's own cluster are known by its token, and end with it."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from serve.inference.cluster.environment import TOKEN_PATH_VARIABLE
from serve.inference.cluster.kin import end_leftovers, exposed, kin
from tests.helpers.tree import ROOT

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process with that token and waits for its first line; all end with the test."""
    with ExitStack() as held:

        def begin(token: Path | None, *words: str) -> Process:
            own = {name: value for name, value in os.environ.items() if "RAY" not in name}
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.serve.cluster.kin_program", *words],
                cwd=ROOT,
                env=own if token is None else {**own, TOKEN_PATH_VARIABLE: str(token)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            held.enter_context(process)
            held.callback(process.kill)
            return process

        yield begin


def line(process: Process) -> str:
    """What it says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_kin_are_those_with_the_same_token(start: Start, tmp_path: Path) -> None:
    """Neither a process without one, nor one of another install, even in a folder beside it."""
    own = [start(tmp_path / "token", "wait") for _ in range(2)]
    others = [start(token, "wait") for token in (None, tmp_path / "other", tmp_path / "token2")]
    assert all(line(process) for process in (*own, *others))
    assert {process.pid for process in kin(tmp_path / "token")} == {each.pid for each in own}


def test_what_was_left_is_ended(start: Start, tmp_path: Path) -> None:
    """Whatever is kin is killed and gone; who is not lives on."""
    own, other = start(tmp_path / "token", "wait"), start(tmp_path / "other", "wait")
    assert line(own)
    assert line(other)
    assert end_leftovers(tmp_path / "token") == 1
    assert not psutil.pid_exists(own.pid)
    assert other.poll() is None
    assert end_leftovers(tmp_path / "token") == 0


def test_who_ends_the_others_lives_on(start: Start, tmp_path: Path) -> None:
    """The engine carries the token as well, and so does what started it."""
    process = start(tmp_path / "token", "below", str(tmp_path / "token"))
    assert line(process) == "1 False"
    assert process.wait() == 0


def test_a_process_that_is_gone_does_not_disturb(start: Start, tmp_path: Path) -> None:
    """One that has ended, and that nobody has asked for its status, is no kin."""
    process = start(tmp_path / "token", "wait")
    assert line(process)
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert end_leftovers(tmp_path / "token") == 0
    assert exposed(tmp_path / "token") == []


@pytest.mark.parametrize(
    ("address", "is_exposed"),
    [("127.0.0.1", False), ("127.0.0.2", False), ("0.0.0.0", True), ("::1", False),  # noqa: S104
     ("::", True), ("::ffff:127.0.0.1", False)],
)  # fmt: skip
def test_who_listens_beyond_the_loopback_is_told(
    start: Start, tmp_path: Path, address: str, *, is_exposed: bool
) -> None:
    """By name and port; an IPv4 address may be written as an IPv6 one."""
    if ":" in address and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on this machine")
    process = start(tmp_path / "token", "listen", address)
    port = line(process)
    found = exposed(tmp_path / "token")
    assert [text.rpartition(":")[2] for text in found] == [port] * is_exposed
    assert all(text.startswith(psutil.Process(process.pid).name()) for text in found)
