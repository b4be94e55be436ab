"""`python -m serve.processes door|work|engine|sweep`: one child of `limen run`, without the command
line's libraries. Its settings come in the environment, its descriptors as options.
"""

import argparse
import socket
import sys
from functools import partial

from pipeline.errors import PipelineError
from serve.errors import SENTENCES, ServeError
from serve.observe import logs
from serve.processes.child import EXIT_REFUSED
from serve.processes.door import run_door
from serve.processes.lifeline import Body, run_child
from serve.processes.work import run_work
from serve.settings import Settings, load


def main(arguments: list[str]) -> int:
    """Run until told to stop; the exit status, 2 for a start that was refused."""
    parser = argparse.ArgumentParser(prog="python -m serve.processes")
    parser.add_argument("part", choices=["door", "work", "engine", "sweep"])
    parser.add_argument("--announce", type=int, required=True, help="pipe to report on")
    parser.add_argument("--lifeline", type=int, required=True, help="pipe that ends with us")
    parser.add_argument("--socket", type=int, help="listening socket of a door")
    given = parser.parse_args(arguments)
    logs.set_up()
    try:
        body = _body(given.part, load(), given.socket)
        run_child(body, given.announce, given.lifeline)
    except (PipelineError, ServeError) as error:
        sentence = SENTENCES[error.code].removesuffix(".")
        sys.stderr.write(f"limen: {given.part}: {error.code}: {sentence}: {error.detail}\n")
        return EXIT_REFUSED
    return 0


def _body(part: str, settings: Settings, listener: int | None) -> Body:
    if part == "work":
        return partial(run_work, settings)
    if part == "sweep":
        from serve.processes.sweep import run_sweep  # noqa: PLC0415 (only it pays for a kernel)

        return partial(run_sweep, settings)
    if part == "engine":
        from serve.processes.engine import run_engine  # noqa: PLC0415 (only it pays for Ray)

        return partial(run_engine, settings)
    assert listener is not None, "a door needs a listening socket"
    return partial(run_door, settings, socket.socket(fileno=listener))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
