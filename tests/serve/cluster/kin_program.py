"""A process of a cluster, or one that ends those of its cluster.

    python -m tests.serve.cluster.kin_program wait             until its input ends
    python -m tests.serve.cluster.kin_program listen ADDRESS   as well, at a free port that it says
    python -m tests.serve.cluster.kin_program end TOKEN_FILE   has a child, then ends all: says how
                                                               many, and whether the child lives
    python -m tests.serve.cluster.kin_program below TOKEN_FILE has that done by a child of its own

Which cluster it is of, its environment says.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from serve.inference.cluster.kin import end_leftovers

PROGRAM = (sys.executable, "-m", "tests.serve.cluster.kin_program")


def main(kind: str, word: str = "") -> None:
    """Be one."""
    if kind == "below":
        subprocess.run([*PROGRAM, "end", word], check=True)
        return
    if kind == "end":
        with subprocess.Popen(
            [*PROGRAM, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            ended = end_leftovers(Path(word))
            sys.stdout.write(f"{ended} {psutil.pid_exists(child.pid)}\n")
        return
    family = socket.AF_INET6 if ":" in word else socket.AF_INET
    with socket.socket(family) as listener:
        if kind == "listen":
            if family is socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((word, 0))
            listener.listen()
        sys.stdout.write(f"{listener.getsockname()[1] if kind == 'listen' else os.getpid()}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
