"""What a person hands in: one picture, frames sent at once, or a stream that has been watched.

A clip is bound to the challenge that its nonce names, and says by its digest which one it is: the
same clip again is the same submission.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.liveness.observation import Observation


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """An encoded frame, and when it was taken by the phone's own clock."""

    image: bytes = field(repr=False)
    captured_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FrameBurst:
    """Frames in their order, nothing of which has been looked at."""

    nonce: str = field(repr=False)
    frames: tuple[ClipFrame, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 over nonce, times and frames."""
        return _digest(
            self.nonce,
            [(hashlib.sha256(each.image).digest(), each.captured_ms) for each in self.frames],
        )


@dataclass(frozen=True, slots=True)
class StreamClip:
    """A stream that is over: what was seen in each frame, in order, and the bytes of the few frames
    that a Keeper kept, by the number of their observation.

    `light` is when the page was asked for how much brightness, by the clock of `received_ms`;
    `dropped` counts the frames of it that nobody looked at.
    """

    nonce: str = field(repr=False)
    observations: tuple[Observation, ...] = field(repr=False)
    kept: Mapping[int, bytes] = field(repr=False)
    light: tuple[tuple[float, float], ...] = ()
    dropped: int = 0

    @property
    def dropped_share(self) -> float:
        """Of the frames that came, 0 to 1."""
        return self.dropped / max(1, self.dropped + len(self.observations))

    @property
    def digest(self) -> bytes:
        """SHA-256 over nonce, times and frames; the same whenever the frames are."""
        return _digest(self.nonce, [(each.digest, each.captured_ms) for each in self.observations])


Clip = FrameBurst | StreamClip
Capture = bytes | Clip  # bytes: one encoded picture, a selfie


def _digest(nonce: str, frames: list[tuple[bytes, float | None]]) -> bytes:
    whole = hashlib.sha256(nonce.encode() + b"\0")
    for digest, captured_ms in frames:
        whole.update(digest)
        whole.update(repr(captured_ms).encode() + b"\0")
    return whole.digest()
