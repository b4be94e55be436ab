"""Passive presentation attack detection on a live capture, a print and a replay."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.evidence import FaceEvidence, Missing, PassiveLiveness
from pipeline.face.liveness import CroppedModel
from pipeline.face.steps import FacePipeline
from pipeline.models.load import LoadedPack

pytestmark = [pytest.mark.models, pytest.mark.shared]


@pytest.fixture(scope="module")
def with_liveness(pack: LoadedPack, liveness_models: tuple[CroppedModel, ...]) -> FacePipeline:
    """The default pack's pipeline with MiniFASNet added."""
    return FacePipeline(replace(pack.models, passive_liveness=liveness_models))


@pytest.mark.parametrize(("photo", "is_bona_fide"), [("T1", True), ("F1", False), ("F2", False)])
def test_live_passes_and_attacks_fail(
    photo: str, is_bona_fide: bool, with_liveness: FacePipeline, shared: Path
) -> None:
    """The live photo is bona fide; the print and the tablet replay are not."""
    data = (shared / "faces" / "liveness" / f"image_{photo}.jpg").read_bytes()
    (outcome,) = with_liveness.run([data])
    assert isinstance(outcome, FaceEvidence)
    assert isinstance(outcome.passive_liveness, PassiveLiveness)
    print(f"{photo}: {outcome.passive_liveness.score:.3f}")
    assert outcome.passive_liveness.is_bona_fide is is_bona_fide


def test_batch_changes_no_score(with_liveness: FacePipeline, shared: Path) -> None:
    """A capture scores alike alone and beside others."""
    data = [path.read_bytes() for path in sorted((shared / "faces" / "liveness").glob("*.jpg"))]
    together = with_liveness.run(data)
    for alone, other in zip(data, together, strict=True):
        (single,) = with_liveness.run([alone])
        assert isinstance(single, FaceEvidence)
        assert isinstance(other, FaceEvidence)
        assert isinstance(single.passive_liveness, PassiveLiveness)
        assert isinstance(other.passive_liveness, PassiveLiveness)
        assert single.passive_liveness.score == pytest.approx(
            other.passive_liveness.score, abs=1e-5
        )


def test_without_the_pack_it_is_unavailable(pack: LoadedPack, shared: Path) -> None:
    """Without MiniFASNet no score is invented: the evidence says the model is unavailable."""
    data = (shared / "faces" / "liveness" / "image_T1.jpg").read_bytes()
    (outcome,) = pack.faces.run([data])
    assert isinstance(outcome, FaceEvidence)
    assert outcome.passive_liveness is Missing.MODEL_UNAVAILABLE
