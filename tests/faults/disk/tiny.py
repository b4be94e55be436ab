"""A file system of a few MB that a program has to itself, gone with the program.

The program runs in a mount namespace of its own: as root, or as root of a user namespace, which
needs no privilege where the kernel allows it.
"""

import os
import subprocess
import sys
from pathlib import Path

UNSHARES = (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount"))
MOUNTED = 'mount -t tmpfs -o size="$1" limen-tiny "$2" && shift 2 && exec "$@"'
NOT_PERMITTED = "no file system can be mounted here, not even in a user namespace"


def own_disk(folder: Path, size_bytes: int) -> list[str] | None:
    """The words that start a program for which `folder` is a disk of that size; None where that
    is not permitted.
    """
    for unshare in UNSHARES:
        words = [*unshare, "sh", "-c", MOUNTED, "sh", str(size_bytes), str(folder)]
        try:
            subprocess.run([*words, "true"], check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            continue
        return words
    return None


def played(words: list[str], module: str, folder: Path, **variables: str) -> str:
    """What the program `module` printed; its failure, with all that it said, is ours."""
    done = subprocess.run(
        [*words, sys.executable, "-m", module, str(folder)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """A file that takes all but `leave_bytes` of the disk of `folder`."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as stream:
        while (spare := free_bytes(folder) - leave_bytes) > 0:
            try:
                stream.write(bytes(min(spare, 2**20)))
            except OSError:
                break
    return ballast


def free_bytes(folder: Path) -> int:
    """What may still be written."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
