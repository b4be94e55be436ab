"""Lowers a TensorFlow graph to layers, channels first.

    nodes, NHWC --leave out what nothing wanted needs--> --transpose, fold--> steps, NCHW

Shapes are followed through the whole graph, so that weights that do not fit and reshapes that
mix items are found here and not by a runtime. Nothing here knows ONNX.

A matrix product over pooled features becomes a 1x1 convolution: a runtime may sum a product in an
order that depends on how many rows there are, while a convolution treats each item alone.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.models.convert.tfjs_format import Array, Node, TfjsGraph
from pipeline.models.convert.tfjs_layers import (
    Convolution,
    Grid,
    Lowered,
    MaxPool,
    PadChannels,
    Plain,
    Rows,
    Weights,
)
from pipeline.models.convert.tfjs_steps import Steps, float32, slid
from pipeline.models.convert.untrusted_json import check_size, invalid, unsupported

SIDE_MAX = 1024  # of the published input, px; 256 in the models we convert


def lower(
    graph: TfjsGraph, wanted: Sequence[str], *, input_scale: float, free_sides: bool
) -> Lowered:
    """The steps that compute the nodes `wanted` from one picture, results in that order.

    The convolutions that read the picture multiply it by `input_scale`. `free_sides` asks for
    steps that hold for pictures of any size, not only of the published one.

    Raises `format_unsupported` for a needed operation, or a use of one, that Limen does not know,
    `format_invalid` for weights, shapes and names that do not fit, and `format_too_large`.
    """
    live = _needed(graph, wanted)
    uses = Counter(wanted)
    for node in live:
        uses.update(node.inputs)
    lowering = _Lowering(graph.constants, Steps(input_scale), free_sides=free_sides)
    for node in live:
        lowering.add(node, uses[node.name])
    return lowering.finished(wanted)


def _needed(graph: TfjsGraph, wanted: Sequence[str]) -> list[Node]:
    """The nodes that `wanted` depends on, in the graph's order."""
    missing = set(wanted) - {node.name for node in graph.nodes}
    if missing:
        raise invalid(f"no node {min(missing)!r} to publish")
    needed = set(wanted)
    live = []
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
            live.append(node)
    return live[::-1]


