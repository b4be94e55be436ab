"""Selfie-sized JPEGs from one real photo: scaled and extended, never cropped.

A crop would hand the detector an easier picture than a phone does. The photo is fitted into
the frame and its edges are mirrored outwards, so that the whole frame holds natural texture,
for decoding costs what the texture costs.
"""

from importlib import import_module

import numpy as np

from pipeline.evidence import Pixels
from pipeline.image.decode import encode_jpeg
from pipeline.image.geometry import Border, warp
from serve.errors import Code, ServeError

JPEG_QUALITY = 85
SIZES_PX = {"720x960": (720, 960), "1280x720": (1280, 720), "12Mpx": (3024, 4032)}


def default_photo() -> Pixels:
    """A public-domain portrait, `(512, 512, 3)` uint8 RGB. Raises `file_unreadable`."""
    try:
        portraits = import_module("skimage.data")
    except ModuleNotFoundError as error:  # a development dependency
        raise ServeError(Code.FILE_UNREADABLE, "no scikit-image here: give --image") from error
    return np.asarray(portraits.astronaut(), np.uint8)


def make_frame(photo: Pixels, size_px: tuple[int, int]) -> bytes:
    """`photo`, `(H, W, 3)` uint8 RGB, centred in a JPEG of (width, height) `size_px`."""
    width, height = size_px
    scale = min(width / photo.shape[1], height / photo.shape[0])
    left = (width - photo.shape[1] * scale) / 2
    top = (height - photo.shape[0] * scale) / 2
    transform = np.array([[scale, 0.0, left], [0.0, scale, top]])
    return encode_jpeg(warp(photo, transform, size_px, Border.MIRROR), JPEG_QUALITY)
