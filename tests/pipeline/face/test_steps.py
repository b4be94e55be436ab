"""The whole path in batches: an item's result is its own, whatever surrounds it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import Code, Failure, PipelineError
from pipeline.evidence import (
    Age,
    FaceEvidence,
    Feedback,
    Mesh,
    Missing,
    Pixels,
    Template,
    Trace,
)
from pipeline.face.batch import up_to
from pipeline.face.embed import make_templates
from pipeline.face.steps import AGE, FRAME, REFERENCE, SELFIE, FacePipeline, Plan
from pipeline.image.decode import encode_jpeg, encode_png
from pipeline.models.load import LoadedPack
from pipeline.ports import Arrays, Model

pytestmark = pytest.mark.models

GREY = np.full((240, 320, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def photos(tiles: list[list[Pixels]]) -> list[bytes]:
    """Nine different faces."""
    return [encode_png(tiles[row][column]) for row in (0, 3, 5) for column in (0, 7, 13)]


def evidence(outcome: FaceEvidence | Failure) -> FaceEvidence:
    """`outcome`, which is no failure."""
    assert isinstance(outcome, FaceEvidence)
    return outcome


def template(outcome: FaceEvidence | Failure) -> NDArray[np.float32]:
    """The vector of an outcome that has one."""
    found = evidence(outcome).template
    assert isinstance(found, Template)
    return found.vector


@pytest.mark.parametrize("batch", [2, 3, 5, 9])
def test_batch_changes_no_template(pack: LoadedPack, photos: list[bytes], batch: int) -> None:
    """The same bytes give the same template alone and in a batch of any size, at any place."""
    alone = [template(pack.faces.run([data])[0]) for data in photos]
    for start in range(0, len(photos), batch):
        together = pack.faces.run(photos[start : start + batch])
        for before, outcome in zip(alone[start:], together, strict=False):
            assert float(np.dot(before, template(outcome))) >= 0.9999


BAD = {
    "empty": b"",
    "text": b"not an image at all",
    "cut": encode_jpeg(GREY, 85)[:400],
    "faceless": encode_png(GREY),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_neighbours_errors_change_no_byte(
    pack: LoadedPack, photos: list[bytes], bad: bytes
) -> None:
    """Whatever is wrong with one item, the others' results are equal to the byte."""
    clean = pack.faces.run(photos[:4])
    mixed = pack.faces.run([photos[0], bad, photos[1], bad, photos[2], photos[3], bad])
    kept = [mixed[place] for place in (0, 2, 4, 5)]
    for before, after in zip(clean, kept, strict=True):
        assert template(before).tobytes() == template(after).tobytes()
        first, second = evidence(before), evidence(after)
        assert isinstance(first.mesh, Mesh)
        assert isinstance(second.mesh, Mesh)
        assert first.mesh.points.tobytes() == second.mesh.points.tobytes()
        assert first.age == second.age
        assert first.quality == second.quality


def test_every_item_has_one_result(pack: LoadedPack, photos: list[bytes]) -> None:
    """Results stand in the order of the items: evidence, or that item's own failure."""
    found = pack.faces.run([BAD["text"], photos[0], BAD["cut"], BAD["faceless"]])
    assert isinstance(found[0], Failure)
    assert found[0].code is Code.NOT_AN_IMAGE
    assert evidence(found[1]).detections
    assert isinstance(found[2], Failure)
    assert found[2].code is Code.IMAGE_CORRUPT
    assert evidence(found[3]).feedback == (Feedback.FACE_NOT_FOUND,)
    assert pack.faces.run([]) == []


def test_absence_says_why(pack: LoadedPack, photos: list[bytes]) -> None:
    """What was not asked for, not found or not installed is told apart, and never a number."""
    faceless = evidence(pack.faces.run([BAD["faceless"]])[0])
    assert faceless.template is Missing.NO_FACE
    assert faceless.age is Missing.NO_FACE
    assert faceless.passive_liveness is Missing.MODEL_UNAVAILABLE
    frame = evidence(pack.faces.run([photos[0]], Plan(template=False, age=False))[0])
    assert frame.template is Missing.NOT_REQUESTED
    assert frame.age is Missing.NOT_REQUESTED
    bare = FacePipeline(replace(pack.models, age=None))
    assert evidence(bare.run([photos[0]])[0]).age is Missing.MODEL_UNAVAILABLE
    no_liveness = evidence(pack.faces.run([photos[0]], Plan(passive_liveness=False))[0])
    assert no_liveness.passive_liveness is Missing.NOT_REQUESTED


def test_a_frame_is_looked_at_cheaply(pack: LoadedPack, photos: list[bytes]) -> None:
    """A frame of a clip has mesh, pose, hints and a trace, and no dearer model saw it."""
    (found,) = pack.faces.run([photos[0]], FRAME)
    frame = evidence(found)
    dear = (frame.template, frame.age, frame.passive_liveness)
    assert dear == (Missing.NOT_REQUESTED,) * 3
    assert isinstance(frame.trace, Trace)
    assert isinstance(frame.mesh, Mesh)
    assert frame.feedback == evidence(pack.faces.run([photos[0]], SELFIE)[0]).feedback


