"""What the flows need from outside: each port a Protocol, its adapters chosen in `serve.app`."""

from collections.abc import Sequence
from typing import Protocol

from pipeline.decision.comparison import Comparison
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Template


class Engine(Protocol):
    """Finds the face in an image and what it says."""

    def run(self, images: Sequence[bytes], /) -> list[FaceEvidence | Failure]:
        """Evidence or failure for each encoded image, in order."""
        ...


class Comparator(Protocol):
    """Compares two templates of one model."""

    def compare(self, reference: Template, probe: Template, /) -> Comparison:
        """How alike they are. Raises `model_mismatch`."""
        ...
