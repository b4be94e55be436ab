"""YuNet in BlazeFace's place: the same people are found to be the same."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.face import yunet
from pipeline.face.batch import up_to
from pipeline.image.decode import encode_png
from pipeline.models.build import build_pack
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import read_recipe
from pipeline.models.load import Detector, LoadedPack, load_faces
from tests.fixtures import silent

pytestmark = [pytest.mark.models, pytest.mark.shared]

SAME_TEMPLATE_MIN = 0.99  # cosine between templates that differ in the detector alone


@pytest.fixture(scope="module")
def with_yunet(
    model_cache: ModelCache, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> LoadedPack:
    """The default pack with YuNet, pulled from the mirror."""
    cache = ModelCache(tmp_path_factory.mktemp("yunet"))
    build_pack(read_recipe("yunet"), cache, shared / "weights", silent)
    cache.pack_dir("default").symlink_to(model_cache.pack_dir("default"))
    return load_faces(cache, Detector.YUNET)


def test_templates_are_those_of_the_default(
    with_yunet: LoadedPack, pack: LoadedPack, johns: list[tuple[str, bytes]]
) -> None:
    """The mesh decides the alignment: a box of another detector hardly moves the template."""
    photos = [data for _, data in johns]
    cosines = []
    for first, second in zip(pack.faces.run(photos), with_yunet.faces.run(photos), strict=True):
        assert isinstance(first, FaceEvidence)
        assert isinstance(second, FaceEvidence)
        assert isinstance(first.template, Template)
        assert isinstance(second.template, Template)
        cosines.append(pack.scale.compare(first.template, second.template).native)
    print(f"{len(cosines)} photos, least cosine {min(cosines):.4f}")
    assert min(cosines) >= SAME_TEMPLATE_MIN


def test_tiles_are_found(with_yunet: LoadedPack, tiles: list[list[Pixels]]) -> None:
    """At least 100 of the 108 tiles are enrolled."""
    outcomes = with_yunet.faces.run([encode_png(tile) for row in tiles for tile in row])
    found = [
        o for o in outcomes if isinstance(o, FaceEvidence) and isinstance(o.template, Template)
    ]
    print(f"{len(found)} of 108 tiles")
    assert len(found) >= 100


def test_key_points_are_where_the_mesh_has_them(
    with_yunet: LoadedPack, tiles: list[list[Pixels]]
) -> None:
    """Eyes, nose and mouth of the detector lie within a tenth of the box of the mesh's."""
    (outcome,) = with_yunet.faces.run([encode_png(tiles[0][0])])
    assert isinstance(outcome, FaceEvidence)
    points = getattr(outcome.mesh, "points", np.zeros((468, 3), np.float32))[:, :2]
    expected = [points[[33, 133]].mean(0), points[[263, 362]].mean(0), points[4], points[13]]
    face = outcome.detections[0]
    assert face.keypoints.shape == (4, 2)
    distances = np.linalg.norm(face.keypoints - np.array(expected), axis=1)
    assert distances.max() < 0.1 * face.box.width_px


def test_noise_holds_no_face(with_yunet: LoadedPack) -> None:
    """Pure noise at any input size ends without a face and without a warning."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    found = yunet.find_candidates(with_yunet.models.detection.first, [noise], 0.5, up_to(1))
    assert found[0][0].shape == (0, 6, 2)
