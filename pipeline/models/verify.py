"""Known answers: a built model still computes what it did when its recipe was written."""

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.models.catalog import ModelRecipe
from pipeline.models.manifest import TensorSpec
from pipeline.models.session import OnnxModel

_FREE_SIDE_PX = 256  # for a graph whose spatial size is symbolic
_GOLDEN = 2654435761  # Knuth's multiplicative hash: every byte differs, no generator to pin


def known_input(spec: TensorSpec) -> NDArray[np.uint8] | NDArray[np.float32]:
    """A fixed picture-like input for `spec`: batch 1, bytes from a multiplicative hash."""
    shape = [1, *(axis if isinstance(axis, int) else _FREE_SIDE_PX for axis in spec.shape[1:])]
    counter = np.arange(int(np.prod(shape)), dtype=np.uint64)
    values = ((counter * _GOLDEN) % 2**32 >> 24).astype(np.uint8).reshape(shape)
    return values if spec.dtype == "tensor(uint8)" else values.astype(np.float32)


def known_values(model: OnnxModel, output: str, count: int) -> NDArray[np.float32]:
    """The first `count` values of `output` for the known input, `(count,)` float32."""
    outputs = model.run({spec.name: known_input(spec) for spec in model.inputs})
    if output not in outputs:
        raise PipelineError(Code.PACK_CORRUPT, f"{model.model_id} has no output {output!r}")
    return np.asarray(outputs[output], np.float32).ravel()[:count]


def check_known_answer(model: OnnxModel, recipe: ModelRecipe) -> float:
    """Largest difference to the recipe's known answer, 0.0 when it has none.

    Raises `pack_corrupt` past the tolerance.
    """
    if recipe.known_answer is None:
        return 0.0
    expected = np.asarray(recipe.known_answer.values, np.float32)
    found = known_values(model, recipe.known_answer.output, expected.size)
    if found.shape != expected.shape:
        raise PipelineError(Code.PACK_CORRUPT, f"{recipe.id}: output of {found.size} values")
    worst = float(np.abs(found - expected).max())
    if not worst <= recipe.known_answer.tolerance:  # NaN fails too
        raise PipelineError(Code.PACK_CORRUPT, f"{recipe.id}: known answer differs by {worst:.2e}")
    return worst
