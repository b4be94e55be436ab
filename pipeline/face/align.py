"""Five mesh points to dlib's 150-px chip: the picture the embedder was trained on.

The target is dlib's mean face with padding 0.25 (`get_face_chip_details` for five points).
The chain (these mesh points, this target, this padding) is part of the template's model id.
"""

import numpy as np

from pipeline.evidence import Mesh, Pixels, Points
from pipeline.image.geometry import similarity, warp

CHIP_SIDE_PX = 150
PADDING = 0.25

# Left eye outer and inner corner, right eye outer and inner corner, base of the nose.
FIVE_POINTS = (263, 362, 33, 133, 2)
_MEAN_FACE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
# dlib counts from pixel centres, Limen from corners: half a pixel apart.
CHIP_POINTS: Points = np.asarray(
    (PADDING + _MEAN_FACE) / (2 * PADDING + 1) * CHIP_SIDE_PX + 0.5, np.float32
)
CHIP_POINTS.setflags(write=False)
FACE_SIDE_PX = CHIP_SIDE_PX / (1 + 2 * PADDING)  # the mean face's own size inside the chip


def cut_chip(pixels: Pixels, mesh: Mesh) -> Pixels:
    """The aligned `(150, 150, 3)` uint8 RGB chip of the face `mesh` describes in `pixels`.

    Raises `wrong_shape` if the five points coincide.
    """
    transform = similarity(mesh.points[list(FIVE_POINTS), :2], CHIP_POINTS)
    return warp(pixels, transform, (CHIP_SIDE_PX, CHIP_SIDE_PX))
