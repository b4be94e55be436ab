"""Writes a TensorFlow.js graph as ONNX: bytes of pictures in, any batch, often any size.

The graph computes what the original does, in the forms that ONNX Runtime computes fastest. On a
CPU it keeps channels in blocks and fuses sums and clamps into convolutions, but leaves that
layout, at the price of two copies, for what it cannot do in blocks: PRelu, Pad, and pooling over
channels that do not fill blocks. The first two are written as 1x1 convolutions, and the third is
followed by one that does nothing but bring the result back to blocks. With that, the face mesh
takes 1.05 ms in place of 3.7 (one thread with AVX-512, onnxruntime 1.31, batch 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.models.convert.onnx_graph import BATCH, FLOAT, GraphWriter
from pipeline.models.convert.tfjs_format import TfjsGraph
from pipeline.models.convert.tfjs_layers import (
    Clamp,
    Convolution,
    Grid,
    Lowered,
    MaxPool,
    PadChannels,
    Plain,
    Prelu,
    Rows,
    Step,
)
from pipeline.models.convert.tfjs_lower import lower

CHANNELS_IN_BLOCK = 16  # with AVX-512; 8 on other x86
SELECTION_ELEMENTS_MAX = 1 << 15  # of a convolution that only moves channels


@dataclass(frozen=True, slots=True)
class Output:
    """What to publish: the results of `nodes`, joined along the second axis, as `name`.

    `shape` is what to expect, batch first, symbolic axes by name: `("N", "anchors", 16)`.
    """

    name: str
    nodes: tuple[str, ...]
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class ConversionSpec:
    """What a graph is to become.

    Its input, published as `(N, height, width, 3)` uint8 RGB under the name `input_name`, enters
    the original graph as `byte * scale + offset`. With `free_sides` height and width are symbolic.
    """

    name: str
    outputs: tuple[Output, ...]
    scale: float
    offset: float = 0.0
    free_sides: bool = False
    input_name: str = "image"


def graph_to_onnx(graph: TfjsGraph, spec: ConversionSpec) -> bytes:
    """The part of `graph` that `spec` publishes, as an ONNX model.

    Raises `format_unsupported` for a needed operation, or a use of one, that Limen does not know,
    `format_invalid` for weights, shapes and names that do not fit each other or `spec`, and
    `format_too_large`.
    """
    nodes = [node for output in spec.outputs for node in output.nodes]
    lowered = lower(graph, nodes, input_scale=spec.scale, free_sides=spec.free_sides)
    emitter = _Emitter(lowered, spec)
    emitter.emit()
    return emitter.finish()


class _Emitter:
    """Appends steps to an ONNX graph; `self._values` are the names of their results."""

    def __init__(self, lowered: Lowered, spec: ConversionSpec) -> None:
        self._steps = lowered.steps
        self._wanted = iter(lowered.wanted)
        self._spec = spec
        self._graph = GraphWriter(spec.name)
        self._values: list[str] = []
        self._count = 0

    def emit(self) -> None:
        """All steps, in order."""
        for step in self._steps:
            self._values.append(self._step(step))

    def finish(self) -> bytes:
        """The model with its outputs published."""
        for output in self._spec.outputs:
            places = [next(self._wanted) for _ in output.nodes]
            for place in places:
                self._check_shape(self._steps[place], output)
            values = [self._values[place] for place in places]
            value = self._node("Concat", values, axis=1) if len(values) > 1 else values[0]
            self._graph.output(value, output.name, output.shape)
        return self._graph.finish({})

    def _check_shape(self, step: Step, output: Output) -> None:
        rows = step.shape
        assert isinstance(rows, Rows)  # lowering publishes nothing else
        rank = 3 if rows.many else 2
        if (len(output.shape), output.shape[-1]) != (rank, rows.columns):
            detail = f"{rows} where {output.name} of shape {output.shape} is expected"
            raise PipelineError(Code.FORMAT_INVALID, detail)

    def _step(self, step: Step) -> str:
        sources = [self._values[place] for place in step.sources]
        match step.layer:
            case Convolution() as layer:
                return self._convolution(sources[0], layer)
            case MaxPool(window, strides, same):
                return self._node("MaxPool", sources, **_window(window, strides, same=same))
            case Clamp(low, high):
                return self._clamp(sources[0], low, high)
            case Prelu(slopes):
                return self._prelu(sources[0], slopes)
            case PadChannels(before, after):
                return self._padded(sources[0], self._steps[step.sources[0]], before, after)
            case Plain():
                return self._plain(step, sources)

    def _plain(self, step: Step, sources: Sequence[str]) -> str:
        match step.layer:
            case Plain.IMAGE:
                return self._image(step)
            case Plain.SUM:
                terms = [self._blocked(place) for place in step.sources]
                return self._node("Add", terms)
            case Plain.MEAN:
                return self._node("GlobalAveragePool", sources)
            case Plain.SIGMOID:
                return self._node("Sigmoid", sources)
            case Plain.SOFTMAX:
                axis = 1 if isinstance(step.shape, Grid) else -1
                return self._node("Softmax", sources, axis=axis)
            case Plain.FLATTEN:
                return self._flat(step, sources[0])
        raise AssertionError(step.layer)

    def _image(self, step: Step) -> str:
        """The graph's input, channels first; what remains of its normalisation is a shift.

        `(x + offset / scale) * scale` keeps the zeros of SAME padding zeros, so the scale could
        move into the convolutions.
        """
        grid = step.shape
        assert isinstance(grid, Grid)  # it is the image's
        sides = ("height", "width") if grid.free else (grid.height, grid.width)
        pixels = self._graph.input(self._spec.input_name, "uint8", (BATCH, *sides, 3))
        planes = self._node("Transpose", [pixels], perm=[0, 3, 1, 2])  # while still bytes
        image = self._node("Cast", [planes], to=FLOAT)
        if self._spec.offset == 0:
            return image
        shift = np.array(self._spec.offset / self._spec.scale, np.float32)
        return self._node("Add", [image, self._constant("shift", shift)])

    def _convolution(self, value: str, layer: Convolution) -> str:
        filters = self._constant("filters", layer.filters)
        inputs = [value, filters]
        if layer.biases.any():
            inputs.append(self._constant("biases", layer.biases))
        window = _window(layer.filters.shape[2:], layer.strides, same=layer.same)
        return self._node("Conv", inputs, group=layer.groups, **window)

    def _clamp(self, value: str, low: float, high: float) -> str:
        if (low, high) == (0, math.inf):
            return self._node("Relu", [value])
        bounds = {"low": low, "high": high}
        return self._node(
            "Clip",
            [value]
            + [
                self._constant(kind, np.array(bound, np.float32)) if math.isfinite(bound) else ""
                for kind, bound in bounds.items()
            ],
        )

    def _prelu(self, value: str, slopes: NDArray[np.float32]) -> str:
        """`x + (1 - slope) * relu(-x)`: two convolutions of one place and channel, and a sum."""
        channels = slopes.size
        column = (channels, 1, 1, 1)
        none = np.zeros(channels, np.float32)
        negation = Convolution(np.full(column, -1, np.float32), none, groups=channels)
        negative = self._node("Relu", [self._convolution(value, negation)])
        missing = Convolution((1 - slopes).reshape(column), none, groups=channels)
        return self._node("Add", [self._convolution(negative, missing), value])

    def _padded(self, value: str, source: Step, before: int, after: int) -> str:
        """Channels of zeros around those of `value`, as a convolution that only selects."""
        grid = source.shape
        assert isinstance(grid, Grid)  # lowering pads nothing else
        total = before + grid.channels + after
        if total * grid.channels > SELECTION_ELEMENTS_MAX:
            pads = np.array([0, before, 0, 0, 0, after, 0, 0], np.int64)
            return self._node("Pad", [value, self._constant("pads", pads)])
        filters = np.eye(total, grid.channels, -before, np.float32)[:, :, np.newaxis, np.newaxis]
        return self._convolution(value, Convolution(filters, np.zeros(total, np.float32)))

    def _blocked(self, place: int) -> str:
        """The value at `place`, back in blocks if it is pooled outside of them."""
        step = self._steps[place]
        if isinstance(step.layer, MaxPool) and isinstance(step.shape, Grid):
            channels = step.shape.channels
            if channels % CHANNELS_IN_BLOCK and channels**2 <= SELECTION_ELEMENTS_MAX:
                return self._padded(self._values[place], step, 0, 0)
        return self._values[place]

    def _flat(self, step: Step, value: str) -> str:
        grid, rows = self._steps[step.sources[0]].shape, step.shape
        assert isinstance(grid, Grid)
        assert isinstance(rows, Rows)
        if grid.free or (grid.height, grid.width) != (1, 1):
            value = self._node("Transpose", [value], perm=[0, 2, 3, 1])
        sizes = [0, -1, rows.columns] if rows.many else [0, rows.columns]
        return self._node("Reshape", [value, self._constant("sizes", np.array(sizes, np.int64))])

    def _node(self, op: str, inputs: Sequence[str], **attributes: object) -> str:
        self._count += 1
        return self._graph.node(op, inputs, f"{op.lower()}_{self._count}", **attributes)

    def _constant(self, kind: str, array: NDArray[Any]) -> str:
        """A constant named for the node about to use it."""
        return self._graph.constant(f"{kind}_{self._count + 1}", array)


def _window(window: Sequence[int], strides: Sequence[int], *, same: bool) -> dict[str, object]:
    """The attributes of a moving window. TensorFlow's SAME, at any size, is SAME_UPPER; over a
    window of one place it never adds zeros.
    """
    attributes: dict[str, object] = {"kernel_shape": list(window), "strides": list(strides)}
    if same and max(window) > 1:
        attributes["auto_pad"] = "SAME_UPPER"
    return attributes
