"""The challenge of a session: drawn once for each attempt, whoever asks for it how often.

Who could have another drawn by connecting again would draw until it is the one that he has a
recording of.
"""

from pydantic import Field

from pipeline.liveness.challenge import Step, drawn
from serve.domain.document import Document

DRAW_BYTES = 16
NONCE_BYTES = 16


class Challenge(Document):
    """Two steps in their order. `nonce` (hex) is what the frames of this attempt are bound to."""

    steps: tuple[Step, ...]
    nonce: str = Field(repr=False)
    drawn_at_ms: int


def draw(random: bytes, now_ms: int) -> Challenge:
    """A challenge out of `DRAW_BYTES + NONCE_BYTES` unpredictable bytes."""
    assert len(random) == DRAW_BYTES + NONCE_BYTES
    return Challenge(
        steps=drawn(random[:DRAW_BYTES]), nonce=random[DRAW_BYTES:].hex(), drawn_at_ms=now_ms
    )
