"""`python -m serve.inference.cluster.head_process FOLDER CPUS`: a Ray head and nothing around it.

Ray's own command cannot leave out its client server, a port that runs code, nor its autoscaler,
dashboard and log readers, a quarter of a gigabyte that nobody here uses. So the parts of a
node are started one by one, with Ray's internal class for it: a new minor version of Ray is to
be tried before it is taken. Ends when its input does, or when any part does.
"""

import ctypes
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil
from ray._private.node import Node
from ray._private.parameter import RayParams

from serve.inference.cluster.head import OBJECT_STORE_BYTES

LOOK_S = 0.5
SET_CHILD_SUBREAPER = 36  # of prctl(2)


def main(folder: str, cpus: str) -> int:
    """Run a head until told to stop; 1 when a part of it ended by itself."""
    signal.signal(signal.SIGTERM, _stop)
    # What a dead raylet leaves behind becomes ours, so that we can end it.
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    node = Node(
        RayParams(
            num_cpus=int(cpus),
            object_store_memory=OBJECT_STORE_BYTES,
            temp_dir=folder,
            gcs_server_port=0,
            include_dashboard=False,
            include_log_monitor=False,  # type: ignore[arg-type]  # misdeclared
            no_monitor=True,
            dashboard_agent_listen_port=0,
        ),
        head=True,
        shutdown_at_exit=False,
        spawn_reaper=False,  # `kin` is surer
    )
    try:
        Path(folder, "address").write_text(node.address)
        while node.remaining_processes_alive():  # type: ignore[no-untyped-call]
            ready, _, _ = select.select([sys.stdin], [], [], LOOK_S)
            if ready and not os.read(sys.stdin.fileno(), 1):
                return 0
        return 1
    finally:
        node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
        _end_orphans()


def _end_orphans() -> None:
    """Kill and await whoever is left below this process: workers and agents of the node."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children)


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
