"""A service of small children: `python -m tests.serve.processes.service_program DOOR WORK`."""

import asyncio
import sys

from serve.errors import ServeError
from serve.processes.service import Commands, run_service
from serve.settings import load

CHILD = (sys.executable, "-m", "tests.serve.processes.child_program")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (what a test reads)


def main() -> None:
    door, work = sys.argv[1:]
    commands = Commands((*CHILD, door), (*CHILD, work), (*CHILD, "rest"), (*CHILD, "calm"))
    try:
        sys.exit(asyncio.run(run_service(load(), say, commands)))
    except ServeError as error:
        say(f"refused: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
