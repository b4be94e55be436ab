"""The challenge of a session: drawn once for each attempt, whoever asks for it how often.

Who could have another drawn by connecting again would draw until it is the one that he has a
recording of.
"""

from pydantic import Field

from pipeline.liveness.challenge import Asked, Step, drawn
from serve.domain.document import Document

DRAW_BYTES = 16
NONCE_BYTES = 16
LOT_BYTES = 16
RANDOM_BYTES = DRAW_BYTES + NONCE_BYTES + LOT_BYTES


class Challenge(Document):
    """Two steps in their order. `nonce` (hex) is what the frames of this attempt are bound to;
    `lot` (hex), which nobody is told, draws frames of them to be looked at closely.
    """

    steps: tuple[Step, ...]
    nonce: str = Field(repr=False)
    lot: str = Field(default="", repr=False)  # empty in those drawn before there was one
    drawn_at_ms: int

    @property
    def asked(self) -> Asked:
        """What the clip is held against."""
        return Asked(self.steps, bytes.fromhex(self.lot))


def draw(random: bytes, now_ms: int) -> Challenge:
    """A challenge out of `RANDOM_BYTES` unpredictable bytes."""
    assert len(random) == RANDOM_BYTES
    return Challenge(
        steps=drawn(random[:DRAW_BYTES]),
        nonce=random[DRAW_BYTES:-LOT_BYTES].hex(),
        lot=random[-LOT_BYTES:].hex(),
        drawn_at_ms=now_ms,
    )
