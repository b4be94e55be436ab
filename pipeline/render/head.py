"""A head of one photo as a body that can be turned: texture, points in space, triangles.

The mesh gives the face its depth. Around it lie three rings that no model has seen: one just
outside the face, one about the silhouette of head and hair, as deep as the ears and beyond, and
one on the wall behind, which does not move. What lies between two rings stretches like rubber.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from pipeline.evidence import Mesh, Pixels, Pose
from pipeline.image.geometry import Border, Transform, similarity, transform_points, warp
from pipeline.render.landmarks import (
    CHIN,
    EYE_CORNERS,
    LOWER_LIP,
    MOUTH_CORNERS,
    OVAL,
    UPPER_LIP,
)

SIDE_PX = 384  # of a frame: its smaller side is what the pipeline decodes whole
EYE_DISTANCE = 0.2  # of the side
EYES_Y = 0.45  # of the side, from the top
CAMERA_EYE_DISTANCES = 9.0  # from head to camera: an arm's length, with eyes 63 mm apart
_FADING = 0.12  # of a photo's width: there what is not the head becomes the wall
JAW_DROP = 0.26  # of the distance from eyes to chin, with the mouth wide open
_RING_LAYOUT = (1.2, 1.5, 2.0)  # where the rings lie when the head is rolled out, of the rim
_LAYOUT_OPEN = 0.5  # how far the mouth is open where the triangles are laid, so none spans the lips

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Head:
    """A photo laid over a body.

    `texture` is `(SIDE_PX, SIDE_PX, 3)` uint8 RGB: the photo, upright, its eyes at their places.
    `points` `(P, 3)` float64 are in pixels of the texture, where each lies on it; z grows away
    from the camera; the first 468 are the mesh. `weight` `(P,)` says how far each moves with the
    head, `jaw` `(P, 3)` how it moves as the mouth opens wide. `triangles` `(T, 3)` index points.
    `own_yaw_deg` is how far the photo looks aside, `camera_px` how far before the pivot the camera
    stands.
    """

    texture: Pixels = field(repr=False)
    points: Floats = field(repr=False)
    weight: Floats = field(repr=False)
    jaw: Floats = field(repr=False)
    triangles: NDArray[np.int32] = field(repr=False)
    pivot: Floats = field(repr=False)
    own_yaw_deg: float = field(repr=False)
    camera_px: float = CAMERA_EYE_DISTANCES * EYE_DISTANCE * SIDE_PX


def head_of(photo: Pixels, mesh: Mesh, pose: Pose) -> Head:
    """The head of a photo, `(H, W, 3)` uint8 RGB, with its mesh in pixels of that photo.

    The less the photo looks aside, the better: what it does not show cannot be turned to.
    Raises `wrong_shape` for a mesh whose eyes coincide.
    """
    eyes = mesh.points[EYE_CORNERS, :2].reshape(2, 2, 2).mean(axis=1)
    half = EYE_DISTANCE * SIDE_PX / 2
    y = EYES_Y * SIDE_PX
    middle = SIDE_PX / 2
    wanted = np.array([[middle - half, y], [middle + half, y]], np.float32)
    placed = similarity(eyes, wanted)
    face = transform_points(mesh.points, placed).astype(np.float64)
    texture = _texture(photo, placed, face)
    rings, ring_weight = _rings(face)
    points = np.concatenate([face, rings])
    weight = np.concatenate([np.ones(len(face)), ring_weight])
    jaw = _jaw(points)
    layout = _layout(points + _LAYOUT_OPEN * jaw, len(face))
    triangles = Delaunay(layout).simplices.astype(np.int32)
    return Head(
        texture=texture,
        points=points,
        weight=weight,
        jaw=jaw * weight[:, np.newaxis],
        triangles=triangles,
        pivot=_pivot(face),
        own_yaw_deg=pose.yaw_deg,
    )


def _texture(photo: Pixels, placed: Transform, face: Floats) -> Pixels:
    """The photo at its place; around it a wall, and hair where the head leaves the photo."""
    size_px = (SIDE_PX, SIDE_PX)
    beyond = warp(photo, placed, size_px, Border.REPLICATE).astype(np.float32)
    covered = warp(_fading(photo.shape[:2]), placed, size_px, Border.BLACK)[..., :1] / 255.0
    edge = photo.shape[1] // 10 + 1
    wall = np.median(np.concatenate([photo[:edge, :edge], photo[:edge, -edge:]]), axis=(0, 1))
    rim = face[OVAL]
    low, high = rim.min(axis=0), rim.max(axis=0)
    half = 0.62 * (high[0] - low[0])
    chin, top = high[1], low[1] - 0.3 * (high[1] - low[1])
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] + 0.5
    level = np.minimum((y - 0.5 * (chin + top)) / (0.5 * (chin - top)), 0.0)  # straight downwards
    reach = np.hypot((x - 0.5 * (low[0] + high[0])) / half, level)
    bare = _smooth((reach - 0.94) / 0.1) * (1.0 - _smooth((y - chin) / half))
    bare = bare[..., np.newaxis] * (1.0 - covered)
    return np.asarray(np.rint((1.0 - bare) * beyond + bare * wall), np.uint8)


def _fading(size: tuple[int, ...]) -> Pixels:
    """White, and black towards its sides and its top."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] + 0.5
    edge = np.minimum(np.minimum(x, width - x), y) / (_FADING * width)
    return np.repeat((255.0 * _smooth(edge)).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def _pivot(face: Floats) -> Floats:
    """Where a neck turns the head: between the ears, and a little below them."""
    rim = face[OVAL]
    centre = rim.mean(axis=0)
    chin_y = face[CHIN, 1]
    return np.array([centre[0], 0.4 * centre[1] + 0.6 * chin_y, rim[:, 2].max()])


def _layout(points: Floats, mesh_points: int) -> Floats:
    """Where the points lie when the head is rolled out like a map, `(P, 2)`.

    Seen from the front the sides of a face lie over each other; on the map all have their place.
    """
    face = points[:mesh_points]
    centre = face[OVAL].mean(axis=0)
    axis_z = face[OVAL, 2].max() + 0.3 * np.ptp(face[OVAL, 0])
    angle = np.arctan2(face[:, 0] - centre[0], axis_z - face[:, 2])
    flat = np.column_stack([angle * (axis_z - face[:, 2].min()), face[:, 1] - centre[1]])
    rings = [flat[OVAL] * grown for grown in _RING_LAYOUT]
    border = (points[mesh_points + len(_RING_LAYOUT) * len(OVAL) :, :2] - centre[:2]) * 6.0
    return np.concatenate([flat, *rings, border])


def _rings(face: Floats) -> tuple[Floats, Floats]:
    """The points outside the face, and how far each moves with the head."""
    rim = face[OVAL]
    centre = rim.mean(axis=0)
    outward = rim - centre
    radius = float(np.hypot(*outward[:, :2].T).mean())
    length = np.hypot(*outward[:, :2].T)
    up = np.clip(-outward[:, 1] / length, 0.0, 1.0)  # 1 over the forehead
    down = np.clip(outward[:, 1] / length, 0.0, 1.0) ** 2  # 1 below the chin
    ears = float(rim[:, 2].max())
    rows: list[Floats] = []
    weights: list[Floats] = []
    for grown, hair, depth, weight, neck in (
        (1.10, 0.06, 0.2, 1.0, 0.10),
        (1.26, 0.24, 0.9, 1.0, 0.45),
        (1.85, 0.20, 1.0, 0.0, 0.0),
    ):
        scale = grown + hair * up
        ring = np.column_stack([
            centre[0] + outward[:, 0] * scale,
            centre[1] + outward[:, 1] * scale,
            rim[:, 2] + depth * (ears + 0.25 * radius - rim[:, 2]),
        ])  # fmt: skip
        rows.append(ring)
        weights.append(weight * (1.0 - neck * down))
    wall = np.linspace(-0.5, 1.5, 9) * SIDE_PX
    border = np.array([
        (x, y, ears + 2 * radius) for x in wall for y in wall
        if min(x, y) < 0 or max(x, y) > SIDE_PX
    ])  # fmt: skip
    rows.append(border)
    weights.append(np.zeros(len(border)))
    return np.concatenate(rows), np.concatenate(weights)


def _jaw(points: Floats) -> Floats:
    """How each point moves from a closed mouth to one wide open, `(P, 3)`."""
    corners = points[MOUTH_CORNERS]
    mouth_x, mouth_y = corners[:, :2].mean(axis=0)
    half = abs(corners[1, 0] - corners[0, 0]) / 2
    eyes_y = points[EYE_CORNERS, 1].mean()
    chin_y = points[CHIN, 1]
    drop = JAW_DROP * (chin_y - eyes_y)
    aside = np.abs(points[:, 0] - mouth_x)
    below = _smooth((points[:, 1] - mouth_y) / (0.3 * (chin_y - mouth_y)))
    face_half = np.ptp(points[OVAL, 0]) / 2
    share = below * (1.0 - 0.6 * _smooth(aside / (1.2 * face_half)))
    # Lips close over each other: which one a point belongs to says more than where it lies.
    arch = np.sqrt(np.clip(1.0 - (aside / (1.05 * half)) ** 2, 0.0, 1.0))
    share[UPPER_LIP] = -0.06 * arch[UPPER_LIP]
    share[LOWER_LIP] = 0.25 + 0.75 * arch[LOWER_LIP]
    share[MOUTH_CORNERS] = share[[78, 308]] = 0.2
    return np.asarray(drop * share[:, np.newaxis] * np.array([0.0, 1.0, 0.25]))


def _smooth(share: Floats) -> Floats:
    """0 below 0, 1 above 1, without a corner between."""
    inside = np.clip(share, 0.0, 1.0)
    return np.asarray(inside * inside * (3.0 - 2.0 * inside))
