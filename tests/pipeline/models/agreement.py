"""What it means that two packs, on whatever runtime and device, see the same faces."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.evidence import Age, FaceEvidence, Mesh, PassiveLiveness, Template
from pipeline.models.load import LoadedPack

COSINE_MIN = 0.999  # of two templates of one photo


def check_close(pack: LoadedPack, other: LoadedPack, photos: Sequence[bytes], slack: float) -> None:
    """Both give the same evidence on `photos`, each of which shows a face.

    With a `slack` of 1 meshes differ by a thousandth of the face at most, ages by a tenth of a
    year and passive liveness by a hundredth; another slack scales these.
    """
    for before, after in zip(pack.faces.run(photos), other.faces.run(photos), strict=True):
        assert isinstance(before, FaceEvidence)
        assert isinstance(after, FaceEvidence)
        assert isinstance(before.template, Template)
        assert isinstance(after.template, Template)
        assert before.template.model_id == after.template.model_id
        assert float(np.dot(before.template.vector, after.template.vector)) >= COSINE_MIN
        assert isinstance(before.mesh, Mesh)
        assert isinstance(after.mesh, Mesh)
        face_px = before.detections[0].box.width_px
        apart_px = np.linalg.norm(before.mesh.points - after.mesh.points, axis=1)
        assert apart_px.max() < slack * face_px / 1000
        assert isinstance(before.age, Age)
        assert isinstance(after.age, Age)
        assert after.age.years == pytest.approx(before.age.years, abs=slack / 10)
        assert type(after.passive_liveness) is type(before.passive_liveness)
        if isinstance(before.passive_liveness, PassiveLiveness):
            assert isinstance(after.passive_liveness, PassiveLiveness)
            expected = before.passive_liveness.score
            assert after.passive_liveness.score == pytest.approx(expected, abs=slack / 100)
