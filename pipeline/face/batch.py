"""Runs of a model over any number of items, in batches of the sizes that suit the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import Arrays, Model


@dataclass(frozen=True, slots=True)
class Buckets:
    """How many items one run of a model takes: at most the last of `sizes`, which ascend.

    With `is_padded` a run takes exactly one of `sizes`; a batch in between is filled up with
    copies of its last item. Without it every size up to the last is as good, and `sizes` are
    those worth a run before the first request.
    """

    sizes: tuple[int, ...]
    is_padded: bool = False

    @property
    def items_max(self) -> int:
        """Items of one run at most."""
        return self.sizes[-1]

    def size_of(self, items: int) -> int:
        """The size of the run that `items` of them take, 1 to `items_max`."""
        if not self.is_padded:
            return items
        return next(size for size in self.sizes if size >= items)


def up_to(items_max: int) -> Buckets:
    """Runs of any size up to `items_max`."""
    return Buckets(tuple(sorted({1, items_max})))


def padded_to(items_max: int) -> Buckets:
    """Runs of 1, 2, 4, ... `items_max` items, itself a power of two."""
    return Buckets(tuple(2**i for i in range(items_max.bit_length())), is_padded=True)


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """The sizes in which each task's model is run."""

    detection: Buckets
    mesh: Buckets
    embedding: Buckets
    age: Buckets
    passive_liveness: Buckets


# What was fastest on a CPU, one thread a session: there a batch only saves the fixed cost of a
# run, a graph of large feature maps loses more to the cache than that, and padding is work.
CPU = BatchSizes(up_to(1), up_to(8), up_to(16), up_to(1), up_to(8))
# A GPU has cores to spare for padding, but plans each new shape of input anew: few shapes, all
# of them met while warming up.
GPU = BatchSizes(*[padded_to(64)] * 5)


def run_batched(model: Model, name: str, items: Sequence[NDArray[Any]], buckets: Buckets) -> Arrays:
    """The outputs of `model` for `items`, stacked as its input `name`, in order.

    `items` are alike in shape and dtype and there is at least one. Raises what the model raises.
    """
    runs = [
        _run(model, name, items[start : start + buckets.items_max], buckets)
        for start in range(0, len(items), buckets.items_max)
    ]
    if len(runs) == 1:
        return runs[0]
    return {output: np.concatenate([run[output] for run in runs]) for output in runs[0]}


def _run(model: Model, name: str, items: Sequence[NDArray[Any]], buckets: Buckets) -> Arrays:
    count = len(items)
    padding = [items[-1]] * (buckets.size_of(count) - count)
    outputs = model.run({name: np.stack([*items, *padding])})
    if not padding:
        return outputs
    return {output: rows[:count] for output, rows in outputs.items()}
