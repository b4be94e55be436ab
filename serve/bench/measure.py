"""Clocks and medians: the same work timed round by round, rivals interleaved.

Machines are noisy and share their cores, so what is compared is run alternately in one
process and the reader is given ratios; the absolute numbers describe one machine on one day.
"""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROUND_S_MIN = 0.15  # a round repeats its work until it lasts this long
REPEATS_MAX = 500

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over rounds, per image; `wall_ms` of all threads together."""

    wall_ms: float
    cpu_ms: float
    images_per_s: float
    images: int  # timed in total

    def encode(self) -> dict[str, float]:
        """Rounded for a report."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def time_work(works: Mapping[str, tuple[Work, int]], rounds: int) -> dict[str, Timing]:
    """Time each named (work, images it handles) in alternation, after one unmeasured call."""
    for work, _ in works.values():
        work()
    samples: dict[str, list[tuple[float, float, int]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, (work, images) in works.items():
            samples[name].append(_one_round(work, images))
    return {name: _summary(found) for name, found in samples.items()}


def _one_round(work: Work, images: int) -> tuple[float, float, int]:
    """Wall and CPU seconds of every thread of this process, and images handled."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    done = 0
    while done < REPEATS_MAX and (done == 0 or time.perf_counter() - wall_s < ROUND_S_MIN):
        work()
        done += 1
    return time.perf_counter() - wall_s, time.process_time() - cpu_s, done * images


def _summary(samples: Sequence[tuple[float, float, int]]) -> Timing:
    wall_ms = median(1000 * wall_s / images for wall_s, _, images in samples)
    cpu_ms = median(1000 * cpu_s / images for _, cpu_s, images in samples)
    return Timing(wall_ms, cpu_ms, 1000 / wall_ms, sum(images for *_, images in samples))


def describe_machine() -> dict[str, Any]:
    """What a number is worth little without: processor, cores, versions, commit."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    """The checkout's commit, marked if it was changed; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(command, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.stdout.decode().strip()
