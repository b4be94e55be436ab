"""Calibrations that were read a moment ago: every search asks for one, and sweeps are rare."""

from dataclasses import dataclass, field

from serve.domain.ids import Mode
from serve.domain.sweeps.calibration import Calibration

KEPT_S = 5.0
WORLDS_MAX = 256

World = tuple[str, Mode]


@dataclass(slots=True)
class Lately:
    """What was read for a world, None among it, and when; of at most 256 worlds, those read last.

    Times are of any one clock, in seconds.
    """

    _read: dict[World, tuple[float, Calibration | None]] = field(default_factory=dict)

    def knows(self, world: World, now_s: float) -> bool:
        """Whether it was read within the last five seconds."""
        return world in self._read and now_s - self._read[world][0] < KEPT_S

    def calibration(self, world: World) -> Calibration | None:
        """What was read then."""
        return self._read[world][1]

    def keep(self, world: World, calibration: Calibration | None, now_s: float) -> None:
        """Remember what was read now."""
        self._read.pop(world, None)
        while len(self._read) >= WORLDS_MAX:
            del self._read[next(iter(self._read))]
        self._read[world] = now_s, calibration
