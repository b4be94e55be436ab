"""The arena under four threads in a process of its own; and bare faiss, which does not live."""

import os
import subprocess
import sys

import pytest

from tests.helpers.tree import ROOT

SECONDS = float(os.environ.get("TEST_HAMMER_SECONDS", "8"))
CONTROL_ROUNDS = 3


def hammered(subject: str, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.index.hammer", subject, str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_arena_lives_and_is_right(monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    """Adds, erasures, drops and compactions beside searches: no signal, no erased owner, no
    other's face, no torn score, and no resident missed. TEST_HAMMER_SECONDS makes it longer.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    end = hammered("arena", SECONDS / 2)
    assert end.returncode == 0, end.stderr
    done = dict(part.split(": ") for part in end.stdout.strip("{}\n").replace("'", "").split(", "))
    assert min(int(done[name]) for name in ("searches", "erased", "compactions")) > 10


def test_the_same_hammer_breaks_bare_faiss() -> None:
    """Adding to an index of faiss while it is searched ends by a signal or in wrong answers, so
    the hammer is hard enough to show that the arena withstands it.
    """
    ends = []
    for _ in range(CONTROL_ROUNDS):
        ends.append(hammered("faiss", 10))
        if ends[-1].returncode:
            break
    assert ends[-1].returncode < 0 or "AssertionError" in ends[-1].stderr, ends