class _Lowering:
    """Nodes to steps. The methods in `_OPERATIONS` lower one node and return its place."""

    def __init__(self, constants: Mapping[str, Array], steps: Steps, *, free_sides: bool) -> None:
        self._constants = constants
        self._steps = steps
        self._free_sides = free_sides
        self._places: dict[str, int] = {}  # of every node lowered so far, by name

    def add(self, node: Node, uses: int) -> None:
        """Lower `node`, whose result is read `uses` times."""
        operation = _OPERATIONS.get(node.op)
        if operation is None:
            raise unsupported(f"the operation {node.op} of {node.name}")
        known = len(self._steps)
        place = operation(self, node)
        self._steps.settle(place, uses, is_new=place >= known)
        self._places[node.name] = place

    def finished(self, wanted: Sequence[str]) -> Lowered:
        """All steps, with the results `wanted` as rows."""
        places = tuple(self._steps.published(self._places[name]) for name in wanted)
        return Lowered(self._steps.finished(), places)

    # --- What a node reads -------------------------------------------------------------------

    def _value(self, node: Node) -> int:
        """The place of the first input."""
        if not node.inputs or node.inputs[0] not in self._places:
            raise unsupported(f"{node.op} {node.name} does not begin with a computed input")
        return self._places[node.inputs[0]]

    def _constant(self, node: Node, index: int, kind: str, rank: int | None = None) -> Array:
        """An input that is a constant of floats, kind "f", or of integers, kind "i"."""
        array = self._constants.get(node.inputs[index]) if index < len(node.inputs) else None
        if array is None:
            raise unsupported(f"input {index} of {node.op} {node.name} is not a constant")
        if array.dtype.kind != kind or rank not in {None, array.ndim}:
            raise invalid(f"input {index} of {node.op} {node.name}: {array.dtype} {array.shape}")
        return array

    def _operands(self, node: Node) -> tuple[int, int | Array]:
        """The operands of an operation that commutes: a place, and a place or a constant."""
        names = sorted(node.inputs, key=lambda name: name in self._constants)
        if len(names) != 2 or names[0] not in self._places:
            raise unsupported(f"the operands of {node.op} {node.name}")
        if names[1] in self._places:
            return self._places[names[0]], self._places[names[1]]
        return self._places[names[0]], self._constant(node, node.inputs.index(names[1]), "f")

    def _bounded(self, node: Node) -> tuple[int, float]:
        """The operands of a comparison with one number."""
        place, bound = self._operands(node)
        if isinstance(bound, int) or bound.size != 1:
            raise unsupported(f"{node.op} {node.name} compares with more than one number")
        return place, float(bound.item())

    # --- Operations --------------------------------------------------------------------------

    def placeholder(self, node: Node) -> int:
        match node.integers("shape"):
            case (1 | -1, height, width, 3) if min(height, width) > 0:
                check_size(max(height, width), SIDE_MAX, "px of input")
                return self._steps.add(Plain.IMAGE, (), Grid(3, height, width, self._free_sides))
            case shape:
                raise unsupported(f"an input of shape {shape}, not pictures in colour")

    def identity(self, node: Node) -> int:
        return self._value(node)

    def convolution(self, node: Node) -> int:
        """Filters `(height, width, in, out)`."""
        filters = float32(self._constant(node, 1, "f", 4).transpose(3, 2, 0, 1))
        strides, same = _window_settings(node)
        layer = Convolution(filters, _no_biases(filters), strides=strides, same=same)
        return self._steps.convolved(self._value(node), layer)

    def depthwise_convolution(self, node: Node) -> int:
        """Filters `(height, width, in, out for each in)`."""
        filters = self._constant(node, 1, "f", 4)
        height, width, groups, multiplier = filters.shape
        filters = float32(filters.transpose(2, 3, 0, 1))
        filters = filters.reshape(groups * multiplier, 1, height, width)
        strides, same = _window_settings(node)
        layer = Convolution(filters, _no_biases(filters), groups, strides, same)
        return self._steps.convolved(self._value(node), layer)

    def fused_convolution(self, node: Node) -> int:
        return self._fused(node, self.convolution(node))

    def fused_matrix_product(self, node: Node) -> int:
        """A constant matrix `(in, out)`, or `(out, in)` if transposed, over pooled features."""
        matrix = self._constant(node, 1, "f", 2)
        if node.flag("transpose_a"):
            raise unsupported(f"{node.name} transposes features")
        rows = matrix if node.flag("transpose_b") else matrix.T
        filters = float32(rows[:, :, np.newaxis, np.newaxis])
        place = self._value(node)
        self._steps.pooled(place)
        layer = Convolution(filters, _no_biases(filters))
        return self._fused(node, self._steps.convolved(place, layer))

    def _fused(self, node: Node, place: int) -> int:
        """What is fused with the operation at `place`: biases, then perhaps an activation."""
        fused = node.texts("fused_ops")
        if fused[:1] != ("BiasAdd",):
            raise unsupported(f"{node.name} fuses {fused}")
        place = self._steps.shifted(place, self._constant(node, 2, "f", 1))
        match fused[1:]:
            case ():
                return place
            case ("Relu",):
                return self._steps.clamped(place, 0, math.inf)
            case ("Relu6",):
                return self._steps.clamped(place, 0, 6)
            case ("Prelu",):
                return self._steps.sloped(place, self._constant(node, 3, "f"))
            case _:
                raise unsupported(f"{node.name} fuses {fused}")

    def addition(self, node: Node) -> int:
        place, other = self._operands(node)
        if not isinstance(other, int):
            return self._steps.shifted(place, other)
        shape, added = self._steps.shape(place), self._steps.shape(other)
        if shape != added:
            raise unsupported(f"{node.name} adds {added} to {shape}")
        return self._steps.add(Plain.SUM, (place, other), shape)

    def multiplication(self, node: Node) -> int:
        place, other = self._operands(node)
        if isinstance(other, int):
            raise unsupported(f"{node.name} multiplies two computed values")
        return self._steps.scaled(place, other)

    def minimum(self, node: Node) -> int:
        place, bound = self._bounded(node)
        return self._steps.clamped(place, -math.inf, bound)

    def maximum(self, node: Node) -> int:
        place, bound = self._bounded(node)
        return self._steps.clamped(place, bound, math.inf)

    def relu(self, node: Node) -> int:
        return self._steps.clamped(self._value(node), 0, math.inf)

    def relu6(self, node: Node) -> int:
        return self._steps.clamped(self._value(node), 0, 6)

    def prelu(self, node: Node) -> int:
        return self._steps.sloped(self._value(node), self._constant(node, 1, "f"))

    def max_pool(self, node: Node) -> int:
        strides, same = _window_settings(node)
        layer = MaxPool(_sides(node, "ksize"), strides, same)
        place = self._value(node)
        shape = slid(self._steps.grid(place), layer.window, strides, same=same)
        return self._steps.add(layer, (place,), shape)

    def pad(self, node: Node) -> int:
        """Zeros before and after each axis, `(4, 2)`; here only channels."""
        amounts = self._constant(node, 1, "i", 2)
        if amounts.shape != (4, 2) or amounts[:3].any() or amounts.min() < 0:
            raise unsupported(f"{node.name} pads by {amounts.tolist()}, not channels only")
        before, after = amounts[3].tolist()
        place = self._value(node)
        grid = self._steps.grid(place)
        shape = replace(grid, channels=before + grid.channels + after)
        return self._steps.add(PadChannels(before, after), (place,), shape)

    def mean(self, node: Node) -> int:
        """Over height and width; whether these are kept, as 1 x 1, is all one to a grid."""
        axes = self._constant(node, 1, "i", 1).tolist()
        if sorted(axis % 4 for axis in axes) != [1, 2]:
            raise unsupported(f"{node.name} averages over {axes}, not height and width")
        place = self._value(node)
        return self._steps.add(Plain.MEAN, (place,), Grid(self._steps.grid(place).channels, 1, 1))

    def sigmoid(self, node: Node) -> int:
        place = self._value(node)
        return self._steps.add(Plain.SIGMOID, (place,), self._steps.shape(place))

    def softmax(self, node: Node) -> int:
        place = self._value(node)
        return self._steps.add(Plain.SOFTMAX, (place,), self._steps.shape(place))

    def reshape(self, node: Node) -> int:
        """A grid as `(1, rows, columns)` or `(1, columns)`; 1 may also be -1.

        The file's numbers hold for one picture of the published size. They mean the same for any
        batch and size if no row reaches over two places, or if there is one row of fixed length.
        """
        sizes = self._constant(node, 1, "i", 1).tolist()
        place = self._value(node)
        grid = self._steps.grid(place)
        count = grid.channels * grid.height * grid.width
        if len(sizes) in {2, 3} and sizes[0] in {1, -1} and sizes[-1] > 0:
            many, columns = len(sizes) == 3, sizes[-1]
            if many and grid.channels % columns == 0 and sizes[1] in {-1, count // columns}:
                return self._steps.add(Plain.FLATTEN, (place,), Rows(columns, many=True))
            if not many and columns == count and not grid.free:
                return self._steps.add(Plain.FLATTEN, (place,), Rows(columns))
        raise unsupported(f"{node.name} reshapes {grid} to {sizes}, which mixes items or places")


_OPERATIONS: dict[str, Callable[[_Lowering, Node], int]] = {
    "Add": _Lowering.addition,
    "AddV2": _Lowering.addition,
    "Conv2D": _Lowering.convolution,
    "DepthwiseConv2dNative": _Lowering.depthwise_convolution,
    "Identity": _Lowering.identity,
    "MaxPool": _Lowering.max_pool,
    "Maximum": _Lowering.maximum,
    "Mean": _Lowering.mean,
    "Minimum": _Lowering.minimum,
    "Mul": _Lowering.multiplication,
    "Pad": _Lowering.pad,
    "Placeholder": _Lowering.placeholder,
    "Prelu": _Lowering.prelu,
    "Relu": _Lowering.relu,
    "Relu6": _Lowering.relu6,
    "Reshape": _Lowering.reshape,
    "Sigmoid": _Lowering.sigmoid,
    "Softmax": _Lowering.softmax,
    "_FusedConv2D": _Lowering.fused_convolution,
    "_FusedMatMul": _Lowering.fused_matrix_product,
}


def _window_settings(node: Node) -> tuple[tuple[int, int], bool]:
    """Strides, and whether the padding is SAME."""
    if node.attributes.get("data_format", "NHWC") != "NHWC":
        raise unsupported(f"{node.name} does not keep channels last")
    if "dilations" in node.attributes and set(node.integers("dilations")) != {1}:
        raise unsupported(f"{node.name} is dilated")
    padding = node.text("padding")
    if padding not in {"SAME", "VALID"}:
        raise unsupported(f"{node.name} has padding {padding!r}")
    return _sides(node, "strides"), padding == "SAME"


def _sides(node: Node, key: str) -> tuple[int, int]:
    """Height and width from an attribute with one integer per axis."""
    match node.integers(key):
        case (1, height, width, 1) if min(height, width) > 0:
            return height, width
        case values:
            raise unsupported(f"{node.name} has {key} {values}")


def _no_biases(filters: Weights) -> Weights:
    return np.zeros(len(filters), np.float32)
