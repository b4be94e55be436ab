"""What a tenant's own sweep says of chance: how many strangers score so much, and the threshold at
which few enough do.
"""

from pydantic import Field

from serve.domain.document import Document
from serve.domain.ids import Mode

VALID_GROWTH = 1 / 0.9  # a threshold holds until the gallery that it was found on is 90 % of all
BINS = 4_096  # of native scores from -1 to 1: the bin of s is floor((s + 1) / 2 * BINS), at most


class Calibration(Document):
    """What one sweep showed of pairs of different people, for one world and model.

    `impostors` maps a bin of native scores to how many pairs scored in it, for all bins from
    `complete_from` on; `pairs` is how many were compared in all, pairs of one person (confirmed,
    or presumed: see `presumed`) taken off. `erring` maps a bin to how many faces have their
    best score with a stranger in it, `probes` is how many faces there are. `unreviewed` counts
    pairs at or above the pack's threshold among `impostors` that no reviewer has looked at.
    """

    tenant_id: str
    mode: Mode
    model_id: str
    sweep_id: str
    gallery_size: int
    probes: int
    pairs: int
    complete_from: float
    impostors: dict[int, int] = Field(default_factory=dict)
    erring: dict[int, int] = Field(default_factory=dict)
    confirmed: int = 0
    """Pairs taken off because a reviewer confirmed them."""
    presumed: int = 0
    """Pairs taken off because a third face, or a second signal, ties both."""
    unreviewed: int = 0
    made_at_ms: int

    @property
    def expires_at_size(self) -> int:
        """The number of faces from which on it holds no more."""
        return int(self.gallery_size * VALID_GROWTH) + 1
