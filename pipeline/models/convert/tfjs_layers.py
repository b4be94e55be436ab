"""The few kinds of layer that the TensorFlow.js models are made of, channels first.

A lowered graph is a list of steps: each names its layer and, by place in the list, the earlier
steps it reads. Shapes are those of the size that the model was published for.
"""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]
Places = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Features by place: `(N, channels, height, width)`.

    `free` says that other pictures than the published size have another height and width here.
    """

    channels: int
    height: int
    width: int
    free: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """Features as vectors: `(N, columns)`, or `(N, any number, columns)` if `many`."""

    columns: int
    many: bool = False


Shape = Grid | Rows


class Plain(Enum):
    """The layers without settings."""

    IMAGE = "image"  # the model's input, colours 0 to 255 of type float32
    SUM = "sum"
    MEAN = "mean"  # over height and width
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"  # over channels or columns
    FLATTEN = "flatten"  # from a grid to rows: place by place, channels varying fastest


@dataclass(frozen=True, slots=True)
class Convolution:
    """`filters` `(out, in / groups, height, width)` and `biases` `(out,)`, both float32.

    With `same`, windows hang over the edges as in TensorFlow's SAME padding: the fewest zeros
    that let every stride begin inside, the odd one at the end. Else they stay inside.
    """

    filters: Weights = field(repr=False)
    biases: Weights = field(repr=False)
    groups: int = 1
    strides: tuple[int, int] = (1, 1)
    same: bool = False


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The maximum over a window, placed as in `Convolution`."""

    window: tuple[int, int]
    strides: tuple[int, int]
    same: bool


@dataclass(frozen=True, slots=True)
class Clamp:
    """`min(max(x, low), high)` with `low <= high`, each possibly infinite."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prelu:
    """x where positive, else x times `slopes`, `(channels,)` float32."""

    slopes: Weights = field(repr=False)


@dataclass(frozen=True, slots=True)
class PadChannels:
    """Channels of zeros in front and behind."""

    before: int
    after: int


Layer = Plain | Convolution | MaxPool | Clamp | Prelu | PadChannels


@dataclass(frozen=True, slots=True)
class Step:
    """One layer; `sources` are the places of the steps it reads, `shape` that of its result."""

    layer: Layer
    sources: Places
    shape: Shape


@dataclass(frozen=True, slots=True)
class Lowered:
    """Steps in order, the first of them the image, and the places of the wanted results, all
    of which are rows.
    """

    steps: tuple[Step, ...]
    wanted: Places
