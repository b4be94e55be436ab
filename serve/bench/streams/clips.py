"""Clips that pass: one rendered performance for each challenge there is, as a phone would film it.

They are rendered beforehand from one real photo and lie on disk, so that playing them costs the
generator no more than sending does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from pipeline.errors import Failure
from pipeline.evidence import Mesh, Pixels, Pose
from pipeline.face.steps import REFERENCE, FacePipeline
from pipeline.image.decode import decode, encode_jpeg
from pipeline.image.geometry import Border, warp
from pipeline.image.header import read_header
from pipeline.liveness.challenge import DRAWS, Step
from pipeline.render.head import SIDE_PX, Head, head_of
from pipeline.render.perform import perform
from serve.errors import Code, ServeError

WIDTH_PX, HEIGHT_PX = 480, 640
JPEG_QUALITY = 80
WHOLE_PX = 4096  # decode a photo whole
PHOTO_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Clip:
    """JPEG frames of `WIDTH_PX` by `HEIGHT_PX`, and when each was taken, ms from the first."""

    frames: tuple[bytes, ...] = field(repr=False)
    captured_ms: tuple[int, ...] = field(repr=False)


Clips = Mapping[tuple[str, ...], Clip]
"""A clip for each challenge, by the names of its steps."""


def actor(faces: FacePipeline, photo: Pixels) -> Head:
    """The head on a photo, `(H, W, 3)` uint8 RGB with one face. Raises `no_face`."""
    (evidence,) = faces.run([encode_jpeg(photo, PHOTO_QUALITY)], REFERENCE)
    if isinstance(evidence, Failure):
        raise ServeError(Code.NO_FACE, evidence.detail)
    if not isinstance(evidence.mesh, Mesh) or not isinstance(evidence.pose, Pose):
        raise ServeError(Code.NO_FACE, "the photo to make clips from shows no face")
    return head_of(photo, evidence.mesh, evidence.pose)


def render_clip(head: Head, steps: Sequence[Step], frames_per_s: float, seed: int) -> Clip:
    """The head doing `steps`, filmed at so many frames a second."""
    played = perform(head, steps, np.random.default_rng(seed), frames_per_s)
    frames = tuple(_filmed(frame) for frame in played.frames)
    return Clip(frames, tuple(time - played.captured_ms[0] for time in played.captured_ms))


def write_clips(head: Head, folder: Path, frames_per_s: float, seed: int) -> None:
    """A clip for every challenge, on disk; about twenty seconds of work at ten frames a second."""
    folder.mkdir(parents=True, exist_ok=True)
    for steps in DRAWS:
        clip = render_clip(head, steps, frames_per_s, seed)
        write_clip(folder, tuple(steps), clip)


def write_clip(folder: Path, steps: Sequence[str], clip: Clip) -> None:
    """One clip, on disk."""
    np.savez(
        folder / f"{'+'.join(steps)}.npz",
        data=np.frombuffer(b"".join(clip.frames), np.uint8),
        ends=np.cumsum([len(frame) for frame in clip.frames]),
        captured_ms=np.array(clip.captured_ms),
    )


def read_clips(folder: Path) -> Clips:
    """The clips that were written there."""
    return MappingProxyType(
        {tuple(path.stem.split("+")): _read(path) for path in sorted(folder.glob("*.npz"))}
    )


def _read(path: Path) -> Clip:
    with np.load(path) as found:
        data, ends = found["data"].tobytes(), [int(each) for each in found["ends"]]
        times = tuple(int(each) for each in found["captured_ms"])
    starts = [0, *ends[:-1]]
    frames = (data[start:end] for start, end in zip(starts, ends, strict=True))
    return Clip(tuple(frames), times)


def _filmed(frame: bytes) -> bytes:
    """A rendered frame in the shape that a phone films in, its edges mirrored outwards."""
    pixels = decode(frame, read_header(frame), WHOLE_PX).pixels
    scale = WIDTH_PX / SIDE_PX
    transform = np.array([[scale, 0.0, 0.0], [0.0, scale, (HEIGHT_PX - WIDTH_PX) / 2]])
    return encode_jpeg(warp(pixels, transform, (WIDTH_PX, HEIGHT_PX), Border.MIRROR), JPEG_QUALITY)
