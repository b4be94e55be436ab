"""Real faces that need no download of their own: the tile grid in a picture of the npm package.

The default model pack is built from that package, so its archive is in the cache already. The
picture is a screenshot of 6 rows of 18 faces, each 106 px wide.
"""

import numpy as np

from pipeline.evidence import Pixels
from pipeline.image.decode import decode, encode_jpeg
from pipeline.image.geometry import Border, warp
from pipeline.image.header import read_header
from pipeline.models.archive import read_members
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import read_recipe
from pipeline.models.fetch import Progress, obtain
from pipeline.models.load import DEFAULT_PACK

SOURCE_ID = "human"
MEMBER = "package/assets/screenshot-facematch.jpg"
ROWS, COLUMNS = 6, 18
TILE_PX, PITCH_X_PX, PITCH_Y_PX, TOP_PX = 106, 106.6, 112.5, 283
WHOLE_PX = 10_000  # a shorter side no picture has: decode it whole
ENLARGED = 3  # a face of a tile is smaller than a phone's camera would take it
JPEG_QUALITY = 92

Place = tuple[int, int]  # row, column

# Chosen among the tiles that the pipeline finds fit.
ENROLLED: tuple[Place, ...] = ((0, 0), (0, 3))
SAME_MAN: Place = (0, 1)
STRANGER: tuple[Place, ...] = ((4, 12), (5, 9))  # one other man, twice


def read_screenshot(cache: ModelCache, progress: Progress) -> Pixels:
    """The whole picture, `(H, W, 3)` uint8 RGB; raises what fetching its archive raises."""
    (source,) = (each for each in read_recipe(DEFAULT_PACK).source if each.id == SOURCE_ID)
    (data,) = read_members(obtain(source, cache, None, progress), [MEMBER])
    return decode(data, read_header(data), WHOLE_PX).pixels


def cut_tile(screenshot: Pixels, place: Place) -> Pixels:
    """The `(106, 106, 3)` tile at `place`."""
    row, column = place
    top, left = round(TOP_PX + row * PITCH_Y_PX), round(column * PITCH_X_PX)
    return np.ascontiguousarray(screenshot[top : top + TILE_PX, left : left + TILE_PX])


def make_selfie(tile: Pixels) -> bytes:
    """A tile as a phone would send it: enlarged, as JPEG."""
    side_px = TILE_PX * ENLARGED
    transform = np.array([[ENLARGED, 0.0, 0.0], [0.0, ENLARGED, 0.0]])
    enlarged = warp(tile, transform, (side_px, side_px), Border.REPLICATE)
    return encode_jpeg(enlarged, JPEG_QUALITY)


def make_blank() -> bytes:
    """A grey wall, as the same phone would send it."""
    side_px = TILE_PX * ENLARGED
    return encode_jpeg(np.full((side_px, side_px, 3), 128, np.uint8), JPEG_QUALITY)
