"""What is remembered of a frame when its pixels are gone: a thumbnail, and how bright it was."""

import numpy as np

from pipeline.evidence import Pixels, Trace
from pipeline.image.features import CHEEK_WINDOWS
from pipeline.image.geometry import squeezed

SIDE_PX = 32
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG has it


def trace_of(pixels: Pixels, chip: Pixels | None) -> Trace:
    """The trace of an `(H, W, 3)` uint8 RGB picture and the `(150, 150, 3)` chip of its face.

    The thumbnail is an area mean, so sensor noise and the compression of single blocks all but
    average out: two codings of one picture differ in it by a grey level or so.
    """
    scene = np.rint(squeezed(pixels, SIDE_PX) @ _LUMA).astype(np.uint8)
    scene_luma = float(scene.mean())
    if chip is None:
        return Trace(scene, scene_luma, scene_luma)
    cheeks = [float((chip[window].reshape(-1, 3) @ _LUMA).mean()) for window in CHEEK_WINDOWS]
    return Trace(scene, scene_luma, sum(cheeks) / len(cheeks))
