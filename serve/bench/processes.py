"""The processes of a service, told apart by their command lines, and what each has used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import psutil

DOOR = "front door"
REPLICA = "replica"
SHARD = "shard"
RAY = "Ray control"
REDIS = "redis"
OTHER = "other"
SUPERVISOR = "supervisor"

_WORDS = {
    "door": DOOR,
    "engine": "engine",
    "work": "worker",
    "sweep": "sweeper",
    "serve.inference.cluster.head_process": RAY,
}
_PROGRAMS = {"redis-server": REDIS, "gcs_server": RAY, "raylet": RAY}
_WORKERS = {"ray::ServeReplica": REPLICA, "ray::ShardActor": SHARD}
_ACTORS = "ray::"  # what Ray calls its other processes begins so: controller, agents
_RAY_FOLDER = "/site-packages/ray/"  # its dashboard's head, where it runs


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the processes of one role: user and system seconds so far, resident bytes now."""

    cpu_s: float = 0.0
    rss_bytes: int = 0
    pids: frozenset[int] = frozenset()


def usage(pid: int) -> dict[str, Usage]:
    """What a service's first process and all below it have used, by what they are.

    Of Redis the children that it has waited for count as well: it forks to rewrite its file.
    """
    found: dict[str, Usage] = {}
    for role, process in processes(pid):
        try:
            times, rss_bytes = process.cpu_times(), process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        seconds = times.user + times.system
        if role == REDIS:
            seconds += times.children_user + times.children_system
        known = found.get(role, Usage())
        pids = known.pids | {process.pid}
        found[role] = Usage(known.cpu_s + seconds, known.rss_bytes + rss_bytes, pids)
    return found


def lost(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> list[str]:
    """The roles of which a process has ended in between, and taken its seconds along. Redis's
    come and go, and leave theirs behind.
    """
    none = Usage()
    return [
        role
        for role, used in before.items()
        if role != REDIS and used.pids - after.get(role, none).pids
    ]


def machine_busy_s() -> float:
    """Seconds that all cores of this machine have worked, or been kept by another machine."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # in user as well
    return float(sum(times) - idle_s - guests_s)


def processes(pid: int) -> Iterator[tuple[str, psutil.Process]]:
    """The live processes of a service with what they are, its first one first."""
    root = psutil.Process(pid)
    yield SUPERVISOR, root
    for process in root.children(recursive=True):
        try:
            role = role_of(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        yield role, process


def role_of(command: Sequence[str]) -> str:
    """What a process of the service is, by its command line."""
    if not command:
        return OTHER
    if command[0].startswith(_ACTORS):
        return next((role for name, role in _WORKERS.items() if command[0].startswith(name)), RAY)
    program = PurePath(command[0]).name
    if program in _PROGRAMS:
        return _PROGRAMS[program]
    words = [word for word in command if not word.startswith("-")]
    known = next((_WORDS[word] for word in words if word in _WORDS), None)
    if known is None:
        return RAY if any(_RAY_FOLDER in word for word in words) else OTHER
    return known
