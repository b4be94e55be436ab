"""Locks on files, by the kernel: they end with their holder, however it ends.

Unlike a lock that only excludes, these can be shared, and a child can inherit one.
"""

import fcntl
import os
from pathlib import Path


class FileLock:
    """A lock that is held, until `release` or the end of every process that has it open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def release(self) -> None:
        """Give it up, for every process that shares it."""
        if self.descriptor >= 0:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            self.leave()

    def leave(self) -> None:
        """Leave it to the children that inherited it."""
        os.close(self.descriptor)
        self.descriptor = -1


def try_lock(path: Path, *, shared: bool = False) -> FileLock | None:
    """The lock on `path`, made with mode 0600 if absent; None while others hold it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return FileLock(descriptor)


def lock(path: Path) -> FileLock:
    """The exclusive lock on `path`, waited for: only where holders are known to be brief."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise
    return FileLock(descriptor)
