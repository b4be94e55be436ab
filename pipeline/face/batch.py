"""Runs of a model over any number of items, in batches of the size that suits the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import Arrays, Model


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """Items that one run of each model takes at most.

    The defaults are what was fastest on a CPU, one thread a session: there a batch only saves
    the fixed cost of a run, and a graph of large feature maps loses more to the cache than that.
    """

    detection: int = 1
    mesh: int = 8
    embedding: int = 16
    age: int = 1
    passive_liveness: int = 8


def run_batched(model: Model, name: str, items: Sequence[NDArray[Any]], batch_max: int) -> Arrays:
    """The outputs of `model` for `items`, stacked as its input `name`, in order.

    `items` are alike in shape and dtype and there is at least one. Raises what the model raises.
    """
    runs = [
        model.run({name: np.stack(items[start : start + batch_max])})
        for start in range(0, len(items), batch_max)
    ]
    if len(runs) == 1:
        return runs[0]
    return {output: np.concatenate([run[output] for run in runs]) for output in runs[0]}