def test_each_image_has_its_own_plan(pack: LoadedPack, photos: list[bytes]) -> None:
    """In a batch of mixed plans each item comes to what it comes to among its like."""
    plans = [SELFIE, FRAME, AGE, REFERENCE]
    mixed = pack.faces.complete(pack.faces.prepare(photos[:4]), plans)
    for plan, photo, outcome in zip(plans, photos, mixed, strict=False):
        alone, together = evidence(pack.faces.run([photo], plan)[0]), evidence(outcome)
        for name in ("template", "age", "passive_liveness", "trace"):
            assert type(getattr(alone, name)) is type(getattr(together, name))
            assert isinstance(getattr(together, name), Missing) or getattr(plan, name)
        assert (alone.feedback, together.chip is None) == (together.feedback, not plan.chip)
        if plan.template:
            assert float(np.dot(template(alone), template(together))) >= 0.9999


class FailsOn:
    """A model that fails whenever its batch holds an array equal to `poison`."""

    def __init__(self, model: Model, poison: NDArray[Any]) -> None:
        self._model = model
        self._poison = poison
        self.model_id = model.model_id

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The model's answer, or a device error for the whole batch."""
        for batch in inputs.values():
            if any(np.array_equal(item, self._poison) for item in batch):
                raise PipelineError(Code.DEVICE_ERROR, "poisoned batch")
        return self._model.run(inputs)


class Remembers:
    """A model that keeps the inputs it was run on."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.model_id = model.model_id
        self.seen: list[NDArray[Any]] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The model's answer."""
        self.seen += [np.array(item) for batch in inputs.values() for item in batch]
        return self._model.run(inputs)


@pytest.mark.parametrize("stage", ["detection", "mesh", "embedding", "age"])
def test_device_error_is_isolated(pack: LoadedPack, photos: list[bytes], stage: str) -> None:
    """A batch that a model fails on is split until the one bad item bears the error alone."""
    detection = pack.models.detection
    model = detection.first if stage == "detection" else getattr(pack.models, stage)

    def with_model(other: Model) -> FacePipeline:
        part = replace(detection, first=other) if stage == "detection" else other
        swapped: dict[str, Any] = {stage: part}
        return FacePipeline(replace(pack.models, **swapped))

    remembering = Remembers(model)
    with_model(remembering).run([photos[2]])
    clean = pack.faces.run(photos[:5])
    found = with_model(FailsOn(model, remembering.seen[0])).run(photos[:5])
    assert isinstance(found[2], Failure)
    assert found[2].code is Code.DEVICE_ERROR
    for place in (0, 1, 3, 4):
        assert template(found[place]).tobytes() == template(clean[place]).tobytes()


def test_small_face_in_a_large_photo_is_decoded_again(pack: LoadedPack, astronaut: Pixels) -> None:
    """A face too small at the detector's scale is cut from more pixels, not blown up."""
    large = np.kron(astronaut[:420, 60:420], np.ones((8, 8, 1), np.uint8))
    near, far = pack.faces.run([encode_jpeg(astronaut, 95), encode_jpeg(large, 95)])
    assert float(np.dot(template(near), template(far))) >= pack.scale.verify_threshold
    assert evidence(far).width_px == large.shape[1]
    box = evidence(far).detections[0].box
    assert 0 <= box.left_px < box.right_px <= large.shape[1]
    assert box.width_px > 8 * 60  # full-size pixels, not those of the reduced picture


def test_age_has_an_interval_around_it(pack: LoadedPack, photos: list[bytes]) -> None:
    """An age comes with its interval and the belief the interval covers."""
    for outcome in pack.faces.run(photos):
        age = evidence(outcome).age
        assert isinstance(age, Age)
        assert 0 <= age.low_years < age.years < age.high_years <= 100
        assert age.coverage == pytest.approx(0.8)


def test_the_chip_comes_only_when_asked_for(pack: LoadedPack, photos: list[bytes]) -> None:
    """The aligned face is in the evidence of a plan that names it, and not of any other."""
    (found,) = pack.faces.run([photos[0]], Plan(chip=True))
    chip = evidence(found).chip
    assert chip is not None
    assert chip.shape == (150, 150, 3)
    assert chip.dtype == np.uint8
    (vector,) = make_templates(pack.models.embedding, [chip], up_to(1))
    assert float(np.dot(vector.vector, template(found))) >= 0.9999
    assert evidence(pack.faces.run([photos[0]])[0]).chip is None


def test_evidence_hides_biometric_data(pack: LoadedPack, photos: list[bytes]) -> None:
    """The repr of evidence holds no landmark, no template value and no pixel."""
    text = repr(pack.faces.run([photos[0]], Plan(chip=True))[0])
    assert "array(" not in text
    assert "dlib-resnet-128.1" in text
