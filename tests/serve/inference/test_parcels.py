"""What travels between doors, engine and replicas comes out as it went in."""

import dataclasses

import numpy as np
import pytest

from pipeline.errors import Code as PipelineCode
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Template
from pipeline.face.steps import AGE, FRAME, FULL, REFERENCE, SELFIE, Plan
from serve.errors import Code, ServeError
from serve.inference.parcels import Answer, Flag, Lapse, Parcel, outcome_of, pack, unpack
from tests.helpers.builders import face_evidence

BROKEN = Failure(PipelineCode.IMAGE_CORRUPT, "ends early")


@pytest.mark.parametrize("answer", [*Lapse, BROKEN, face_evidence(width_px=7)])
def test_an_answer_comes_out_as_it_went_in(answer: Answer) -> None:
    """Evidence, failure and each lapse keep type and value; a lapse is still one of ours."""
    found = unpack(pack(answer))
    assert found == answer
    assert type(found) is type(answer)


def test_templates_and_chips_travel_to_the_bit() -> None:
    """An array has the bytes, type and shape that it was packed with."""
    vector = np.linspace(-1, 1, 128, dtype=np.float32)
    chip = np.arange(150 * 150 * 3, dtype=np.uint32).astype(np.uint8).reshape(150, 150, 3)
    found = unpack(pack(face_evidence(template=Template("m", vector), chip=chip)))
    assert isinstance(found, FaceEvidence)
    assert isinstance(found.template, Template)
    for there, here in ((found.template.vector, vector), (found.chip, chip)):
        assert there is not None
        assert (there.tobytes(), there.dtype, there.shape) == (
            here.tobytes(), here.dtype, here.shape
        )  # fmt: skip


@pytest.mark.parametrize(
    "plan",
    [AGE, FRAME, FULL, REFERENCE, SELFIE, Plan(template=False, passive_liveness=False, age=False)],
)
def test_a_plan_travels_as_a_number(plan: Plan) -> None:
    """Every plan comes out of its flags as it went in, and no two have the same."""
    assert Flag(int(Flag.of(plan))).plan == plan
    assert len(dataclasses.fields(Plan)) == len(Flag)


@pytest.mark.parametrize("answer", [BROKEN, face_evidence()])
def test_what_the_models_found_is_the_outcome(answer: FaceEvidence | Failure) -> None:
    """Evidence is handed on, and a failure is no error of ours."""
    assert outcome_of(answer, 7) is answer


@pytest.mark.parametrize("lapse", Lapse)
def test_a_lapse_may_be_tried_again(lapse: Lapse) -> None:
    """A full queue says when it will have room; whatever else befell the image, soon."""
    with pytest.raises(ServeError) as refused:
        outcome_of(lapse, 7)
    found = refused.value.code, refused.value.retry_after_s
    is_full = lapse is Lapse.OVERLOADED
    assert found == ((Code.OVERLOADED, 7) if is_full else (Code.SERVICE_UNAVAILABLE, 1))
    assert refused.value.detail


def test_no_log_shows_an_image() -> None:
    """The text of a parcel tells of everything but the image in it."""
    parcel = Parcel(b"a face", "ten_a", plan=REFERENCE, remaining_s=1.5)
    assert "a face" not in repr(parcel)
    others = [field.name for field in dataclasses.fields(parcel) if field.name != "image"]
    assert all(repr(getattr(parcel, name)) in repr(parcel) for name in others)
