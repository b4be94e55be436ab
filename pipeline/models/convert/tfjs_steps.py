"""A growing list of layers that keeps itself short and checks that everything fits.

What can be computed by the step before becomes part of it: scales and shifts by channel of a
convolution, clamps of a clamp. Only a step that nothing else reads may change like that, so the
list counts readers.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.convert.tfjs_format import Array
from pipeline.models.convert.tfjs_layers import (
    Clamp,
    Convolution,
    Grid,
    Layer,
    Places,
    Plain,
    Prelu,
    Rows,
    Shape,
    Step,
    Weights,
)
from pipeline.models.convert.untrusted_json import check_size, invalid, unsupported

CHANNELS_MAX = 4096  # of one value; 1404 in the models we convert
WINDOW_MAX = 16  # of windows and strides; 5
PARAMETERS_MAX = 1 << 24  # of all convolutions, since they may share a constant; 3.5 million


class Steps:
    """Methods that add a layer return the place of its result.

    They raise `format_invalid` for weights and shapes that do not fit, `format_unsupported` for
    an arrangement Limen does not know, and `format_too_large`.
    """

    def __init__(self, input_scale: float) -> None:
        self._input_scale = input_scale
        self._steps: list[Step] = []
        self._readers: list[int] = []  # how often each step is read, by place
        self._parameters = 0

    def __len__(self) -> int:
        return len(self._steps)

    def finished(self) -> tuple[Step, ...]:
        """All steps; exactly one of them is the image."""
        if [step.layer for step in self._steps].count(Plain.IMAGE) != 1:
            raise unsupported("not exactly one input")
        return tuple(self._steps)

    def shape(self, place: int) -> Shape:
        """The shape of the result at `place`."""
        return self._steps[place].shape

    def grid(self, place: int) -> Grid:
        """The shape at `place`, which has a height and a width."""
        shape = self._steps[place].shape
        if not isinstance(shape, Grid):
            raise unsupported(f"{shape} where features by place are expected")
        return shape

    def pooled(self, place: int) -> Grid:
        """The shape at `place`, of height and width 1 whatever the picture."""
        grid = self.grid(place)
        if grid.free or (grid.height, grid.width) != (1, 1):
            raise unsupported(f"{grid} where pooled features are expected")
        return grid

    def settle(self, place: int, uses: int, *, is_new: bool) -> None:
        """The result at `place` got a name that is read `uses` times.

        Where a node became part of an earlier step, it was one of that step's readers itself.
        """
        others = 0 if is_new else self._readers[place] - 1
        self._readers[place] = others + uses

    def add(self, layer: Layer, sources: Places, shape: Shape) -> int:
        """A new step, read once until settled."""
        reads_image = any(self._steps[place].layer is Plain.IMAGE for place in sources)
        if reads_image and not isinstance(layer, Convolution):  # which alone applies its scale
            raise unsupported("an input that is read by something other than a convolution")
        channels = shape.channels if isinstance(shape, Grid) else shape.columns
        check_size(channels, CHANNELS_MAX, "channels")
        self._steps.append(Step(layer, sources, shape))
        self._readers.append(1)
        return len(self._steps) - 1

    def convolved(self, place: int, layer: Convolution) -> int:
        """A convolution; the one on the image also applies the image's scale."""
        grid = self.grid(place)
        outputs, inputs, *window = layer.filters.shape
        if inputs * layer.groups != grid.channels or layer.biases.shape != (outputs,):
            raise invalid(f"filters {layer.filters.shape} over {grid.channels} channels")
        self._parameters += layer.filters.size
        check_size(self._parameters, PARAMETERS_MAX, "parameters")
        if self._steps[place].layer is Plain.IMAGE:
            layer = replace(layer, filters=float32(layer.filters * np.float64(self._input_scale)))
        shape = slid(replace(grid, channels=outputs), window, layer.strides, same=layer.same)
        return self.add(layer, (place,), shape)

    def scaled(self, place: int, factors: Array) -> int:
        """The product with `factors`, by channel."""
        gains = by_channel(factors, self.grid(place))
        return self._affine(place, gains, np.zeros_like(gains))

    def shifted(self, place: int, terms: Array) -> int:
        """The sum with `terms`, by channel."""
        shifts = by_channel(terms, self.grid(place))
        return self._affine(place, np.ones_like(shifts), shifts)

    def _affine(self, place: int, gains: Weights, shifts: Weights) -> int:
        layer = self._steps[place].layer
        factors = gains.astype(np.float64)
        column = factors[:, np.newaxis, np.newaxis, np.newaxis]
        if not isinstance(layer, Convolution) or self._readers[place] != 1:
            alone = Convolution(float32(column), shifts, groups=gains.size)
            return self.convolved(place, alone)
        filters = float32(layer.filters * column)
        biases = float32(layer.biases * factors + shifts)
        return self._amended(place, replace(layer, filters=filters, biases=biases))

    def clamped(self, place: int, low: float, high: float) -> int:
        """Values clamped. Of two clamps in a row, the second moves the bounds of the first."""
        step = self._steps[place]
        if not isinstance(step.layer, Clamp) or self._readers[place] != 1:
            return self.add(Clamp(low, high), (place,), step.shape)
        moved = (min(max(bound, low), high) for bound in (step.layer.low, step.layer.high))
        return self._amended(place, Clamp(*moved))

    def sloped(self, place: int, slopes: Array) -> int:
        """Negative values times `slopes`, by channel."""
        grid = self.grid(place)
        return self.add(Prelu(by_channel(slopes, grid)), (place,), grid)

    def published(self, place: int) -> int:
        """The result at `place` as rows; pooled features become one row."""
        if isinstance(self._steps[place].shape, Rows):
            return place
        return self.add(Plain.FLATTEN, (place,), Rows(self.pooled(place).channels))

    def _amended(self, place: int, layer: Layer) -> int:
        self._steps[place] = replace(self._steps[place], layer=layer)
        return place


def slid(grid: Grid, window: Sequence[int], strides: Sequence[int], *, same: bool) -> Grid:
    """`grid` as seen through a window that moves over it."""
    sides = []
    for side, width, stride in zip((grid.height, grid.width), window, strides, strict=True):
        check_size(max(width, stride), WINDOW_MAX, "places in a window or stride")
        if same and width < stride and max(window) > 1:  # ONNX Runtime would crop what is between
            raise unsupported(f"a window of {width} moving by {stride} over the edges")
        if side < width and not same:
            raise invalid(f"a window of {width} over {side} places")
        sides.append(-(-side // stride) if same else (side - width) // stride + 1)
    return replace(grid, height=sides[0], width=sides[1])


def by_channel(values: Array, grid: Grid) -> Weights:
    """`values` as `(channels,)`: one number for all, or one each along the last axis."""
    if values.size != 1 and (values.shape[-1], values.size) != (grid.channels, grid.channels):
        raise unsupported(f"a constant of shape {values.shape} over {grid}")
    return float32(np.broadcast_to(values.reshape(-1), grid.channels))


def float32(values: NDArray[Any]) -> Weights:
    """Weights, possibly computed in float64, as the float32 they are used in."""
    with np.errstate(over="ignore"):  # refused below
        narrowed: Weights = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(narrowed).all():
        raise invalid("weights whose product is beyond float32")
    return narrowed
