"""What the processes of a service hold over time, and whether it grows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import psutil

SAMPLES_MIN = 12
WARM_S = 60.0  # in which a new process finds what it needs
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Slope:
    """How much more the processes of a role hold after an hour, of how many that lived long
    enough to tell.
    """

    rss_mib_per_h: float
    descriptors_per_h: float
    rss_mib: float
    processes: int
    seconds: float


@dataclass(slots=True)
class Holdings:
    """Resident bytes and descriptors of each process, by time in seconds."""

    seen: dict[tuple[str, int], list[tuple[float, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def note(self, at_s: float, processes: Iterable[tuple[str, psutil.Process]]) -> None:
        """Look at each of them once."""
        for role, process in processes:
            with suppress(psutil.Error):
                row = at_s, float(process.memory_info().rss), float(process.num_fds())
                self.seen[role, process.pid].append(row)

    def slopes(self) -> Mapping[str, Slope]:
        """Least squares over all processes of a role together, each with a level of its own."""
        found = {}
        for role in sorted({role for role, _ in self.seen}):
            parts = [
                part
                for (its, _), rows in self.seen.items()
                if its == role and len(part := _warm(rows)) >= SAMPLES_MIN
            ]
            if parts:
                found[role] = _slope(parts)
        return found


def _warm(
    rows: list[tuple[float, float, float]],
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    return np.array([row for row in rows if row[0] - rows[0][0] >= WARM_S]).reshape(-1, 3)


def _slope(parts: list["np.ndarray[tuple[int, int], np.dtype[np.float64]]"]) -> Slope:
    apart = np.concatenate([part - part.mean(axis=0) for part in parts])
    spread = float((apart[:, 0] ** 2).sum())
    rss, descriptors = (float((apart[:, 0] * apart[:, n]).sum()) / spread for n in (1, 2))
    last = max(parts, key=lambda part: part[-1, 0])
    seconds = sum(float(part[-1, 0] - part[0, 0]) for part in parts)
    return Slope(
        3600 * rss / MIB, 3600 * descriptors, float(last[-1, 1]) / MIB, len(parts), seconds
    )
