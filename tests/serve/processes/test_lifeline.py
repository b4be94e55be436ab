"""A child's own side: it stops when told to, and when its supervisor is gone."""

import gc
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from serve.processes.lifeline import COLLECTOR_THRESHOLDS, READY, quiet_collector
from tests.helpers.tree import ROOT

DEADLINE_S = 60.0


@dataclass
class Started:
    child: subprocess.Popen[bytes]
    lifeline: int

    def lose_the_supervisor(self) -> None:
        os.close(self.lifeline)
        self.lifeline = -1


@contextmanager
def started(mode: str) -> Iterator[Started]:
    """A child that has announced itself, and the pipe that it hangs on."""
    announced, announce = os.pipe()
    lifeline, ours = os.pipe()
    descriptors = ["--announce", str(announce), "--lifeline", str(lifeline)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.serve.processes.child_program", mode, *descriptors],
        cwd=ROOT,
        pass_fds=(announce, lifeline),
    ) as child:
        os.close(announce)
        os.close(lifeline)
        begun = Started(child, ours)
        try:
            assert os.read(announced, 64) == READY
            assert os.read(announced, 64) == b""
            yield begun
        finally:
            os.close(announced)
            if begun.lifeline >= 0:
                os.close(begun.lifeline)
            child.kill()


def test_searches_for_cycles_are_seldom_and_leave_the_start_out() -> None:
    """What a process is made of is looked through once, not for every ten thousand objects."""
    before = gc.get_threshold()
    try:
        quiet_collector()
        assert gc.get_freeze_count() > len(sys.modules)
        assert gc.get_threshold() == COLLECTOR_THRESHOLDS
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_child(number: signal.Signals) -> None:
    """It ends with 0, as asked."""
    with started("idle") as begun:
        begun.child.send_signal(number)
        assert begun.child.wait(DEADLINE_S) == 0


def test_an_orphan_stops() -> None:
    """The end of the pipe is a stop, whoever held the other side."""
    with started("idle") as begun:
        begun.lose_the_supervisor()
        assert begun.child.wait(DEADLINE_S) == 0


def test_an_orphan_with_a_stuck_loop_ends_all_the_same() -> None:
    """A thread of its own sees the end of the pipe and leaves when its time is over."""
    with started("deaf") as begun:
        begun.lose_the_supervisor()
        assert begun.child.wait(DEADLINE_S) == 1


def test_a_child_leaves_no_core_dump() -> None:
    """Faces and keys in memory never reach the disk by a crash."""
    with started("idle") as begun:
        assert resource.prlimit(begun.child.pid, resource.RLIMIT_CORE) == (0, 0)
