"""Writes dlib's face recognition network as an ONNX graph that computes the same, only faster.

Affine layers are folded into the convolution before them, and dlib's input normalisation into
the first one, so that chips enter as they are: uint8. The fully connected layer becomes a 1x1
convolution: a matrix product may sum a row in an order that depends on how many rows there are,
while a convolution treats each item alone. On a CPU, an embedding must have the same bits
whatever else is in its batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.models.convert.dlib_net import (
    INPUT_SCALE,
    Affine,
    AveragePool,
    Convolution,
    Dense,
    DlibNet,
    InputImage,
    Layer,
    MaxPool,
    Relu,
    Residual,
    Weights,
)
from pipeline.models.convert.onnx_graph import BATCH, FLOAT, GraphWriter


def resnet_to_onnx(net: DlibNet) -> bytes:
    """The network as an ONNX model.

    Input `chips`: `(N, side, side, 3)` uint8 RGB; the published network has a side of 150 px.
    Output `embedding`: `(N, D)` float32 as dlib computes it, not of unit norm; D is 128.
    Raises `format_invalid` for weights that do not fit each other or leave the range of float32,
    and `format_unsupported` for layers in an arrangement that the published network lacks.
    """
    layers = _folded(net.layers)
    emitter = _Emitter()
    if layers and isinstance(layers[0], Convolution) and layers[0].padding == 0:
        chips = emitter.chips(net.image)
        layers = (_normalising(layers[0], net.image), *layers[1:])
    else:
        chips = emitter.normalised(emitter.chips(net.image), net.image)
    return emitter.finish(emitter.run(chips, layers))


# --- Folding: fewer layers, the same function -------------------------------------------------


def _folded(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers with each affine one folded into the convolution before it."""
    folded: list[Layer] = []
    for layer in layers:
        match layer:
            case Affine():
                if not folded or not isinstance(folded[-1], Convolution):
                    raise _unsupported("an affine layer that does not follow a convolution")
                folded[-1] = _scaled(folded[-1], layer)
            case Residual(body, shortcut):
                folded.append(Residual(_folded(body), _folded(shortcut)))
            case _:
                folded.append(layer)
    return tuple(folded)


def _scaled(convolution: Convolution, affine: Affine) -> Convolution:
    """`affine(convolution(x))` as one convolution."""
    if affine.gamma.shape != convolution.biases.shape:
        raise _misfit(f"{affine.gamma.size} scales for {convolution.biases.size} channels")
    gamma = affine.gamma.astype(np.float64)
    return Convolution(
        _narrowed(convolution.filters * gamma[:, np.newaxis, np.newaxis, np.newaxis]),
        _narrowed(convolution.biases * gamma + affine.beta),
        convolution.stride,
        convolution.padding,
    )


def _normalising(convolution: Convolution, image: InputImage) -> Convolution:
    """`convolution((x - mean) / 256)` as one convolution of x.

    Only exact without padding: a padded zero stands for the mean colour, not for black.
    """
    if convolution.filters.shape[1] != len(image.mean_rgb):
        raise _misfit(f"a first convolution of {convolution.filters.shape[1]} channels, not RGB")
    filters = convolution.filters.astype(np.float64) * INPUT_SCALE
    offsets = np.einsum("oirc,i->o", filters, np.array(image.mean_rgb))
    return Convolution(
        _narrowed(filters),
        _narrowed(convolution.biases - offsets),
        convolution.stride,
        convolution.padding,
    )


def _narrowed(values: NDArray[np.float64]) -> Weights:
    """Sums and products of weights, computed in float64, as the float32 the graph holds."""
    with np.errstate(over="ignore"):  # refused below
        narrowed = values.astype(np.float32)
    if not np.isfinite(narrowed).all():
        raise _misfit("weights whose product is beyond float32")
    return narrowed


# --- Emission ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor of the graph, `(N, channels, side, side)` float32."""

    name: str
    channels: int
    side: int


