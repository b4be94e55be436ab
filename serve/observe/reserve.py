"""Disk space for the counts of a process, taken before it counts.

The client library maps sparse files into memory. On a disk that is full, the first count on a new
page of one would end the process with SIGBUS, with whatever it was answering.
"""

import os
from pathlib import Path

FILE_BYTES = 2**18  # several times what a busy process writes
KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_livemostrecent")
USED_BYTES = 4  # at the start of a file: how much of it is used


def reserve(folder: Path, pid: int) -> None:
    """Make the files that the library will open for `pid`, every byte of them on the disk.

    Raises OSError where the disk is full: better at the start than amid a request.
    """
    for kind in KINDS:
        descriptor = os.open(folder / f"{kind}_{pid}.db", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, FILE_BYTES)
        finally:
            os.close(descriptor)


def give_back(folder: Path, pid: int) -> None:
    """Cut the files of a process that has ended down to what it counted."""
    for path in folder.glob(f"*_{pid}.db"):
        with path.open("rb") as stream:
            used = int.from_bytes(stream.read(USED_BYTES), "little")
        os.truncate(path, max(used, 2 * USED_BYTES))
