"""Whether what turned has the depth of a head: between two frames, a plane against a rigid head.

Two pictures of anything flat differ by a homography. Two pictures of a head differ as its points in
space turn. Both are fitted to the mesh points of two frames, and the errors compared: a picture of
a face on paper is foreshortened without its nose moving before its cheeks, a head the other way
round. The mesh model dreams some depth into every face, so neither error alone would do.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.liveness.observation import Seen

Floats = NDArray[np.float64]

_ROUNDS = 6  # of Gauss and Newton; from the mesh's own angles three are enough
_DAMPING = 1e-9
_TINY = 1e-12
# Lips move by themselves; every other point is of bone, or of skin close to it.
_LIPS = (
    0, 11, 12, 13, 14, 15, 16, 17, 37, 38, 39, 40, 41, 42, 61, 62, 72, 73, 74, 76, 77, 78, 80, 81,
    82, 84, 85, 86, 87, 88, 89, 90, 91, 95, 96, 146, 178, 179, 180, 181, 183, 184, 185, 191, 267,
    268, 269, 270, 271, 272, 291, 292, 302, 303, 304, 306, 307, 308, 310, 311, 312, 314, 315, 316,
    317, 318, 319, 320, 321, 324, 325, 375, 402, 403, 404, 405, 407, 408, 409, 415,
)  # fmt: skip
_STIFF = np.setdiff1d(np.arange(468), _LIPS)


def stiff_shape(seen: Seen) -> Floats:
    """The mesh without the lips, centred, `(388, 3)` float64 in distances between the eyes."""
    points = seen.points[_STIFF].astype(np.float64) / seen.eye_distance_px
    return np.asarray(points - points.mean(axis=0))


def mean_shape(shapes: Sequence[Floats]) -> Floats:
    """The mean of shapes that differ by little turns and sizes; the first says how it is held."""
    first = shapes[0]
    return np.asarray(np.mean([_laid_over(shape, first) for shape in shapes], axis=0))


def plane_error(one: Floats, other: Floats) -> float:
    """Root mean square distance from `other` to the best homography of `one`, in its unit.

    The normalised direct linear transform, on the first two coordinates.
    """
    source, source_norm = _normalised(one[:, :2])
    target, target_norm = _normalised(other[:, :2])
    x, y = source.T
    u, v = target.T
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([
        np.stack([-x, -y, -ones, zeros, zeros, zeros, u * x, u * y, u], axis=1),
        np.stack([zeros, zeros, zeros, -x, -y, -ones, v * x, v * y, v], axis=1),
    ])  # fmt: skip
    _, vectors = np.linalg.eigh(rows.T @ rows)
    homography = np.linalg.inv(target_norm) @ vectors[:, 0].reshape(3, 3) @ source_norm
    mapped = np.column_stack([one[:, :2], np.ones(len(one))]) @ homography.T
    return _rms(other[:, :2] - mapped[:, :2] / mapped[:, 2:])


def sheet_error(one: Floats, other: Floats) -> float:
    """Root mean square distance from `other` to the best quadratic image of `one`, in its unit.

    A sheet that is bent smoothly, about whatever axis, and turned moves its points by a quadratic
    of where they lie; what is left over is the nose and the hollows of the eyes.
    """
    x, y = one[:, 0], one[:, 1]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    factors = np.linalg.solve(terms.T @ terms, terms.T @ other[:, :2])
    return _rms(other[:, :2] - terms @ factors)


def head_error(shape: Floats, other: Floats, start: Floats) -> float:
    """Root mean square distance from `other` to the best view of `shape` as a rigid body, in the
    unit of `other`.

    The camera is a distant one: rotation, uniform scale, shift. `start` `(3, 3)` is a first guess
    of the rotation, which Gauss and Newton make better.
    """
    body = shape - shape.mean(axis=0)
    seen = other[:, :2] - other[:, :2].mean(axis=0)
    rotation = start
    for _ in range(_ROUNDS):
        x, y, z = turned = rotation @ body.T
        missed, scale = _missed(turned, seen)
        still = np.zeros_like(x)
        slopes = scale * np.array([
            np.concatenate([still, -z]), np.concatenate([z, still]), np.concatenate([-y, x]),
            np.concatenate([x, y]),
        ])  # fmt: skip
        square = slopes @ slopes.T
        square[np.diag_indices(4)] += _DAMPING * np.trace(square)
        step = np.linalg.solve(square, slopes @ missed.ravel())
        rotation = _turn(np.asarray(step[:3], np.float64)) @ rotation
    return _rms(_missed(rotation @ body.T, seen)[0].T)


def _missed(turned: Floats, seen: Floats) -> tuple[Floats, float]:
    """What a body in its best size leaves of what is seen, `(2, N)`, and that size."""
    flat = turned[:2]
    scale = float((flat * seen.T).sum()) / max(float((flat * flat).sum()), _TINY)
    return seen.T - scale * flat, scale


def rotation_of(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Floats:
    """The rotation that `Pose` names, `(3, 3)`: up or down first, then sideways, then tipped."""
    yaw, pitch, roll = (math.radians(each) for each in (yaw_deg, pitch_deg, roll_deg))
    sideways = np.array([
        [math.cos(yaw), 0.0, -math.sin(yaw)], [0.0, 1.0, 0.0], [math.sin(yaw), 0.0, math.cos(yaw)]
    ])  # fmt: skip
    upwards = np.array(
        [
            [1.0, 0.0, 0.0],
            [0.0, math.cos(pitch), math.sin(pitch)],
            [0.0, -math.sin(pitch), math.cos(pitch)],
        ]
    )
    return np.asarray(_turn(np.array([0.0, 0.0, roll])) @ sideways @ upwards)


def _turn(vector: Floats) -> Floats:
    """The rotation about a vector by its length, radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < _TINY:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned = np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)
    return np.asarray(turned)


def _laid_over(shape: Floats, first: Floats) -> Floats:
    """A shape brought over another by rotation and scale (Kabsch)."""
    left, values, right = np.linalg.svd(shape.T @ first)
    sign = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(left @ right)))])
    scale = float((values * np.diag(sign)).sum()) / max(float((shape * shape).sum()), _TINY)
    return np.asarray(scale * shape @ (left @ sign @ right))


def _normalised(points: Floats) -> tuple[Floats, Floats]:
    """Points centred and scaled to a mean distance of root 2, and the transform that did it."""
    centre = points.mean(axis=0)
    scale = math.sqrt(2.0) / max(_rms(points - centre), _TINY)
    transform = np.array([
        [scale, 0.0, -scale * centre[0]], [0.0, scale, -scale * centre[1]], [0.0, 0.0, 1.0]
    ])  # fmt: skip
    return np.asarray((points - centre) * scale), transform


def _rms(errors: Floats) -> float:
    return math.sqrt(float((errors * errors).sum()) / len(errors))
