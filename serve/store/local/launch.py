"""Start a program so that it leaves no core dump, and ends, or does not, with its parent.

    python -I -S launch.py child  PARENT_PID PROGRAM ARGUMENT...
    python -I -S launch.py detach 0          PROGRAM ARGUMENT...

`child` asks the kernel (Linux) to send SIGTERM when the parent dies, even by `kill -9`. `detach`
leaves the program to init, for a server that outlives the command that started it. A script of
its own, run without site packages, because what has to be set must be set between fork and exec,
where Python in a process with threads is not safe.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(mode: str, parent: int, *command: str) -> None:
    """Become `command`."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if mode == "detach" and os.fork():
        os._exit(0)
    os.setsid()  # Ctrl-C in a terminal is for the parent, which stops its children in order
    if mode == "child":
        _end_with(parent)
    os.execv(command[0], command)  # noqa: S606 (becoming another program is the point)


def _end_with(parent: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it died before it could be watched
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
