"""The man before his phone: his photo as a head that does what a challenge asks.

It is rendered, not filmed: a picture of nobody's camera, which shows that a challenge can be passed
and says nothing of how well people pass it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import Failure
from pipeline.evidence import Mesh, Pose
from pipeline.face.steps import FRAME, FacePipeline
from pipeline.image.decode import decode, encode_jpeg
from pipeline.image.geometry import Border, warp
from pipeline.image.header import read_header
from pipeline.liveness.challenge import Step
from pipeline.render.head import Head, head_of
from pipeline.render.perform import FRAMES_PER_S, Clip, perform

SEED = 7
STILL_FRAMES = 24
JPEG_QUALITY = 88
_WHOLE_PX = 10_000  # a shorter side that no photo has: decode it whole
_TREMOR_PX = 1.5


@dataclass(frozen=True, slots=True)
class Performer:
    """A photo, encoded, and the head made of it."""

    photo: bytes = field(repr=False)
    head: Head = field(repr=False)

    def perform(self, steps: Sequence[str]) -> Clip:
        """A clip of him doing `steps`."""
        return perform(self.head, [Step(each) for each in steps], np.random.default_rng(SEED))

    def hold_up(self) -> Clip:
        """A clip of his photo, held before the camera by a hand that trembles."""
        pixels = decode(self.photo, read_header(self.photo), _WHOLE_PX).pixels
        height_px, width_px = pixels.shape[:2]
        random = np.random.default_rng(SEED)
        frames = []
        for shift in random.normal(0.0, _TREMOR_PX, (STILL_FRAMES, 2)):
            moved = np.column_stack([np.eye(2), shift])
            frames.append(
                encode_jpeg(
                    warp(pixels, moved, (width_px, height_px), Border.REPLICATE), JPEG_QUALITY
                )
            )
        times_ms = (round(1_000 * each / FRAMES_PER_S) for each in range(STILL_FRAMES))
        return Clip(tuple(frames), tuple(times_ms))


def performer_of(faces: FacePipeline, photo: bytes) -> Performer:
    """Who is in an encoded photo that shows one face well."""
    (found,) = faces.run([photo], FRAME)
    assert not isinstance(found, Failure), "a photo of the demonstration's own"
    assert isinstance(found.mesh, Mesh)
    assert isinstance(found.pose, Pose)
    pixels = decode(photo, read_header(photo), _WHOLE_PX).pixels
    return Performer(photo, head_of(pixels, found.mesh, found.pose))