class _Emitter:
    """Appends layers to a graph, following sizes as it goes; each method returns its result."""

    def __init__(self) -> None:
        self._graph = GraphWriter("dlib_face_recognition_resnet_model_v1")
        self._count = 0

    def chips(self, image: InputImage) -> _Value:
        """The graph's input, channels first and as float32, 0 to 255."""
        side = image.side_px
        pixels = self._graph.input("chips", "uint8", (BATCH, side, side, 3))
        planes = self._node("Transpose", [pixels], perm=[0, 3, 1, 2])  # while still bytes
        return _Value(self._node("Cast", [planes], to=FLOAT), 3, side)

    def normalised(self, value: _Value, image: InputImage) -> _Value:
        """The pixels as dlib feeds them, for a first layer that cannot absorb the change."""
        mean = np.array(image.mean_rgb, np.float32).reshape(1, 3, 1, 1)
        centred = self._node("Sub", [value.name, self._graph.constant("mean_rgb", mean)])
        scale = self._graph.constant("input_scale", np.array(INPUT_SCALE, np.float32))
        return _Value(self._node("Mul", [centred, scale]), value.channels, value.side)

    def run(self, value: _Value, layers: Iterable[Layer]) -> _Value:
        """`layers` one after the other."""
        for layer in layers:
            value = self._layer(value, layer)
        return value

    def finish(self, value: _Value) -> bytes:
        """The model with `value` as its embedding."""
        if value.side != 1:
            raise _unsupported(f"an embedding of {value.side} x {value.side} places")
        flat = self._node("Flatten", [value.name], axis=1)
        self._graph.output(flat, "embedding", (BATCH, value.channels))
        return self._graph.finish({})

    def _layer(self, value: _Value, layer: Layer) -> _Value:
        match layer:
            case Convolution():
                return self._convolution(value, layer)
            case Relu():
                return _Value(self._node("Relu", [value.name]), value.channels, value.side)
            case AveragePool(side=0):
                return _Value(self._node("GlobalAveragePool", [value.name]), value.channels, 1)
            case MaxPool() | AveragePool():
                return self._pool(value, layer)
            case Dense():
                return self._dense(value, layer)
            case Residual():
                return self._residual(value, layer)
            case Affine():
                raise AssertionError("affine layers are folded before emission")

    def _convolution(self, value: _Value, layer: Convolution) -> _Value:
        outputs, inputs, window, _ = layer.filters.shape
        if inputs != value.channels:
            raise _misfit(f"a convolution of {inputs} channels given {value.channels}")
        filters = self._constant("filters", layer.filters)
        biases = self._constant("biases", layer.biases)
        name = self._node(
            "Conv",
            [value.name, filters, biases],
            kernel_shape=[window, window],
            strides=[layer.stride, layer.stride],
            pads=[layer.padding] * 4,
        )
        return _Value(name, outputs, _slid(value.side, window, layer.stride, layer.padding))

    def _pool(self, value: _Value, layer: MaxPool | AveragePool) -> _Value:
        name = self._node(
            "MaxPool" if isinstance(layer, MaxPool) else "AveragePool",
            [value.name],
            kernel_shape=[layer.side, layer.side],
            strides=[layer.stride, layer.stride],
            pads=[layer.padding] * 4,
        )
        side = _slid(value.side, layer.side, layer.stride, layer.padding)
        return _Value(name, value.channels, side)

    def _dense(self, value: _Value, layer: Dense) -> _Value:
        inputs, outputs = layer.weights.shape
        if (inputs, 1) != (value.channels, value.side):
            raise _misfit(f"{inputs} inputs given {value.channels} x {value.side} x {value.side}")
        filters = self._constant("filters", layer.weights.T[:, :, np.newaxis, np.newaxis])
        return _Value(self._node("Conv", [value.name, filters], kernel_shape=[1, 1]), outputs, 1)

    def _residual(self, value: _Value, layer: Residual) -> _Value:
        body = self.run(value, layer.body)
        shortcut = self.run(value, layer.shortcut)
        channels = max(body.channels, shortcut.channels)
        side = max(body.side, shortcut.side)
        terms = [self._extended(term, channels, side).name for term in (body, shortcut)]
        return _Value(self._node("Add", terms), channels, side)

    def _extended(self, value: _Value, channels: int, side: int) -> _Value:
        """`value` with zeros at the end of each axis, up to `channels` and `side`."""
        if (value.channels, value.side) == (channels, side):
            return value
        ends = [0, channels - value.channels, side - value.side, side - value.side]
        pads = self._constant("pads", np.array([0, 0, 0, 0, *ends], np.int64))
        return _Value(self._node("Pad", [value.name, pads]), channels, side)

    def _node(self, op: str, inputs: Sequence[str], **attributes: object) -> str:
        self._count += 1
        return self._graph.node(op, inputs, f"{op.lower()}_{self._count}", **attributes)

    def _constant(self, kind: str, array: NDArray[Any]) -> str:
        """A constant named for the node about to use it."""
        return self._graph.constant(f"{kind}_{self._count + 1}", array)


def _slid(side: int, window: int, stride: int, padding: int) -> int:
    """How many places a window takes along an axis of `side`, starting in the padding."""
    room = side + 2 * padding - window
    if room < 0:
        raise _unsupported(f"a window of {window} over {side} with padding {padding}")
    return room // stride + 1


def _misfit(detail: str) -> PipelineError:
    return PipelineError(Code.FORMAT_INVALID, detail)


def _unsupported(detail: str) -> PipelineError:
    return PipelineError(Code.FORMAT_UNSUPPORTED, detail)
