"""ONNX graphs written, read and rewritten, and the only place that imports `onnx`.

Both converters emit through the writer, so that every graph gets the same opset, a symbolic batch
axis, deterministic names and bytes, and the ONNX checker's approval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import Code, PipelineError
from pipeline.models.manifest import TensorSpec

OPSET = 17
IR_VERSION = 8  # understood by every supported onnxruntime
BATCH = "N"  # name of the symbolic batch axis
FLOAT = int(TensorProto.FLOAT)  # as the target of a Cast
Shape = Sequence[int | str]

_DTYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. An input that was left out is ""; names in attributes are text."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph to execute: `nodes` in an order in which each finds its inputs made."""

    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    constants: Mapping[str, NDArray[Any]] = field(repr=False)
    nodes: tuple[Node, ...]


class GraphWriter:
    """Collects nodes and constants in order; `finish` returns the serialised model."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """Declare a graph input; a string in `shape` is a symbolic axis. Returns its name."""
        self._inputs.append(helper.make_tensor_value_info(name, _DTYPES[dtype], list(shape)))
        return name

    def output(self, value: str, name: str, shape: Shape) -> None:
        """Publish `value` under `name` as a float32 graph output."""
        self.node("Identity", [value], name)
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Store an initializer, once per name. Returns its name."""
        self._constants.setdefault(name, np.asarray(array, order="C"))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, /, **attributes: Any) -> str:
        """Append one node with a single output. Returns the output's name."""
        self._nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def finish(self, metadata: Mapping[str, str]) -> bytes:
        """The checked model as bytes. Raises `format_invalid` if the ONNX checker objects."""
        graph = helper.make_graph(
            self._nodes,
            self._name,
            self._inputs,
            self._outputs,
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        model.producer_name = "limen"
        helper.set_model_props(model, dict(sorted(metadata.items())))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise PipelineError(Code.FORMAT_INVALID, f"{self._name}: {error}") from error
        return bytes(model.SerializeToString(deterministic=True))


def with_free_batch(data: bytes) -> bytes:
    """A published model with its leading axes, fixed at 1, made symbolic.

    Only where every node treats items alike whatever their number; the known answer in the
    recipe and the batch tests stand for that. Raises `format_invalid` for bytes that are no
    ONNX model or that the checker refuses.
    """
    try:
        model = onnx.load_from_string(data)
        for value in (*model.graph.input, *model.graph.output):
            axes = value.type.tensor_type.shape.dim
            if axes and axes[0].dim_value == 1:
                axes[0].dim_param = BATCH
        del model.graph.value_info[:]  # intermediate shapes that still say 1
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf and onnx raise unrelated classes
        raise PipelineError(Code.FORMAT_INVALID, f"not an ONNX model: {error}") from error
    return bytes(model.SerializeToString(deterministic=True))


def read_graph(data: bytes) -> Graph:
    """The nodes and constants of a model. Raises `format_invalid` for bytes that are none."""
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
        graph = model.graph
        constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
        return Graph(
            next(each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}),
            tuple(_spec(value) for value in graph.input if value.name not in constants),
            tuple(_spec(value) for value in graph.output),
            constants,
            tuple(_node(node) for node in graph.node),
        )
    except Exception as error:  # protobuf and onnx raise unrelated classes
        raise PipelineError(Code.FORMAT_INVALID, f"not an ONNX model: {error}") from error


def with_half_floats(data: bytes) -> bytes:
    """The same model computing in float16, its inputs and outputs as they were.

    Scales of a Resize stay float32: the operator takes no others. Raises `format_invalid` for
    bytes that are no ONNX model.
    """
    try:
        model = onnx.load_from_string(data)
        graph = model.graph
        scales = {
            name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]
        }
        for value in graph.initializer:
            if value.data_type == TensorProto.FLOAT and value.name not in scales:
                halved = numpy_helper.to_array(value).astype(np.float16)
                value.CopyFrom(numpy_helper.from_array(halved, value.name))
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
        _cast_at_the_edges(graph)
        del graph.value_info[:]  # intermediate types that still say float32
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # as above
        raise PipelineError(Code.FORMAT_INVALID, f"cannot be halved: {error}") from error
    return bytes(model.SerializeToString(deterministic=True))


def _cast_at_the_edges(graph: Any) -> None:  # noqa: ANN401 (onnx is untyped)
    """Give the nodes float16 names for the float32 inputs and outputs, and casts between them."""
    constants = {value.name for value in graph.initializer}
    entering = [value for value in graph.input if value.name not in constants]
    names = {
        value.name: f"{value.name}.half"
        for value in (*entering, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    nodes = list(graph.node)
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    into = [
        helper.make_node("Cast", [value.name], [names[value.name]], to=TensorProto.FLOAT16)
        for value in entering
        if value.name in names
    ]
    out = [
        helper.make_node("Cast", [names[value.name]], [value.name], to=TensorProto.FLOAT)
        for value in graph.output
        if value.name in names
    ]
    del graph.node[:]
    graph.node.extend([*into, *nodes, *out])


def _node(node: Any) -> Node:  # noqa: ANN401
    attributes = {each.name: _plain(helper.get_attribute_value(each)) for each in node.attribute}
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)


def _plain(value: Any) -> Any:  # noqa: ANN401 (a number, text, a list of one, or a tensor)
    if isinstance(value, bytes):
        return value.decode()
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _spec(value: Any) -> TensorSpec:  # noqa: ANN401
    """As ONNX Runtime would describe it."""
    tensor = value.type.tensor_type
    dtype = (
        "float"
        if tensor.elem_type == TensorProto.FLOAT
        else np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    )
    shape = tuple(axis.dim_param or axis.dim_value or "?" for axis in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=f"tensor({dtype})", shape=shape)
