"""A phone's camera in a hand: what it does to a frame on the way to a JPEG."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from math import cos, pi, radians, sin

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Pixels
from pipeline.image.decode import encode_jpeg
from pipeline.image.geometry import Transform
from pipeline.render.head import SIDE_PX

QUALITY = 88
_READ_NOISE = 1.2  # grey levels, of a black pixel
_SHOT_NOISE = 0.03  # variance per grey level: light comes in grains
_GRAIN_SPARE_PX = 64
_LIGHT_GAIN = 0.25  # how much brighter a face is before a white screen than before a black one
_LIGHT_REACH = 0.4  # of the side: how far from the middle of the frame the screen's light reaches
_WAVES_HZ = (0.23, 0.61, 1.13)  # of unrest, faster ones weaker
_SHIFT, _SCALE, _ROLL_DEG = 0.012, 0.012, 0.8  # of a hand: of the side, of 1, degrees


class Unrest:
    """Slow, smooth, aimless motion in several directions, each about between -1 and 1."""

    def __init__(self, directions: int, rng: np.random.Generator) -> None:
        self._phases = rng.uniform(0.0, 2.0 * pi, (directions, len(_WAVES_HZ)))

    def at(self, time_s: float) -> list[float]:
        """Where it is, a number for each direction."""
        waves = np.array(_WAVES_HZ)
        strength = waves[0] / waves
        phases = 2.0 * pi * waves * time_s + self._phases
        return [float(each) for each in (np.sin(phases) * strength).sum(axis=1) / strength.sum()]


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera, and the hand that holds it; `steadiness` 1 is a stand, 0 an ordinary hand.

    `grain` is a field of noise, larger than a frame: each frame takes it from another place,
    and only the 4,097th from the first one's again.
    """

    hand: Unrest = field(repr=False)
    grain: NDArray[np.float32] = field(repr=False)
    places: Iterator[int] = field(repr=False)
    steadiness: float = 0.0
    quality: int = QUALITY

    @classmethod
    def held(cls, rng: np.random.Generator, steadiness: float = 0.0) -> "Camera":
        """A camera in a hand; all chance comes from `rng`."""
        side_px = SIDE_PX + _GRAIN_SPARE_PX
        grain = rng.standard_normal((side_px, side_px, 3), np.float32)
        places = cycle(rng.permutation(_GRAIN_SPARE_PX**2).tolist())
        return cls(Unrest(4, rng), grain, places, steadiness)

    def place(self, time_s: float) -> Transform:
        """How the hand has moved the picture by then: a similarity about its middle."""
        x, y, size, roll = (each * (1.0 - self.steadiness) for each in self.hand.at(time_s))
        scale, angle = 1.0 + _SCALE * size, radians(_ROLL_DEG * roll)
        turn = scale * np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
        middle = np.array([SIDE_PX / 2, SIDE_PX / 2])
        shift = middle - turn @ middle + _SHIFT * SIDE_PX * np.array([x, y])
        return np.column_stack([turn, shift])

    def shoot(self, scene: Pixels, light: float = 0.5) -> bytes:
        """A JPEG of `scene`, `(SIDE_PX, SIDE_PX, 3)` uint8 RGB, with noise that is new each time.

        `light` is how bright the screen of the phone is, 0 to 1; 0.5 leaves the scene as it is.
        """
        bright = scene.astype(np.float32)
        if light != 0.5:
            bright *= 1.0 + _LIGHT_GAIN * (light - 0.5) * _NEAR
        top, left = divmod(next(self.places), _GRAIN_SPARE_PX)
        grain = self.grain[top : top + SIDE_PX, left : left + SIDE_PX]
        noisy = bright + grain * np.sqrt(_READ_NOISE**2 + _SHOT_NOISE * bright)
        return encode_jpeg(np.rint(np.clip(noisy, 0.0, 255.0)).astype(np.uint8), self.quality)


def _near() -> NDArray[np.float32]:
    """How much of the screen's light reaches each pixel, `(SIDE_PX, SIDE_PX, 1)`, 0 to 1."""
    places = (np.mgrid[0:SIDE_PX, 0:SIDE_PX] + 0.5) / SIDE_PX - 0.5
    bell = np.exp(-(places**2).sum(axis=0) / _LIGHT_REACH**2)
    return np.asarray(bell[..., np.newaxis], np.float32)


_NEAR = _near()
