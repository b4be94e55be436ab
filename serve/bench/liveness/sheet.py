"""Photos on something flat, held before a camera: prints, bent prints and screens.

A sheet is a body like a head and is drawn by the same camera, but all its points lie in a plane, or
on a cylinder, and all of it moves when it is tilted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import pi, radians, sin, tan

import numpy as np

from pipeline.evidence import Pixels
from pipeline.image.decode import decode
from pipeline.image.geometry import Transform
from pipeline.image.header import read_header
from pipeline.render.camera import Camera
from pipeline.render.draw import STILL, Attitude, draw_head
from pipeline.render.head import SIDE_PX, Head
from pipeline.render.landmarks import INNER_LIPS, LOWER_LIP, MOUTH_CORNERS, OVAL, UPPER_LIP
from pipeline.render.perform import Clip, frame_times, shot
from pipeline.render.script import Key, attitude_at

BENT_RADIUS = 1.5  # of a print bent about a cylinder, over half the breadth of the face on it
_STEEPEST_DEG = 80.0
_LIPS = np.concatenate([UPPER_LIP, LOWER_LIP, MOUTH_CORNERS, *INNER_LIPS])


def sheet_of(head: Head, radius: float | None = None, near: float = 1.0) -> Head:
    """The photo of a head on a flat sheet; or on a cylinder that stands upright.

    `radius` is the cylinder's over half the breadth of the face; the camera is `near` times as far
    off as from a head, and the nearer it is, the more a tilt distorts. Seen from the front both
    look like the head. The mouth opens as a hole does: the lips part, the chin stays.
    """
    points = head.points.copy()
    points[:, 2] = 0.0
    middle = points[OVAL, :2].mean(axis=0)
    if radius is not None:
        reach = radius * np.ptp(points[OVAL, 0]) / 2
        aside = np.clip(points[:, 0] - middle[0], -reach, reach)
        points[:, 2] = np.minimum(
            reach - np.sqrt(reach**2 - aside**2), reach * tan(radians(_STEEPEST_DEG)) / 4
        )
    jaw = np.zeros_like(head.jaw)
    jaw[_LIPS, 1] = head.jaw[_LIPS, 1]
    return replace(
        head,
        points=points,
        weight=np.ones_like(head.weight),
        jaw=jaw,
        pivot=np.array([*middle, 0.0]),
        own_yaw_deg=0.0,
        camera_px=near * head.camera_px,
    )


def puppet_of(head: Head, near: float = 1.0) -> Head:
    """A flat screen whose picture blinks and opens its mouth, chin and cheeks as a face does."""
    jaw = head.jaw.copy()
    jaw[:, 2] = 0.0
    return replace(sheet_of(head, near=near), jaw=jaw)


def tilted(attitude: Attitude, factor: float) -> Attitude:
    """The attitude with its turns made larger: a print has to be tilted far to look turned."""
    return replace(
        attitude, yaw_deg=factor * attitude.yaw_deg, pitch_deg=factor * attitude.pitch_deg
    )


def present(
    sheet: Head,
    keys: Sequence[Key],
    rng: np.random.Generator,
    steadiness: float = 0.0,
    to_and_fro: float = 0.0,
) -> Clip:
    """A clip of a sheet that is held as `keys` say, by a camera in a hand.

    It comes nearer and goes away by the share `to_and_fro`, once in a clip.
    """
    camera = Camera.held(rng, steadiness)
    times_s = frame_times(keys[-1].at_s, rng)
    beat = 2.0 * pi / keys[-1].at_s
    scenes = (
        draw_head(
            sheet,
            attitude_at(keys, each),
            _grown(camera.place(each), 1.0 + to_and_fro * sin(beat * each)),
        )
        for each in times_s
    )
    return shot(scenes, times_s, camera)


def _grown(place: Transform, factor: float) -> Transform:
    """The place, larger by `factor` about the middle of the frame."""
    grown = factor * place
    grown[:, 2] += (1.0 - factor) * SIDE_PX / 2
    return grown


def replayed(sheet: Head, clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip as another camera, in a hand, takes it from a screen."""
    camera = Camera.held(rng)
    times_s = [each / 1000 for each in clip.captured_ms]
    scenes = (
        draw_head(replace(sheet, texture=picture), STILL, camera.place(time_s))
        for picture, time_s in zip(pictures(clip), times_s, strict=True)
    )
    return shot(scenes, times_s, camera)


def pictures(clip: Clip) -> Iterator[Pixels]:
    """Its frames as pixels, `(SIDE_PX, SIDE_PX, 3)` uint8 RGB."""
    for data in clip.frames:
        yield decode(data, read_header(data), SIDE_PX).pixels
