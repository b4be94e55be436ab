"""One pair of templates to a comparison: the native score and the similarity shown outside.

Packs measure likeness on scales of their own; dlib's impostor cosines average 0.80, where
another model's average 0. Everything called similarity, score or threshold outside the
pipeline is therefore on one mapped scale, on which every pack's search floor is 0.30 and its
1:1 threshold is 0.36. The map is strictly increasing, so it never changes an order.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.decision.comparison import Comparison
from pipeline.errors import Code, PipelineError
from pipeline.evidence import Template

SEARCH_FLOOR_SIMILARITY = 0.30
VERIFY_THRESHOLD_SIMILARITY = 0.36


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """The scale of one embedder, whose templates have `dimension` numbers. `search_floor` and
    `verify_threshold` are native scores.
    """

    model_id: str
    search_floor: float
    verify_threshold: float
    dimension: int

    def __post_init__(self) -> None:
        if not all(low < high for low, high in pairwise(self._native_knots)):
            raise PipelineError(
                Code.FORMAT_INVALID, f"{self.model_id}: -1 < floor < threshold < 1 does not hold"
            )

    @property
    def _native_knots(self) -> tuple[float, ...]:
        return (-1.0, self.search_floor, self.verify_threshold, 1.0)

    @property
    def _similarity_knots(self) -> tuple[float, ...]:
        return (0.0, SEARCH_FLOOR_SIMILARITY, VERIFY_THRESHOLD_SIMILARITY, 1.0)

    def similarity(self, native: float) -> float:
        """Native score to similarity, 0 to 1: linear between the two anchors and the ends."""
        return float(np.interp(native, self._native_knots, self._similarity_knots))

    def native(self, similarity: float) -> float:
        """Similarity to native score: the inverse, for thresholds given by a user."""
        return float(np.interp(similarity, self._similarity_knots, self._native_knots))

    def compare(self, reference: Template, probe: Template) -> Comparison:
        """Compare two templates of this scale's model. Raises `model_mismatch`."""
        for template in (reference, probe):
            if template.model_id != self.model_id:
                raise PipelineError(
                    Code.MODEL_MISMATCH, f"{template.model_id} on the scale of {self.model_id}"
                )
        native = float(np.dot(reference.vector, probe.vector))
        return Comparison(
            native=native,
            similarity=self.similarity(native),
            threshold=VERIFY_THRESHOLD_SIMILARITY,
            is_match=native >= self.verify_threshold,  # on the native score: no rounding between
        )
