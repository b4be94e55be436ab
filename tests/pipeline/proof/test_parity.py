"""The converted embedder against dlib itself, on chips that Limen's own chain cut."""

from pathlib import Path

import dlib
import numpy as np
import pytest

from pipeline.evidence import FaceEvidence, Mesh, Pixels
from pipeline.face.align import cut_chip
from pipeline.image.decode import encode_png
from pipeline.models.load import LoadedPack

pytestmark = pytest.mark.models

CHIPS_MIN = 20
DIFFERENCE_MAX = 1e-5


def test_embedding_is_dlibs(pack: LoadedPack, tiles: list[list[Pixels]], dlib_dat: Path) -> None:
    """On at least 20 real chips of our own chain no value differs from dlib's by over 1e-5."""
    pictures = [tile for row in tiles[::2] for tile in row[::2]]
    outcomes = pack.faces.run([encode_png(picture) for picture in pictures])
    chips = [
        cut_chip(picture, outcome.mesh)
        for picture, outcome in zip(pictures, outcomes, strict=True)
        if isinstance(outcome, FaceEvidence) and isinstance(outcome.mesh, Mesh)
    ]
    assert len(chips) >= CHIPS_MIN
    ours = pack.models.embedding.run({"chips": np.stack(chips)})["embedding"]
    original = dlib.face_recognition_model_v1(str(dlib_dat))
    theirs = np.array([original.compute_face_descriptor(chip) for chip in chips])
    worst = np.abs(ours - theirs).max()
    print(f"{len(chips)} chips, max |difference| {worst:.1e}")
    assert worst <= DIFFERENCE_MAX
