"""The ONNX graph of dlib's network: the same function, shown on a plain reading and on dlib."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.evidence import Pixels
from pipeline.image.decode import decode
from pipeline.image.header import read_header
from pipeline.models.convert.dlib_format import read_resnet
from pipeline.models.convert.dlib_net import (
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
)
from pipeline.models.convert.dlib_onnx import resnet_to_onnx
from pipeline.models.options import SessionOptions
from pipeline.models.session import OnnxModel
from tests.pipeline.models.dlib_files import (
    IMAGE,
    affine,
    ares,
    ares_down,
    con,
    drawn,
    published_net,
    small_net,
)

Array = NDArray[Any]
DELTA_MAX = 1e-5  # to dlib, of coordinates around 0.1


def run(model: bytes, chips: Pixels) -> Array:
    return OnnxModel("dlib", model, SessionOptions()).run({"chips": chips})["embedding"]


def noise(count: int, side_px: int) -> Pixels:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, side_px, side_px, 3), np.uint8)


# --- A plain reading: what dlib's layers do, one item at a time, in float64 --------------------


def computed(net: DlibNet, chip: Pixels) -> Array:
    value = ((chip - np.array(net.image.mean_rgb)) / 256).transpose(2, 0, 1)
    return applied(net.layers, value).ravel()


def applied(layers: Iterable[Layer], value: Array) -> Array:
    for layer in layers:
        value = apply(layer, value)
    return value


def apply(layer: Layer, value: Array) -> Array:
    result: Array
    match layer:
        case Convolution(filters, biases, stride, padding):
            windows = placed(value, filters.shape[2], stride, padding, 0)
            result = np.einsum("cyxij,ocij->oyx", windows, filters) + biases[:, None, None]
        case Affine(gamma, beta):
            result = value * gamma[:, None, None] + beta[:, None, None]
        case Relu():
            result = np.maximum(value, 0)
        case MaxPool(side, stride, padding):
            result = placed(value, side, stride, padding, -np.inf).max(axis=(3, 4))
        case AveragePool(side=0):
            result = value.mean(axis=(1, 2), keepdims=True)
        case AveragePool(side, stride, padding):
            result = np.nanmean(placed(value, side, stride, padding, np.nan), axis=(3, 4))
        case Dense(weights):
            result = (value.ravel() @ weights)[:, None, None]
        case Residual(body, shortcut):
            first, second = applied(body, value), applied(shortcut, value)
            result = np.zeros(np.maximum(first.shape, second.shape))
            for term in (first, second):
                result[tuple(map(slice, term.shape))] += term
    return result


def placed(value: Array, side: int, stride: int, padding: int, outside: float) -> Array:
    """`(C, rows, columns, side, side)`: the window at each of its places."""
    ends = [(0, 0), (padding, padding), (padding, padding)]
    value = np.pad(value, ends, constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(value, (side, side), (1, 2))
    return windows[:, ::stride, ::stride]


TOP = (AveragePool(0, 1, 0), Dense(drawn(3, 4)))
NETS = {
    "every kind of layer": small_net().layers,
    "a padded first convolution": (con(3, 3, 3, 1), affine(3), *TOP),
    "no convolution first": (Relu(), AveragePool(2, 2, 1), *TOP),
    "a padded maximum": (con(3, 3, 5, 2), MaxPool(3, 2, 1), *TOP),
    "a body smaller than its shortcut": (con(2, 3, 3, 2), *ares_down(2, 3), *TOP),
    "a shortcut wider than its body": (
        con(3, 3, 3, 2),
        Residual((con(2, 3, 3, 1),), ()),
        *TOP,
    ),
    "no pooling at the top": (con(3, 3, 24, 2), Dense(drawn(3, 4))),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("side_px", [24, 25])
def test_same_function(name: str, side_px: int) -> None:
    """The graph computes what its layers say, whatever is folded, padded or extended."""
    net = DlibNet(InputImage(side_px, IMAGE.mean_rgb), NETS[name])
    chips = noise(3, side_px)
    expected = np.stack([computed(net, chip) for chip in chips])
    found = run(resnet_to_onnx(net), chips)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_published_network_takes_chips() -> None:
    """The published network takes any number of chips as bytes and gives 128 numbers for each."""
    model = OnnxModel("dlib", resnet_to_onnx(published_net()), SessionOptions())
    ((chips,), (embedding,)) = model.inputs, model.outputs
    assert (chips.name, chips.dtype, chips.shape[1:]) == ("chips", "tensor(uint8)", (150, 150, 3))
    assert (embedding.name, embedding.shape[1:]) == ("embedding", (128,))
    assert isinstance(chips.shape[0], str)
    assert isinstance(embedding.shape[0], str)


def test_same_bytes() -> None:
    """One network always gives the same model, byte for byte."""
    assert resnet_to_onnx(small_net()) == resnet_to_onnx(small_net())


@pytest.mark.parametrize(
    ("layers", "code"),
    [
        ((affine(3), *TOP), Code.FORMAT_UNSUPPORTED),
        ((con(3, 3, 3, 2), Relu(), affine(3), *TOP), Code.FORMAT_UNSUPPORTED),
        ((con(3, 3, 3, 2), Relu()), Code.FORMAT_UNSUPPORTED),
        ((con(3, 3, 50, 2), *TOP), Code.FORMAT_UNSUPPORTED),
        ((con(3, 4, 3, 2), *TOP), Code.FORMAT_INVALID),
        ((con(3, 4, 3, 1), *TOP), Code.FORMAT_INVALID),
        ((con(3, 3, 3, 2), affine(2), *TOP), Code.FORMAT_INVALID),
        ((con(3, 3, 3, 2), *ares(2), *TOP), Code.FORMAT_INVALID),
        ((con(2, 3, 3, 2), *TOP), Code.FORMAT_INVALID),
        ((con(3, 3, 3, 2), Dense(drawn(3, 4))), Code.FORMAT_INVALID),
        (
            (con(3, 3, 3, 2), Affine(np.full(3, 3e38, np.float32), drawn(3)), *TOP),
            Code.FORMAT_INVALID,
        ),
    ],
)
def test_layers_that_do_not_fit(layers: tuple[Layer, ...], code: Code) -> None:
    """Layers that cannot follow each other, or whose product overflows, are refused coded."""
    with pytest.raises(PipelineError) as caught:
        resnet_to_onnx(DlibNet(InputImage(24, IMAGE.mean_rgb), layers))
    assert caught.value.code is code


# --- The real weights --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(dlib_dat: Path) -> bytes:
    return resnet_to_onnx(read_resnet(dlib_dat.read_bytes()))


@pytest.fixture(scope="module")
def photos(johns: list[tuple[str, bytes]]) -> Pixels:
    """55 real faces, `(55, 150, 150, 3)` uint8 RGB."""
    return np.stack([decode(data, read_header(data), 10_000).pixels for _, data in johns])


def dlib_embeddings(dlib_dat: Path, chips: Pixels) -> Array:
    import dlib  # noqa: PLC0415 (only the tests with real weights need it)

    reference = dlib.face_recognition_model_v1(str(dlib_dat))
    return np.array([reference.compute_face_descriptor(chip) for chip in chips])


@pytest.mark.models
def test_equals_dlib_on_extremes(model: bytes, dlib_dat: Path) -> None:
    """On noise and on plain black, grey and white, the graph agrees with dlib itself."""
    plain = np.stack([np.full((150, 150, 3), level, np.uint8) for level in (0, 128, 255)])
    chips = np.concatenate([noise(5, 150), plain])
    delta = np.abs(run(model, chips) - dlib_embeddings(dlib_dat, chips))
    assert delta.max() <= DELTA_MAX


@pytest.mark.models
@pytest.mark.shared
def test_equals_dlib_on_faces(model: bytes, dlib_dat: Path, photos: Pixels) -> None:
    """On real faces, the graph agrees with dlib itself."""
    chips = photos[::2]
    delta = np.abs(run(model, chips) - dlib_embeddings(dlib_dat, chips))
    assert delta.max() <= DELTA_MAX


@pytest.mark.models
def test_embedding_does_not_depend_on_its_batch(model: bytes) -> None:
    """The embedding of a chip has the same bits alone and at any place of any batch."""
    chips = noise(8, 150)
    alone = np.concatenate([run(model, chip[np.newaxis]) for chip in chips])
    for size, start in product((2, 3, 8), range(0, 8, 2)):
        batch, expected = (np.roll(rows, -start, axis=0)[:size] for rows in (chips, alone))
        np.testing.assert_array_equal(run(model, batch), expected)
