"""Ports to the models: what finds and compares faces."""

from collections.abc import Sequence
from typing import Protocol

from pipeline.decision.comparison import Comparison
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Template
from pipeline.face.steps import SELFIE, Plan


class Engine(Protocol):
    """Finds the face in an image and what it says."""

    def run(self, images: Sequence[bytes], /) -> list[FaceEvidence | Failure]:
        """Evidence or failure for each encoded image, in order."""
        ...


class Faces(Protocol):
    """The same for a service: one image of one request, batched behind this port."""

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """Raises what `examine` would raise at once for an image of this tenant; reserves nothing.

        For the door to ask before it reads a body. `let_in` are the images that it has let in
        and not answered yet: those that are not asked about are on their way.
        """
        ...

    def wait_s(self, tenant_id: str) -> float:
        """Seconds that an image of this tenant would wait for the models, if it came now.

        By what waits, whose turn it is and how fast images were done of late; 0 where nothing is
        known of that.
        """
        ...

    async def examine(
        self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE
    ) -> FaceEvidence | Failure:
        """Evidence or failure, of what `plan` asks for.

        Raises `overloaded` when the queue is full and this tenant has its share of it, and
        `service_unavailable` when no answer came in time or the engine cannot be reached.
        """
        ...


class Comparator(Protocol):
    """Compares two templates of one model, and tells scores and scale of it."""

    def compare(self, reference: Template, probe: Template, /) -> Comparison:
        """How alike they are. Raises `model_mismatch`."""
        ...

    @property
    def dimension(self) -> int:
        """How many numbers a template of the model has."""
        ...

    def similarity(self, native: float) -> float:
        """A native score on the mapped scale, 0 to 1."""
        ...

    def native(self, similarity: float) -> float:
        """The native score that maps there."""
        ...
