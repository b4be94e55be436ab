"""Writes TensorFlow.js graph models, to be read, converted and spoilt by tests."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32"}


class GraphFiles:
    """A graph under construction. Methods that add something return its name."""

    def __init__(self, height: int = 8, width: int = 8) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.weights: list[dict[str, Any]] = []
        self.data = b""
        self.image = self.node("Placeholder", "image", shape={"dim": _dim(-1, height, width, 3)})

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node; attributes are Python values, shapes as they stand in the file."""
        attr = {key: attribute(value) for key, value in attributes.items()}
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attr})
        return name

    def constant(self, name: str, values: Any, **quantization: Any) -> str:
        """A constant; `quantization` is how the file describes weights stored narrower."""
        array = np.asarray(values)
        used = "float32" if array.dtype.kind in "fu" else "int32"
        stored = {"float64": "<f4", "float32": "<f4", "int64": "<i4"}.get(array.dtype.name)
        weight: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": used}
        if quantization:
            weight["quantization"] = quantization
        self.weights.append(weight)
        self.data += array.astype(stored or array.dtype).tobytes()
        tensor = {"dtype": TYPES[used], "tensorShape": {"dim": _dim(*array.shape)}}
        attr = {"dtype": {"type": TYPES[used]}, "value": {"tensor": tensor}}
        self.nodes.append({"name": name, "op": "Const", "attr": attr})
        return name

    def convolution(
        self, name: str, source: str, filters: NDArray[Any], *others: str, **attributes: Any
    ) -> str:
        """A convolution, fused, depthwise or plain as `op` says, of stride 1 and SAME padding."""
        usual = {"strides": [1, 1, 1, 1], "dilations": [1, 1, 1, 1], "padding": "SAME",
                 "explicit_paddings": [], "data_format": "NHWC", "op": "Conv2D"}  # fmt: skip
        weights = self.constant(f"{name}/filters", filters)
        settings: dict[str, Any] = {**usual, **attributes}
        return self.node(settings.pop("op"), name, source, weights, *others, **settings)

    def document(self) -> dict[str, Any]:
        """The topology before it is written."""
        return {
            "format": "graph-model",
            "modelTopology": {"node": self.nodes, "library": {}, "versions": {}},
            "weightsManifest": [{"paths": ["model.bin"], "weights": self.weights}],
        }

    def files(self) -> tuple[bytes, bytes]:
        """Topology and weights."""
        return json.dumps(self.document()).encode(), self.data


def drawn(*shape: int) -> NDArray[np.float64]:
    """Weights that differ from place to place and from shape to shape."""
    return np.random.default_rng(shape).normal(size=shape) / 2


def pooled(graph: GraphFiles, value: str, name: str = "out") -> str:
    """The mean of `value` over its places."""
    return graph.node("Mean", name, value, graph.constant(f"{name}/axes", [1, 2]))


def attribute(value: Any) -> dict[str, Any]:
    """A Python value as a protocol buffer `AttrValue`."""
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, float):
        return {"f": value}
    if isinstance(value, str):
        return {"s": _base64(value)}
    if isinstance(value, dict):
        return {"shape": value}
    return {"list": _list(value)}


def _list(values: Sequence[Any]) -> dict[str, Any]:
    if not values:
        return {}
    if isinstance(values[0], str):
        return {"s": [_base64(value) for value in values]}
    return {"i": [str(value) for value in values]}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _dim(*sizes: int) -> list[dict[str, str]]:
    return [{"size": str(size)} for size in sizes]


def small_graph() -> GraphFiles:
    """A little of everything, on pictures of 8 x 8: a node `rows` and a node `chances`."""
    graph = GraphFiles()
    biases = graph.constant("first/biases", drawn(4))
    slopes = graph.constant("first/slopes", drawn(1, 1, 4).astype(np.float16), dtype="float16")
    value = graph.convolution(
        "first", "image", drawn(5, 5, 3, 4), biases, slopes, op="_FusedConv2D",
        strides=[1, 2, 2, 1], fused_ops=["BiasAdd", "Prelu"],
    )  # fmt: skip
    halved = graph.node(
        "MaxPool", "pool", value, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"
    )
    amounts = graph.constant("pad/amounts", [[0, 0], [0, 0], [0, 0], [0, 2]])
    padded = graph.node("Pad", "pad", halved, amounts)
    deep = graph.convolution(
        "deep", value, drawn(3, 3, 4, 1), op="DepthwiseConv2dNative", strides=[1, 2, 2, 1]
    )
    wide = graph.convolution("wide", deep, drawn(1, 1, 4, 6), padding="VALID")
    scaled = graph.node("Mul", "scaled", wide, graph.constant("scale", drawn(6)))
    total = graph.node("AddV2", "total", scaled, padded)
    low = graph.node("Relu", "low", total)
    clamped = graph.node("Minimum", "clamped", low, graph.constant("six", np.float32(6)))
    shape = graph.constant("shape", [1, 8, 3])
    graph.node("Identity", "rows", graph.node("Reshape", "flat", clamped, shape))
    mean = pooled(graph, clamped, "mean")
    matrix, offsets = graph.constant("matrix", drawn(6, 5)), graph.constant("offsets", drawn(5))
    logits = graph.node(
        "_FusedMatMul", "logits", mean, matrix, offsets, fused_ops=["BiasAdd"],
        transpose_a=False, transpose_b=False,
    )  # fmt: skip
    graph.node("Softmax", "chances", logits)
    return graph
