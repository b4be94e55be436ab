"""One 1:1 comparison of two templates, on the native scale and on the one the wire speaks.

It lives here and not beside the arithmetic that makes it, because the verdict reads it and
`decision` stands below `face`.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """How alike two templates are.

    `native` is the pack's own score (a cosine, for one; more is more alike); `similarity` and
    `threshold` are on the mapped scale, 0 to 1.
    """

    native: float
    similarity: float
    threshold: float

    @property
    def is_match(self) -> bool:
        """True at or above the threshold.

        Derived and never stored, so that no comparison can claim a match its numbers deny. A
        NaN anywhere, a similarity above 1 or a threshold of 0 (which everybody would meet) is a
        broken measurement and never matches.
        """
        return math.isfinite(self.native) and 0.0 < self.threshold <= self.similarity <= 1.0
