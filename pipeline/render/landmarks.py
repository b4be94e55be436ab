"""Which of the 468 points of the mesh lie where. "Right" is the subject's own."""

import numpy as np

OVAL = np.array([
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
])  # fmt: skip
"""The rim of the face from the forehead clockwise as seen in the picture."""

EYE_CORNERS = np.array([33, 133, 362, 263])
CHIN = 152

# Each from the left of the picture to its right: the edge of the upper lid, that of the lower one,
# and the fold below the brow.
RIGHT_LIDS = (
    np.array([33, 246, 161, 160, 159, 158, 157, 173, 133]),
    np.array([33, 7, 163, 144, 145, 153, 154, 155, 133]),
    np.array([113, 225, 224, 223, 222, 221, 189]),
)
LEFT_LIDS = (
    np.array([362, 398, 384, 385, 386, 387, 388, 466, 263]),
    np.array([362, 382, 381, 380, 374, 373, 390, 249, 263]),
    np.array([413, 441, 442, 443, 444, 445, 342]),
)

MOUTH_CORNERS = np.array([61, 291])
UPPER_LIP = np.array([
    185, 40, 39, 37, 0, 267, 269, 270, 409, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    184, 74, 73, 72, 11, 302, 303, 304, 408, 183, 42, 41, 38, 12, 268, 271, 272, 407,
])  # fmt: skip
LOWER_LIP = np.array([
    146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318, 324,
    77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179, 86, 15, 316, 403, 319, 325,
])  # fmt: skip
INNER_LIPS = (
    np.array([78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]),
    np.array([78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]),
)
"""The edge of the opening between the lips, above and below, from the left of the picture."""
