"""Locks of the kernel: shared or not, inherited, and gone with their holders."""

import subprocess
import sys
from pathlib import Path

from serve.store.local.filelocks import lock, try_lock


def test_an_exclusive_lock_keeps_everybody_out(tmp_path: Path) -> None:
    """Until it is released; releasing twice does no harm."""
    held = try_lock(tmp_path / "lock")
    assert held is not None
    assert try_lock(tmp_path / "lock") is None
    assert try_lock(tmp_path / "lock", shared=True) is None
    held.release()
    held.release()
    lock(tmp_path / "lock").release()


def test_a_shared_lock_keeps_only_the_exclusive_one_out(tmp_path: Path) -> None:
    """Sharers come and go; the last one out leaves it free."""
    first = try_lock(tmp_path / "lock", shared=True)
    second = try_lock(tmp_path / "lock", shared=True)
    assert first is not None
    assert second is not None
    first.release()
    assert try_lock(tmp_path / "lock") is None
    second.release()
    lock(tmp_path / "lock").release()


def test_a_child_holds_what_it_inherited(tmp_path: Path) -> None:
    """The lock that was left to it is free when it ends, even by SIGKILL."""
    held = lock(tmp_path / "lock")
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], pass_fds=[held.descriptor], stdin=subprocess.PIPE
    ) as child:
        held.leave()
        assert try_lock(tmp_path / "lock") is None
        child.kill()
        child.wait()
        lock(tmp_path / "lock").release()
