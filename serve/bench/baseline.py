"""dlib itself, as the yardstick of the converted embedder: only where it is installed."""

import tempfile
from pathlib import Path
from typing import Any

from pipeline.evidence import Pixels
from pipeline.models.archive import read_members
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import Format, read_recipe
from pipeline.models.fetch import obtain
from pipeline.models.load import DEFAULT_PACK

try:
    import dlib
except ModuleNotFoundError:  # a development dependency
    dlib = None


class DlibEmbedder:
    """dlib's own network on dlib's own code; one chip a call, as dlib's users call it."""

    def __init__(self, weights: Path) -> None:
        self._net: Any = dlib.face_recognition_model_v1(str(weights))

    def embed(self, chip: Pixels) -> object:
        """The raw template of one `(150, 150, 3)` uint8 RGB chip."""
        return self._net.compute_face_descriptor(chip)


def dlib_embedder(cache: ModelCache) -> DlibEmbedder | None:
    """dlib with the weights the default pack was made from; None where dlib is not installed.

    The archive comes from the cache, or from its registry if it was removed there.
    """
    if dlib is None:
        return None
    recipe = read_recipe(DEFAULT_PACK)
    model = next(model for model in recipe.model if model.format is Format.DLIB_RESNET)
    archive = obtain(recipe.source_of(model), cache, None, lambda *_: None)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.dat"
        weights.write_bytes(read_members(archive, model.members)[0])
        return DlibEmbedder(weights)
