"""A head in a pose as the camera sees it."""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Pixels
from pipeline.image.geometry import Border, Transform, painted, sampled
from pipeline.render.head import SIDE_PX, Head
from pipeline.render.landmarks import INNER_LIPS
from pipeline.render.lids import with_lids

_MOUTH_RGB = np.array([20.0, 8.0, 8.0], np.float32)  # darker than any lip
_MOUTH_DARK_AT = 0.35  # from this opening on, what lay between the lips is dark
_NEAREST = -0.85  # of the camera's distance: what comes nearer than this is not drawn
_AREA_MIN_PX = 1e-6  # of a triangle that can be turned back into the texture
_UPPER, _LOWER = INNER_LIPS
_BETWEEN_LIPS = np.concatenate([
    np.column_stack([_UPPER[:-1], _UPPER[1:], _LOWER[:-1]]),
    np.column_stack([_UPPER[1:], _LOWER[1:], _LOWER[:-1]]),
]).astype(np.int32)  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attitude:
    """What a head does at a moment: angles as `Pose` signs them, the rest 0 to 1.

    `yaw_deg` 0 looks into the camera; `pitch_deg` and `roll_deg` are told from the photo's own.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    eyes_shut: float = 0.0
    mouth_open: float = 0.0


STILL = Attitude()


def draw_head(head: Head, attitude: Attitude, camera: Transform | None = None) -> Pixels:
    """The frame, `(SIDE_PX, SIDE_PX, 3)` uint8 RGB; `camera` moves the picture as a hand does.

    Triangles are painted from the farthest to the nearest; none behind the camera.
    """
    seen, depth = projected(head, attitude)
    if camera is not None:
        seen = seen @ camera[:, :2].T + camera[:, 2]
    depths = depth[head.triangles]
    order = np.argsort(-depths.mean(axis=1), kind="stable")
    order = order[depths[order].min(axis=1) > _NEAREST * head.camera_px]
    triangles = np.concatenate([head.triangles[order], _BETWEEN_LIPS])
    corners = seen[triangles]
    uppermost = painted(corners, (SIDE_PX, SIDE_PX))
    places = _places(corners, head.points[triangles][..., :2], uppermost)
    texture = with_lids(head.texture, head.points, attitude.eyes_shut)
    frame = sampled(texture, places, Border.REPLICATE)
    dark = min(attitude.mouth_open / _MOUTH_DARK_AT, 1.0)
    if dark > 0.0:
        inside = uppermost >= len(order)
        shown = (1.0 - 0.9 * dark) * frame[inside] + 0.9 * dark * _MOUTH_RGB
        frame[inside] = np.rint(shown)
    return frame


def projected(head: Head, attitude: Attitude) -> tuple[Floats, Floats]:
    """Where the camera sees each point of the head, `(P, 2)` px, and how far off it is, `(P,)`."""
    relative = head.points - head.pivot
    distance = head.camera_px
    # The photo was taken by such a camera too: its picture of a nose is larger than its breadth.
    relative[:, :2] *= 1.0 + relative[:, 2:] / distance
    relative += attitude.mouth_open * head.jaw
    pitch = _turn(0.0, attitude.pitch_deg, 0.0)
    aside = _turn(attitude.yaw_deg, 0.0, attitude.roll_deg)
    turned = relative @ (aside @ pitch @ _turn(-head.own_yaw_deg, 0.0, 0.0)).T
    share = head.weight[:, np.newaxis]
    turned = share * turned + (1.0 - share) * relative
    depth = turned[:, 2]
    seen = turned[:, :2] / (1.0 + depth[:, np.newaxis] / distance) + head.pivot[:2]
    return seen, depth


def _turn(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Floats:
    """The rotation by pitch, then yaw, then roll, `(3, 3)`."""
    (yc, ys), (pc, ps), (rc, rs) = (
        (cos(radians(angle)), sin(radians(angle))) for angle in (yaw_deg, pitch_deg, roll_deg)
    )
    yaw = np.array([[yc, 0.0, -ys], [0.0, 1.0, 0.0], [ys, 0.0, yc]])
    pitch = np.array([[1.0, 0.0, 0.0], [0.0, pc, ps], [0.0, -ps, pc]])
    roll = np.array([[rc, -rs, 0.0], [rs, rc, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(roll @ yaw @ pitch)


def _places(corners: Floats, sources: Floats, uppermost: NDArray[np.int32]) -> NDArray[np.float32]:
    """Where on the texture each pixel of the frame lies, `(H, W, 2)` float32.

    `corners` and `sources` `(T, 3, 2)` are the triangles in the frame and on the texture. Where no
    triangle is, there is the wall, as in the texture's corner.
    """
    edges = corners[:, 1:] - corners[:, :1]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    area = np.where(np.abs(area) < _AREA_MIN_PX, np.inf, area)
    back = np.empty_like(edges)
    back[:, 0, 0], back[:, 0, 1] = edges[:, 1, 1], -edges[:, 0, 1]
    back[:, 1, 0], back[:, 1, 1] = -edges[:, 1, 0], edges[:, 0, 0]
    linear = (back / area[:, np.newaxis, np.newaxis]) @ (sources[:, 1:] - sources[:, :1])
    shift = sources[:, 0] - (corners[:, :1] @ linear)[:, 0]
    # A pixel outside a sliver of a triangle must not be taken from far beyond its corners.
    low, high = sources.min(axis=1), sources.max(axis=1)
    columns = [*linear.reshape(-1, 4).T, *shift.T, *low.T, *high.T]
    xx, xy, yx, yy, x0, y0, x_low, y_low, x_high, y_high = (
        column.astype(np.float32).take(uppermost) for column in columns
    )
    height, width = uppermost.shape
    y = np.arange(height, dtype=np.float32)[:, np.newaxis] + np.float32(0.5)
    x = np.arange(width, dtype=np.float32) + np.float32(0.5)
    places = np.empty((height, width, 2), np.float32)
    np.clip(x * xx + y * yx + x0, x_low, x_high, out=places[..., 0])
    np.clip(x * xy + y * yy + y0, y_low, y_high, out=places[..., 1])
    places[uppermost < 0] = 0.5
    return places
