"""One 1:1 comparison of two templates, on the native scale and on the one the wire speaks.

It lives here and not beside the arithmetic that makes it, because the verdict reads it and
`decision` stands below `face`.
"""

import math
from dataclasses import dataclass

from pipeline.errors import Code, PipelineError


@dataclass(frozen=True, slots=True)
class Comparison:
    """How alike two templates are.

    `native` is the pack's own score (a cosine, for one; more is more alike); `similarity` and
    `threshold` are on the mapped scale, 0 to 1. Raises `wrong_shape` for a match that its own
    numbers deny, so that none reaches a verdict: a NaN never matches, nor does a similarity
    above 1, nor anything at a threshold of 0, which everybody would meet.
    """

    native: float
    similarity: float
    threshold: float
    is_match: bool

    def __post_init__(self) -> None:
        is_plausible = 0.0 < self.threshold <= self.similarity <= 1.0 and math.isfinite(self.native)
        if self.is_match and not is_plausible:
            raise PipelineError(Code.WRONG_SHAPE, "a match that its numbers deny")
