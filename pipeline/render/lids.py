"""Eyes that close, drawn on the photo: the upper lid slides over an eyeball that stays.

A lid is skin: the strip between the fold below the brow and the lashes is stretched downwards, and
a line of lashes lies along its edge.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Pixels
from pipeline.image.geometry import Border, sampled
from pipeline.render.landmarks import LEFT_LIDS, RIGHT_LIDS

Floats = NDArray[np.float64]
Lids = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]

_OVERLAP = 0.12  # how far a shut lid reaches below the edge of the lower one, of the eye's height
_LASHES = 0.25  # how far above its edge the upper lid's skin begins, of the eye's height
_LINE_PX = 2.4  # width of the line of lashes, about a 30th of the distance between the eyes
_LINE_DARK = 0.7


def with_lids(texture: Pixels, points: Floats, shut: float) -> Pixels:
    """The texture of a head, `(H, W, 3)` uint8 RGB, its eyes shut by `shut`, 0 to 1.

    `points` `(P, 3)` are where the mesh lies on it. 0 leaves it as it is.
    """
    if shut <= 0.0:
        return texture
    drawn = texture.copy()
    for lids in (RIGHT_LIDS, LEFT_LIDS):
        _shut_eye(drawn, points, lids, min(shut, 1.0))
    return drawn


def _shut_eye(texture: Pixels, points: Floats, lids: Lids, shut: float) -> None:
    upper, lower, fold = (points[each, :2] for each in lids)
    columns = np.arange(int(upper[0, 0]), int(np.ceil(upper[-1, 0]))) + 0.5
    upper_y, lower_y, fold_y = (np.interp(columns, *each.T) for each in (upper, lower, fold))
    height = np.maximum(lower_y - upper_y, 0.0)
    tallest = max(float(height.max()), 3.0)
    bulge = np.sqrt(np.clip(height / tallest, 0.0, 1.0))  # 0 at the corners, 1 in the middle
    rim = np.minimum(fold_y, upper_y - 0.5 * tallest)
    edge = upper_y + shut * (lower_y + _OVERLAP * tallest * bulge - upper_y)
    skin = upper_y - min(3.0 * shut, 1.0) * (_LASHES * tallest + 1.0) * bulge
    top, bottom = int(rim.min()), int(np.ceil(edge.max() + 3 * _LINE_PX))
    rows = np.arange(top, bottom)[:, np.newaxis] + 0.5
    stretched = rim + (rows - rim) * (skin - rim) / np.maximum(edge - rim, 1.0)
    source_y = np.where((rows > rim) & (rows < edge), stretched, rows)
    source_x = np.broadcast_to(columns, source_y.shape)
    places = np.stack([source_x, source_y], axis=-1).astype(np.float32)
    window = (slice(top, bottom), slice(int(upper[0, 0]), int(upper[0, 0]) + len(columns)))
    moved = sampled(texture, places, Border.REPLICATE).astype(np.float32)
    line = np.exp(-(((rows - edge) / _LINE_PX) ** 2)) * bulge * _LINE_DARK * min(2.0 * shut, 1.0)
    texture[window] = np.rint(moved * (1.0 - line[..., np.newaxis]))
