"""What a TensorFlow.js graph computes, in plain numpy: the yardstick of the conversion.

It shares nothing with the converter: it reads the published files by itself, keeps channels last,
takes every operation literally, fuses nothing and computes in float64.
"""

import base64
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STORED = {"float16": "<f2", "float32": "<f4", "int32": "<i4", "uint8": "<u1", "uint16": "<u2"}


class Reference:
    """A graph, evaluated node by node for one input."""

    def __init__(self, topology: bytes, weights: bytes) -> None:
        document = json.loads(topology)
        self._nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
        self._weights: dict[str, Array] = {}
        start = 0
        for weight in (w for group in document["weightsManifest"] for w in group["weights"]):
            quantization = weight.get("quantization", {})
            stored = np.dtype(STORED[quantization.get("dtype", weight["dtype"])])
            end = start + stored.itemsize * math.prod(weight["shape"])
            values = np.frombuffer(weights[start:end], stored).astype(np.float64)
            values = values * quantization.get("scale", 1) + quantization.get("min", 0)
            used = np.float32 if weight["dtype"] == "float32" else np.int32
            self._weights[weight["name"]] = values.astype(used).reshape(weight["shape"])
            start = end

    def run(self, image: NDArray[Any], outputs: list[str]) -> list[Array]:
        """The results of the nodes `outputs` for `image`, `(N, height, width, 3)`."""
        results: dict[str, Array] = {}

        def value(name: str) -> Array:
            name = name.removesuffix(":0")
            if name in self._weights:
                return self._weights[name]
            if name not in results:
                node = self._nodes[name]
                inputs = [value(source) for source in node.get("input", [])]
                is_image = node["op"] == "Placeholder"
                results[name] = (
                    image.astype(np.float64)
                    if is_image
                    else OPERATIONS[node["op"]](_attributes(node), *inputs)
                )
            return results[name]

        return [value(name) for name in outputs]


def _attributes(node: dict[str, Any]) -> dict[str, Any]:
    return {key: _attribute(value) for key, value in node.get("attr", {}).items()}


def _attribute(value: dict[str, Any]) -> object:
    ((kind, content),) = value.items()
    if kind == "s":
        return base64.b64decode(content).decode()
    if kind == "list":
        texts = [base64.b64decode(text).decode() for text in content.get("s", [])]
        return texts + [int(number) for number in content.get("i", [])]
    return content


def _edges(side: int, window: int, stride: int, padding: str) -> tuple[int, int, int]:
    """How often a window fits along a side, and the padding before and after it."""
    if padding == "VALID":
        return math.ceil((side - window + 1) / stride), 0, 0
    overlap = stride if side % stride == 0 else side % stride
    total = max(window - overlap, 0)
    return math.ceil(side / stride), total // 2, total - total // 2


def _windows(
    attributes: dict[str, Any], x: Array, window: tuple[int, int], fill: float
) -> Iterator[tuple[int, int, Array]]:
    """For each place in the window, what all windows see there, `(N, rows, columns, C)`."""
    (_, down, right, _), padding = attributes["strides"], attributes["padding"]
    rows, top, bottom = _edges(x.shape[1], window[0], down, padding)
    columns, left, end = _edges(x.shape[2], window[1], right, padding)
    x = np.pad(x, [(0, 0), (top, bottom), (left, end), (0, 0)], constant_values=fill)
    for i in range(window[0]):
        for j in range(window[1]):
            yield (
                i,
                j,
                x[:, i : i + down * rows : down, j : j + right * columns : right][
                    :, :rows, :columns
                ],
            )


def _conv2d(attributes: dict[str, Any], x: Array, filters: Array) -> Array:
    seen = _windows(attributes, x, filters.shape[:2], 0)
    return np.asarray(sum(patch @ filters[i, j].astype(np.float64) for i, j, patch in seen))


def _depthwise(attributes: dict[str, Any], x: Array, filters: Array) -> Array:
    seen = _windows(attributes, x, filters.shape[:2], 0)
    products = sum(patch[..., np.newaxis] * filters[i, j] for i, j, patch in seen)
    return np.asarray(products).reshape(*np.shape(products)[:3], -1)


def _max_pool(attributes: dict[str, Any], x: Array) -> Array:
    _, height, width, _ = attributes["ksize"]
    seen = _windows(attributes, x, (height, width), -math.inf)
    return np.asarray(np.max([patch for _, _, patch in seen], axis=0))


def _prelu(attributes: dict[str, Any], x: Array, slopes: Array) -> Array:
    return np.where(x > 0, x, x * slopes)


def _sigmoid(attributes: dict[str, Any], x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softmax(attributes: dict[str, Any], x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _reshape(attributes: dict[str, Any], x: Array, shape: Array) -> Array:
    """The file's numbers are for one picture of one size: only the last is kept as it is."""
    sizes = [len(x), *(-1 for _ in shape[1:-1]), int(shape[-1])]
    return x.reshape(sizes)


def _mean(attributes: dict[str, Any], x: Array, axes: Array) -> Array:
    keep = bool(attributes.get("keep_dims", False))
    return np.asarray(x.mean(axis=tuple(map(int, axes)), keepdims=keep))


def _matmul(attributes: dict[str, Any], x: Array, matrix: Array) -> Array:
    return np.asarray(x @ (matrix.T if attributes["transpose_b"] else matrix))


def _fused(operation: Callable[..., Array]) -> Callable[..., Array]:
    def run(attributes: dict[str, Any], x: Array, weights: Array, *arguments: Array) -> Array:
        x = operation(attributes, x, weights)
        rest = iter(arguments)
        for name in attributes["fused_ops"]:
            if name == "BiasAdd":
                x = x + next(rest)
            elif name == "Prelu":
                x = _prelu({}, x, next(rest))
            else:
                x = {"Relu": np.maximum(x, 0), "Relu6": np.clip(x, 0, 6)}[name]
        return x

    return run


OPERATIONS: dict[str, Callable[..., Array]] = {
    "Add": lambda _, x, y: x + y,
    "AddV2": lambda _, x, y: x + y,
    "Conv2D": _conv2d,
    "DepthwiseConv2dNative": _depthwise,
    "Identity": lambda _, x: x,
    "MaxPool": _max_pool,
    "Maximum": lambda _, x, y: np.maximum(x, y),
    "Mean": _mean,
    "Minimum": lambda _, x, y: np.minimum(x, y),
    "Mul": lambda _, x, y: x * y,
    "Pad": lambda _, x, amounts: np.pad(x, amounts),
    "Prelu": _prelu,
    "Relu": lambda _, x: np.maximum(x, 0),
    "Relu6": lambda _, x: np.clip(x, 0, 6),
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "_FusedConv2D": _fused(_conv2d),
    "_FusedMatMul": _fused(_matmul),
}
