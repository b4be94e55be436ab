"""dlib itself, as the yardstick of the converted embedder: only where it is installed."""

from pathlib import Path
from typing import Any

from pipeline.evidence import Pixels

try:
    import dlib
except ModuleNotFoundError:  # a development dependency
    dlib = None


class DlibEmbedder:
    """dlib's own network on dlib's own code; one chip a call, as dlib's users call it."""

    def __init__(self, weights: Path) -> None:
        self._net: Any = dlib.face_recognition_model_v1(str(weights))

    @staticmethod
    def is_available() -> bool:
        """Whether dlib can be imported."""
        return dlib is not None

    def embed(self, chip: Pixels) -> object:
        """The raw template of one `(150, 150, 3)` uint8 RGB chip."""
        return self._net.compute_face_descriptor(chip)
