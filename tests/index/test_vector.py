"""Vectors: what is a template, and what is refused by which code."""

import numpy as np
import pytest

from index.arena import Arena
from index.entry import Vector
from index.errors import Code, VectorError
from index.vector import checked
from tests.index.templates import People

GOOD = People(8).strangers(1)[0]


def with_value(value: float) -> Vector:
    bad: Vector = GOOD.copy()
    bad[3] = value
    return bad


BAD = {
    "too short": (GOOD[:7], Code.WRONG_DIMENSION),
    "too long": (np.append(GOOD, np.float32(0)), Code.WRONG_DIMENSION),
    "nothing": (GOOD[:0], Code.WRONG_DIMENSION),
    "a matrix": (GOOD.reshape(2, 4), Code.WRONG_DIMENSION),
    "NaN": (with_value(np.nan), Code.NOT_FINITE),
    "infinity": (with_value(np.inf), Code.NOT_FINITE),
    "zero": (np.zeros(8, np.float32), Code.NOT_UNIT),
    "too far out": (GOOD * np.float32(1.0011), Code.NOT_UNIT),
    "too far in": (GOOD * np.float32(0.9989), Code.NOT_UNIT),
    "huge": (with_value(3e38), Code.NOT_UNIT),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_template_is_refused(name: str) -> None:
    """By its code, to be indexed as to be searched for; the detail quotes no number of it."""
    vector, code = BAD[name]
    arena = Arena(8)
    with pytest.raises(VectorError) as refused:
        arena.add("fac_1", "ann", 0, vector)
    assert refused.value.code is code
    assert not any(
        str(number) in refused.value.detail for number in vector.flat if 0 < abs(number) < 1
    )
    if vector.ndim == 1:
        with pytest.raises(VectorError) as refused:
            arena.search(vector[np.newaxis], [0.0], [1], [""])
        assert refused.value.code is code
    assert (arena.live, arena.rows) == (0, 0)


@pytest.mark.parametrize("factor", [0.9991, 1.0, 1.0009])
def test_a_norm_of_nearly_one_will_do(factor: float) -> None:
    """Templates are taken as they come within a thousandth, and as float32 whatever they were."""
    taken = checked((GOOD.astype(np.float64) * factor)[::-1])
    assert taken.dtype == np.float32
    assert taken.flags.c_contiguous
    assert np.allclose(taken, GOOD[::-1] * factor)
