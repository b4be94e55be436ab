"""The operators of the packs in torch: one node of an ONNX graph in, one function of tensors out.

Only what the packs use, and only in the ways they use it: anything else is refused when the
graph is loaded, so that no picture ever meets a guess. The library that converts ONNX to torch
knows no padding by `SAME_UPPER`, which three of the four default graphs have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.errors import Code, PipelineError
from pipeline.models.convert.onnx_graph import Graph, Node

_FLOAT, _INT64 = 1, 7  # ONNX's numbers for element types
OPSETS = range(11, 22)
Constants = Mapping[str, NDArray[Any]]
Run = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Step:
    """A function, the values it takes and the one it makes."""

    run: Run
    inputs: tuple[str, ...]
    output: str


def plan_steps(graph: Graph, dtype: torch.dtype) -> list[Step]:
    """A step for each node, its floats computed in `dtype`.

    Raises `format_unsupported` for a node that these operators are not made for.
    """
    if graph.opset not in OPSETS:
        raise PipelineError(Code.FORMAT_UNSUPPORTED, f"opset {graph.opset}, not {OPSETS}")
    return [_plan(node, graph, dtype) for node in graph.nodes]


def _plan(node: Node, graph: Graph, dtype: torch.dtype) -> Step:
    reader = _Reader(node, graph.constants, graph.opset, dtype)
    builder = _BUILDERS.get(node.op)
    reader.demand(builder is not None and len(node.outputs) == 1, "this operator")
    assert builder is not None
    run, count = builder(reader)
    return Step(run, tuple(name for name in node.inputs[:count] if name), node.outputs[0])


@dataclass(frozen=True, slots=True)
class _Reader:
    """One node while its function is built."""

    node: Node
    constants: Constants
    opset: int
    dtype: torch.dtype

    def demand(self, is_met: bool, what: str) -> None:  # noqa: FBT001 (an assertion)
        if not is_met:
            raise PipelineError(
                Code.FORMAT_UNSUPPORTED, f"{self.node.op} with {what}: {dict(self.node.attributes)}"
            )

    def attribute(self, name: str, default: Any) -> Any:  # noqa: ANN401 (as ONNX has it)
        return self.node.attributes.get(name, default)

    def constant(self, place: int) -> NDArray[Any] | None:
        """The constant at an input, or None where it was left out or is computed."""
        inputs = self.node.inputs
        return self.constants.get(inputs[place]) if place < len(inputs) else None

    def needed(self, place: int) -> NDArray[Any]:
        """The constant at an input that must be one."""
        found = self.constant(place)
        self.demand(found is not None, f"a computed input {place}")
        assert found is not None
        return found

    def number(self, place: int) -> float | None:
        """The constant scalar at an input, or None where it was left out."""
        inputs = self.node.inputs
        is_absent = place >= len(inputs) or not inputs[place]
        return None if is_absent else float(self.needed(place).item())


Built = tuple[Run, int]  # the function, and how many of the node's inputs it takes


def _alike(run: Run, count: int) -> Callable[[_Reader], Built]:
    return lambda _: (run, count)


def _conv(reader: _Reader) -> Built:
    weight = reader.needed(1)
    reader.demand(weight.ndim == 4, "other than two axes")
    window = _Window.of(reader, weight.shape[2:])
    groups = int(reader.attribute("group", 1))

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        x, padding = window.pad(x, 0.0)
        return functional.conv2d(x, weight, bias, window.strides, padding, window.dilations, groups)

    return run, 3


def _max_pool(reader: _Reader) -> Built:
    kernel = reader.attribute("kernel_shape", ())
    reader.demand(len(kernel) == 2 and not reader.attribute("ceil_mode", 0), "ceil_mode")
    window = _Window.of(reader, kernel)

    def run(x: Tensor) -> Tensor:
        x, padding = window.pad(x, float("-inf"))
        return functional.max_pool2d(x, window.kernel, window.strides, padding, window.dilations)

    return run, 1


def _average_pool(reader: _Reader) -> Built:
    kernel = reader.attribute("kernel_shape", ())
    reader.demand(len(kernel) == 2 and not reader.attribute("ceil_mode", 0), "ceil_mode")
    window = _Window.of(reader, kernel)
    # With padding the two disagree on what is counted.
    reader.demand(window.pads == (0, 0, 0, 0) and window.dilations == (1, 1), "padding")
    return (lambda x: functional.avg_pool2d(x, window.kernel, window.strides)), 1


def _pad(reader: _Reader) -> Built:
    reader.demand(reader.attribute("mode", "constant") == "constant", "this mode")
    reader.demand(reader.constant(3) is None and len(reader.node.inputs) < 4, "axes")
    pads = reader.needed(1).tolist()
    axes = len(pads) // 2
    # ONNX lists all befores, then all afters; torch pairs them, from the last axis.
    pairs = [int(pads[axis + end]) for axis in reversed(range(axes)) for end in (0, axes)]
    value = reader.number(2) or 0.0
    return (lambda x: functional.pad(x, pairs, value=value)), 1


def _clip(reader: _Reader) -> Built:
    low, high = reader.number(1), reader.number(2)
    return (lambda x: torch.clamp(x, low, high)), 1


def _reshape(reader: _Reader) -> Built:
    reader.demand(not reader.attribute("allowzero", 0), "allowzero")
    known = reader.constant(1)
    if known is None:
        return (lambda x, shape: x.reshape(_sides(shape.tolist(), x))), 2
    wanted = known.tolist()
    return (lambda x: x.reshape(_sides(wanted, x))), 1


def _sides(wanted: Sequence[int], x: Tensor) -> list[int]:
    """The shape that ONNX means: 0 keeps an axis as it is."""
    return [x.shape[axis] if side == 0 else side for axis, side in enumerate(wanted)]


def _cast(reader: _Reader) -> Built:
    to = {_FLOAT: reader.dtype, _INT64: torch.int64}.get(reader.attribute("to", 0))
    reader.demand(to is not None, "this type")
    return (lambda x: x.to(to)), 1


def _transpose(reader: _Reader) -> Built:
    order = reader.attribute("perm", ())
    reader.demand(bool(order), "no order")
    return (lambda x: x.permute(*order)), 1


def _concat(reader: _Reader) -> Built:
    axis = int(reader.attribute("axis", 0))
    return (lambda *parts: torch.cat(parts, axis)), len(reader.node.inputs)


def _flatten(reader: _Reader) -> Built:
    reader.demand(reader.attribute("axis", 1) == 1, "another axis")
    return (lambda x: x.flatten(1)), 1


def _softmax(reader: _Reader) -> Built:
    reader.demand(reader.opset >= 13, "the meaning it had before opset 13")
    axis = int(reader.attribute("axis", -1))
    return (lambda x: torch.softmax(x, axis)), 1


def _prelu(reader: _Reader) -> Built:
    slope = reader.needed(1)
    reader.demand(slope.size == slope.shape[0], "a slope that is not the channels'")
    return (lambda x, slope: functional.prelu(x, slope.reshape(-1))), 2


def _batch_norm(reader: _Reader) -> Built:
    reader.demand(not reader.attribute("training_mode", 0), "training")
    epsilon = float(reader.attribute("epsilon", 1e-5))

    def run(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)

    return run, 5


def _resize(reader: _Reader) -> Built:
    how = [reader.attribute("mode", "nearest"), reader.attribute("nearest_mode", "")]
    how.append(reader.attribute("coordinate_transformation_mode", ""))
    reader.demand(how == ["nearest", "floor", "asymmetric"], "this sampling")
    scales = [float(scale) for scale in reader.needed(2)]
    is_whole = all(scale.is_integer() for scale in scales)
    reader.demand(len(scales) == 4 and scales[:2] == [1, 1] and is_whole, f"scales {scales}")
    factors = (scales[2], scales[3])
    return (lambda x: functional.interpolate(x, scale_factor=factors, mode="nearest")), 1


def _gather(reader: _Reader) -> Built:
    index = reader.needed(1)
    reader.demand(index.ndim == 0 and reader.attribute("axis", 0) == 0, "several indices")
    place = int(index)
    return (lambda x: x[place]), 1


def _unsqueeze(reader: _Reader) -> Built:
    axes = reader.attribute("axes", None)
    axes = reader.needed(1).tolist() if axes is None else axes
    reader.demand(len(axes) == 1, "several axes")
    axis = int(axes[0])
    return (lambda x: x.unsqueeze(axis)), 1


@dataclass(frozen=True, slots=True)
class _Window:
    """How a convolution or pooling walks over a picture; `pads` is top, left, bottom, right."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    is_same: bool  # the output has the input's size over the stride; the end gets the odd pixel

    @classmethod
    def of(cls, reader: _Reader, kernel: Sequence[int]) -> "_Window":
        auto = reader.attribute("auto_pad", "NOTSET")
        reader.demand(auto in {"NOTSET", "SAME_UPPER", "VALID"}, "this padding")
        pads = tuple(reader.attribute("pads", (0, 0, 0, 0)))
        strides = tuple(reader.attribute("strides", (1, 1)))
        dilations = tuple(reader.attribute("dilations", (1, 1)))
        is_plane = len(pads) == 4 and len(strides) == len(dilations) == 2
        reader.demand(is_plane, "other than two axes")
        is_same = auto == "SAME_UPPER"
        return cls((kernel[0], kernel[1]), strides, dilations, pads, is_same)

    def pad(self, x: Tensor, value: float) -> tuple[Tensor, tuple[int, int]]:
        """`x`, padded where the two ends differ, and the padding left for the operator."""
        top, left, bottom, right = self._pads_of(x) if self.is_same else self.pads
        if (top, left) == (bottom, right):
            return x, (top, left)
        return functional.pad(x, (left, right, top, bottom), value=value), (0, 0)

    def _pads_of(self, x: Tensor) -> tuple[int, int, int, int]:
        (top, bottom), (left, right) = (
            self._ends(x.shape[2 + axis], self.kernel[axis], axis) for axis in (0, 1)
        )
        return top, left, bottom, right

    def _ends(self, side: int, kernel: int, axis: int) -> tuple[int, int]:
        stride = self.strides[axis]
        covered = (-(-side // stride) - 1) * stride + (kernel - 1) * self.dilations[axis] + 1
        missing = max(covered - side, 0)
        return missing // 2, missing - missing // 2


_BUILDERS: Mapping[str, Callable[[_Reader], Built]] = {
    "Add": _alike(torch.add, 2),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gather": _gather,
    "GlobalAveragePool": _alike(lambda x: x.mean((2, 3), keepdim=True), 1),
    "Identity": _alike(lambda x: x, 1),
    "MatMul": _alike(torch.matmul, 2),
    "MaxPool": _max_pool,
    "Mul": _alike(torch.mul, 2),
    "PRelu": _prelu,
    "Pad": _pad,
    "Relu": _alike(torch.relu, 1),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _alike(lambda x: torch.tensor(x.shape), 1),
    "Sigmoid": _alike(torch.sigmoid, 1),
    "Softmax": _softmax,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
