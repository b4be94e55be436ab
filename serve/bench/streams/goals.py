"""What the benchmark of streams is to show: a socket that waits costs little memory.

How many streams a machine holds is a figure of the machine and no goal.
"""

from collections.abc import Iterator, Sequence

from serve.bench.goals import Goal
from serve.bench.streams.figures import Idle

IDLE_KIB_MAX = 30.0


def goals(idles: Sequence[Idle]) -> list[Goal]:
    """Every goal that there are figures for."""
    return list(_goals(idles))


def _goals(idles: Sequence[Idle]) -> Iterator[Goal]:
    for idle in idles:
        name = f"KiB a socket, {idle.open:,} {idle.state}"
        yield _ceiling(name, idle, idle.kib_each)
        if idle.beside_kib_each is not None:
            yield _ceiling(f"{name}, active ones counted in", idle, idle.beside_kib_each)


def _ceiling(name: str, idle: Idle, value: float) -> Goal:
    return Goal(name, idle.engine, "", IDLE_KIB_MAX, (value,), is_ceiling=True)
