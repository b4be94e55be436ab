"""The mapped scale keeps every order, and never compares across models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PipelineError
from pipeline.evidence import Template
from pipeline.face.compare import ScoreScale

SCALE = ScoreScale("model.1", search_floor=0.9, verify_threshold=0.914, dimension=2)
NATIVE = st.floats(-1, 1)


def template(*values: float, model_id: str = "model.1") -> Template:
    """A unit-norm template."""
    vector = np.array(values, np.float32)
    return Template(model_id, vector / np.linalg.norm(vector))


def test_anchors_of_the_map() -> None:
    """Every pack's search floor is 0.30 and its 1:1 threshold 0.36 on the mapped scale."""
    assert SCALE.similarity(0.9) == pytest.approx(0.30, abs=1e-12)
    assert SCALE.similarity(0.914) == pytest.approx(0.36, abs=1e-12)
    assert SCALE.similarity(-1) == 0
    assert SCALE.similarity(1) == 1
    assert SCALE.similarity(1.0000001) == 1  # a dot product may overshoot


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=2, unique=True))
def test_map_is_strictly_increasing(pair: list[int]) -> None:
    """A higher native score is a higher similarity, without ties."""
    low, high = sorted(value / 10_000 for value in pair)
    assert SCALE.similarity(low) < SCALE.similarity(high)


@given(NATIVE)
def test_map_and_inverse_agree(native: float) -> None:
    """A threshold given as similarity means the native score it came from."""
    assert SCALE.native(SCALE.similarity(native)) == pytest.approx(native, abs=1e-9)


def test_match_is_decided_at_the_threshold() -> None:
    """A score at the threshold matches, one just below does not."""
    threshold = SCALE.verify_threshold
    for native, is_match in ((threshold + 1e-3, True), (threshold - 1e-3, False)):
        pair = template(1, 0), template(native, np.sqrt(1 - native**2))
        found = SCALE.compare(*pair)
        assert found.is_match is is_match
        assert (found.similarity >= found.threshold) is is_match


def test_templates_of_another_model_are_refused() -> None:
    """Comparing templates of two models is an error, never a score."""
    with pytest.raises(PipelineError) as refused:
        SCALE.compare(template(1, 0), template(1, 0, model_id="model.2"))
    assert refused.value.code is Code.MODEL_MISMATCH


@pytest.mark.parametrize("knots", [(0.9, 0.9), (0.95, 0.9), (-1.0, 0.5), (0.5, 1.0)])
def test_scale_that_could_not_increase_is_refused(knots: tuple[float, float]) -> None:
    """Floor and threshold that leave no room for a strictly increasing map are refused."""
    with pytest.raises(PipelineError) as refused:
        ScoreScale("model.1", *knots, dimension=2)
    assert refused.value.code is Code.FORMAT_INVALID


def test_template_hides_its_numbers() -> None:
    """A template's repr names its model and none of its values."""
    assert repr(template(1, 0)) == "Template(model_id='model.1')"
