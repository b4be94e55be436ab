"""Head pose from the mesh: its own axes, no camera model."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Mesh, Pose

_RIGHT_EYE_OUTER, _LEFT_EYE_OUTER = 33, 263
_FOREHEAD, _CHIN = 10, 152
# The mesh model puts the chin behind the forehead even of a face that looks straight ahead: the
# line between them leans by this much. It is the median of 46 photos of 5 people who face the
# camera within 10 degrees of yaw. People differ more than photos do, from 2 to 20 degrees by their
# own medians: pitch can refuse a raised or bowed head and follow one head from frame to frame, but
# not compare two people.
PITCH_NEUTRAL_DEG = 5.5


def pose_of(mesh: Mesh) -> Pose:
    """Yaw, pitch and roll of the head in degrees; signs as `Pose` defines them.

    The mesh's x axis runs through the outer eye corners, from the subject's right to their left,
    and its y axis from forehead to chin; depth (z) grows away from the camera. The angles are
    those of turning the head up or down first, then sideways, then tipping it.
    """
    points = mesh.points[[_RIGHT_EYE_OUTER, _LEFT_EYE_OUTER, _FOREHEAD, _CHIN]].astype(np.float64)
    across = _unit(points[1] - points[0])
    down = points[3] - points[2]
    down = _unit(down - across * np.dot(down, across))
    inward_z = across[0] * down[1] - across[1] * down[0]  # of the axis from the nose into the head
    yaw = math.atan2(across[2], math.hypot(across[0], across[1]))
    pitch = math.atan2(-down[2], inward_z)
    roll = math.atan2(across[1], across[0])
    return Pose(math.degrees(yaw), math.degrees(pitch) + PITCH_NEUTRAL_DEG, math.degrees(roll))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))
