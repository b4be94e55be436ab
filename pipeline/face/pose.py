"""Head pose from the mesh: its own axes, no camera model."""

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Mesh, Pose

_RIGHT_EYE_OUTER, _LEFT_EYE_OUTER = 33, 263
_FOREHEAD, _CHIN = 10, 152
# The line from forehead to chin leans back by this much on the canonical face.
PITCH_NEUTRAL_DEG = 0.0


def pose_of(mesh: Mesh) -> Pose:
    """Yaw, pitch and roll of the head in degrees; signs as `Pose` defines them.

    The mesh's x axis runs through the outer eye corners and its y axis from forehead to chin;
    depth (z) grows away from the camera.
    """
    points = mesh.points.astype(np.float64)
    across = _unit(points[_LEFT_EYE_OUTER] - points[_RIGHT_EYE_OUTER])
    down = points[_CHIN] - points[_FOREHEAD]
    down = _unit(down - across * np.dot(down, across))
    yaw = np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1])))
    pitch = np.degrees(np.arctan2(down[2], np.hypot(down[0], down[1])))
    roll = np.degrees(np.arctan2(across[1], across[0]))
    return Pose(float(yaw), float(pitch) - PITCH_NEUTRAL_DEG, float(roll))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))
