"""Ends what a killed head or engine has left running.

Ray's processes outlive a `kill -9` of what started them by a minute or for good. Each of ours
carries the path of this install's token in its environment, which is how they are known.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from serve.inference.cluster.environment import TOKEN_PATH_VARIABLE

WAIT_S_MAX = 5.0


def end_leftovers(token_file: Path) -> int:
    """Kill every process of this install's cluster but the caller and its forebears; how many."""
    found = list(_of_cluster(token_file))
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=WAIT_S_MAX)
    return len(found)


def _of_cluster(token_file: Path) -> Iterator[psutil.Process]:
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid in ours or process.uids().real != os.getuid():
                continue
            if process.environ().get(TOKEN_PATH_VARIABLE) == str(token_file):
                yield process
