"""A small writer of ONNX graphs, and the only place that imports `onnx`.

Both converters emit through it, so that every graph gets the same opset, a symbolic batch
axis, deterministic names and bytes, and the ONNX checker's approval.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import Code, PipelineError

OPSET = 17
IR_VERSION = 8  # understood by every supported onnxruntime
BATCH = "N"  # name of the symbolic batch axis
FLOAT = int(TensorProto.FLOAT)  # as the target of a Cast
Shape = Sequence[int | str]

_DTYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


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
