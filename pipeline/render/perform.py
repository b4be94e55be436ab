"""A clip of a head that does what it is asked to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.evidence import Pixels
from pipeline.liveness.challenge import Step
from pipeline.render.camera import Camera, Unrest
from pipeline.render.draw import Attitude, draw_head
from pipeline.render.head import Head
from pipeline.render.script import Key, attitude_at, script

FRAMES_PER_S = 9.0
_JITTER_MS = 4.0  # of a phone's frame times
_SWAY_DEG = (1.2, 0.8, 0.8)  # of a head that is held still: yaw, pitch, roll
Light = Sequence[tuple[float, float]]  # from when, s, and how bright the screen is, 0 to 1


@dataclass(frozen=True, slots=True)
class Clip:
    """JPEG frames, and when each was taken, ms by a phone's clock."""

    frames: tuple[bytes, ...] = field(repr=False)
    captured_ms: tuple[int, ...] = field(repr=False)


def perform(
    head: Head,
    steps: Sequence[Step],
    rng: np.random.Generator,
    frames_per_s: float = FRAMES_PER_S,
    light: Light = (),
) -> Clip:
    """A clip of the head doing `steps` before a phone in a hand; all chance comes from `rng`."""
    keys = script(steps, rng)
    camera = Camera.held(rng)
    times_s = frame_times(keys[-1].at_s, rng, frames_per_s)
    scenes = draw_script(head, keys, times_s, camera, rng)
    return shot(scenes, times_s, camera, light)


def draw_script(
    head: Head,
    keys: Sequence[Key],
    times_s: Sequence[float],
    camera: Camera,
    rng: np.random.Generator,
) -> Iterator[Pixels]:
    """What the camera sees at each time, before its noise; the head sways as a live one does."""
    sway = Unrest(len(_SWAY_DEG), rng)
    for time_s in times_s:
        yield draw_head(
            head, _swayed(attitude_at(keys, time_s), sway, time_s), camera.place(time_s)
        )


def shot(
    scenes: Iterator[Pixels], times_s: Sequence[float], camera: Camera, light: Light = ()
) -> Clip:
    """The clip that a camera makes of scenes, one for each time."""
    frames = tuple(
        camera.shoot(scene, light_at(light, time_s))
        for scene, time_s in zip(scenes, times_s, strict=True)
    )
    return Clip(frames, tuple(round(1000 * time_s) for time_s in times_s))


def frame_times(
    seconds: float, rng: np.random.Generator, frames_per_s: float = FRAMES_PER_S
) -> tuple[float, ...]:
    """When a phone takes its frames: regularly, but for a few milliseconds; rising strictly."""
    count = int(seconds * frames_per_s) + 1
    jitter_s = rng.uniform(0.0, _JITTER_MS / 1000, count)
    return tuple(float(each) for each in np.arange(count) / frames_per_s + jitter_s)


def light_at(light: Light, time_s: float) -> float:
    """How bright the screen is at a time; 0.5, the ordinary screen, until it is told."""
    told = [level for since_s, level in light if since_s <= time_s]
    return told[-1] if told else 0.5


def _swayed(attitude: Attitude, sway: Unrest, time_s: float) -> Attitude:
    yaw, pitch, roll = (size * each for size, each in zip(_SWAY_DEG, sway.at(time_s), strict=True))
    return replace(
        attitude,
        yaw_deg=attitude.yaw_deg + yaw,
        pitch_deg=attitude.pitch_deg + pitch,
        roll_deg=attitude.roll_deg + roll,
    )
