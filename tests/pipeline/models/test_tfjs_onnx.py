"""Converted TensorFlow.js graphs compute what the originals do, item by item."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.evidence import Pixels
from pipeline.models.convert.tfjs_format import read_graph
from pipeline.models.convert.tfjs_onnx import ConversionSpec, Output, graph_to_onnx
from pipeline.models.convert.tfjs_specs import BLAZEFACE, FACEMESH, FACERES
from pipeline.models.options import SessionOptions
from pipeline.models.session import OnnxModel
from pipeline.ports import Arrays
from tests.helpers.tfjs_reference import Reference
from tests.pipeline.models.tfjs_files import GraphFiles, drawn, pooled, small_graph

ROWS = Output("rows", ("rows",), ("N", "places", 3))
CHANCES = Output("chances", ("chances",), ("N", 5))
SMALL = ConversionSpec("small", (ROWS, CHANCES), scale=1 / 100, offset=-1.0)
DIFFERENCE_MAX = 1e-3  # from the original computed in float64, in the outputs' own units
FUSED = {"op": "_FusedConv2D"}

Files = tuple[bytes, bytes]
Build = Callable[[GraphFiles], str]


def converted(files: Files, spec: ConversionSpec) -> OnnxModel:
    return OnnxModel(spec.name, graph_to_onnx(read_graph(*files), spec), SessionOptions())


def expected(files: Files, spec: ConversionSpec, images: Pixels) -> Arrays:
    """What the original computes, published as `spec` says."""
    nodes = [node for output in spec.outputs for node in output.nodes]
    results = iter(Reference(*files).run(images * spec.scale + spec.offset, nodes))
    return {
        output.name: np.concatenate([next(results) for _ in output.nodes], axis=1)
        for output in spec.outputs
    }


def pictures(count: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def assert_same(files: Files, spec: ConversionSpec, images: Pixels, rtol: float = 1e-4) -> None:
    found = converted(files, spec).run({"image": images})
    for name, values in expected(files, spec, images).items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, rtol=rtol, atol=rtol)


def publishing(value: str, *shape: int | str) -> ConversionSpec:
    """A spec for a graph whose node `value` is to have this shape."""
    return ConversionSpec("test", (Output("out", (value,), ("N", *shape)),), 1 / 100, -1.0)


# --- Small graphs ----------------------------------------------------------------------------


def test_a_whole_graph_is_computed_as_the_original_does() -> None:
    """Every kind of layer in one graph, a batch of three: the results are the original's."""
    assert_same(small_graph().files(), SMALL, pictures(3, 8, 8))


@example(side=8, window=5, stride=2, padding="SAME", op="Conv2D")
@example(side=8, window=3, stride=2, padding="SAME", op="DepthwiseConv2dNative")
@example(side=7, window=2, stride=2, padding="SAME", op="MaxPool")
@example(side=5, window=1, stride=2, padding="SAME", op="MaxPool")
@given(
    side=st.integers(1, 9),
    window=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]),
    op=st.sampled_from(["Conv2D", "DepthwiseConv2dNative", "MaxPool"]),
)
@settings(deadline=None, max_examples=80)
def test_windows_lie_where_tensorflow_puts_them(
    side: int, window: int, stride: int, padding: str, op: str
) -> None:
    """Any side, window, stride and padding, also where one zero more goes to the end."""
    window = max(1, min(window, side)) if padding == "VALID" else window
    stride = min(stride, window) if padding == "SAME" and window > 1 else stride
    graph = GraphFiles(side, side + 4)
    place: dict[str, Any] = {"strides": [1, stride, stride, 1], "padding": padding}
    value = graph.convolution("colours", "image", drawn(1, 1, 3, 2))
    if op == "MaxPool":
        value = graph.node(op, "value", value, ksize=[1, window, window, 1], **place)
    else:
        value = graph.convolution("value", value, drawn(window, window, 2, 2), op=op, **place)
    columns = 4 if op == "DepthwiseConv2dNative" else 2
    graph.node("Reshape", "out", value, graph.constant("shape", [1, -1, columns]))
    spec = publishing("out", "places", columns)
    assert_same(graph.files(), spec, pictures(2, side, side + 4))
    assert_same(graph.files(), replace(spec, free_sides=True), pictures(2, side + 5, side + 8))


def value_of(graph: GraphFiles, *others: str, **attributes: Any) -> str:
    """A convolution to four channels."""
    return graph.convolution("value", "image", drawn(3, 3, 3, 4), *others, **attributes)


def branches(graph: GraphFiles) -> str:
    """A convolution whose result is read as it is, shifted, and scaled after that."""
    value = value_of(graph)
    shifted = graph.node("AddV2", "shifted", value, graph.constant("shift", drawn(4)))
    scaled = graph.node("Mul", "scaled", graph.constant("scale", drawn(1, 1, 1, 4)), shifted)
    return graph.node("Add", "sum", graph.node("Add", "both", value, shifted), scaled)


def shifted_then_scaled(graph: GraphFiles) -> str:
    shifted = graph.node("Add", "shifted", value_of(graph), graph.constant("shift", drawn(4)))
    return graph.node("Mul", "scaled", shifted, graph.constant("scale", drawn(1, 4)))


def renamed(graph: GraphFiles) -> str:
    """A convolution that is shifted under another name, and read under its own."""
    value = value_of(graph)
    alias = graph.node("Identity", "alias", value)
    shifted = graph.node("Add", "shifted", alias, graph.constant("shift", drawn(4)))
    return graph.node("Add", "sum", shifted, value)


def clamped_twice(graph: GraphFiles) -> str:
    """A clamp that is also read before it is clamped further."""
    value = graph.node("Relu", "relu", value_of(graph))
    low = graph.node("Minimum", "low", value, graph.constant("half", np.float32(0.5)))
    high = graph.node("Maximum", "high", graph.constant("more", [[0.7]]), low)
    return graph.node("Add", "sum", value, high)


def steep(graph: GraphFiles) -> str:
    """Slopes below 0, of 0, between 0 and 1, and above 1."""
    slopes = graph.constant("slopes", [[[-1.5, 0.0, 0.3, 2.5]]])
    return graph.node("Prelu", "steep", value_of(graph), slopes)


def padded_on_both_sides(graph: GraphFiles) -> str:
    value = graph.convolution("value", "image", drawn(1, 1, 3, 2))
    return graph.node("Pad", "pad", value, graph.constant("n", [[0, 0], [0, 0], [0, 0], [1, 1]]))


def padded_widely(graph: GraphFiles) -> str:
    """More channels than are worth a convolution."""
    value = graph.convolution("value", "image", drawn(1, 1, 3, 256))
    wide = graph.node("Pad", "p", value, graph.constant("n", [[0, 0], [0, 0], [0, 0], [100, 7]]))
    return graph.convolution("narrow", wide, drawn(1, 1, 363, 4))


def relu6(graph: GraphFiles) -> str:
    return value_of(
        graph, graph.constant("b", 9 * drawn(4)), **FUSED, fused_ops=["BiasAdd", "Relu6"]
    )


def one_slope(graph: GraphFiles) -> str:
    others = graph.constant("biases", drawn(4)), graph.constant("slope", [0.2])
    return value_of(graph, *others, **FUSED, fused_ops=["BiasAdd", "Prelu"])


def softened(graph: GraphFiles) -> str:
    return graph.node("Softmax", "soft", graph.node("Sigmoid", "sigmoid", value_of(graph)))


def transposed(graph: GraphFiles) -> str:
    """A matrix stored as `(out, in)`, over a mean that keeps its axes."""
    axes = graph.constant("axes", [-2, -3])
    mean = graph.node("Mean", "mean", value_of(graph), axes, keep_dims=True)
    others = graph.constant("matrix", drawn(4, 4)), graph.constant("offsets", drawn(4))
    product: dict[str, Any] = {"transpose_a": False, "transpose_b": True}
    return graph.node("_FusedMatMul", "x", mean, *others, fused_ops=["BiasAdd", "Relu"], **product)


@pytest.mark.parametrize(
    "build",
    [branches, shifted_then_scaled, renamed, clamped_twice, steep, padded_on_both_sides,
     padded_widely, relu6, one_slope, softened, transposed],
)  # fmt: skip
def test_an_arrangement_is_computed_as_the_original_does(build: Build) -> None:
    """What is folded or written in another form gives the original's result, read once or more."""
    graph = GraphFiles()
    pooled(graph, build(graph))
    assert_same(graph.files(), publishing("out", 4), pictures(2, 8, 8))


def test_a_row_of_all_places_keeps_their_order() -> None:
    """A whole grid in one row runs through places first, channels varying fastest."""
    graph = GraphFiles()
    graph.node("Reshape", "out", value_of(graph), graph.constant("shape", [-1, 256]))
    assert_same(graph.files(), publishing("out", 256), pictures(2, 8, 8))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 8), (13, 32)])
def test_a_graph_takes_pictures_of_any_size(height: int, width: int) -> None:
    """With free sides, a graph published for 8 x 8 computes the same for other pictures."""
    spec = replace(SMALL, free_sides=True)
    assert_same(small_graph().files(), spec, pictures(2, height, width))


def test_outputs_of_several_nodes_are_joined_in_order() -> None:
    """An output of two nodes has the rows of the first, then those of the second."""
    graph = GraphFiles()
    for name, step in (("near", 1), ("far", 2)):
        value = graph.convolution(name + "/value", "image", drawn(step, step, 3, 4),
                                  strides=[1, step, step, 1])  # fmt: skip
        graph.node("Reshape", name, value, graph.constant(name + "/shape", [-1, -1, 2]))
    spec = replace(SMALL, outputs=(Output("both", ("far", "near"), ("N", "rows", 2)),))
    found = converted(graph.files(), spec).run({"image": pictures(2, 8, 8)})
    assert found["both"].shape == (2, 32 + 128, 2)
    assert_same(graph.files(), spec, pictures(2, 8, 8))


def test_the_same_files_give_the_same_bytes() -> None:
    """Two conversions of one graph are equal byte by byte, so that a hash can pin them."""
    first, second = (graph_to_onnx(read_graph(*small_graph().files()), SMALL) for _ in range(2))
    assert first == second


def test_input_and_outputs_are_declared() -> None:
    """The model takes bytes of pictures, and its batch is symbolic throughout."""
    model = converted(small_graph().files(), SMALL)
    (image,) = model.inputs
    assert (image.name, image.dtype, image.shape) == ("image", "tensor(uint8)", ("N", 8, 8, 3))
    assert [output.shape[0] for output in model.outputs] == ["N", "N"]
    free = converted(small_graph().files(), replace(SMALL, free_sides=True))
    assert free.inputs[0].shape == ("N", "height", "width", 3)


# --- The models of the default pack ----------------------------------------------------------

SPECS = [BLAZEFACE, FACEMESH, FACERES]
SIDES = {"blazeface": 256, "facemesh": 192, "faceres": 224}
by_model = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def files_of(package: Path, spec: ConversionSpec) -> Files:
    model = package / "models" / spec.name
    return model.with_suffix(".json").read_bytes(), model.with_suffix(".bin").read_bytes()


def stretched(picture: Pixels, height: int, width: int) -> Pixels:
    """The nearest pixels of a picture, as many as are asked for."""
    rows = np.arange(height) * len(picture) // height
    columns = np.arange(width) * picture.shape[1] // width
    return picture[rows][:, columns]


@pytest.fixture(scope="session")
def photos(astronaut: Pixels, tiles: list[list[Pixels]]) -> list[Pixels]:
    """Three people, cropped to their faces."""
    return [astronaut[20:230, 120:330], tiles[0][0], tiles[4][7]]


@pytest.mark.models
@pytest.mark.parametrize(
    ("spec", "height", "width"),
    [(spec, SIDES[spec.name], SIDES[spec.name]) for spec in SPECS]
    + [(BLAZEFACE, 128, 128), (BLAZEFACE, 160, 192)],
)
def test_a_real_model_computes_what_the_original_does(
    spec: ConversionSpec, height: int, width: int, human_package: Path, photos: list[Pixels]
) -> None:
    """On photos of faces, no published number differs from the original by more than 0.001."""
    files = files_of(human_package, spec)
    images = np.stack([stretched(photo, height, width) for photo in photos])
    found = converted(files, spec).run({"image": images})
    for name, values in expected(files, spec, images).items():
        assert found[name].shape == values.shape
        assert np.abs(found[name] - values).max() <= DIFFERENCE_MAX


@pytest.mark.models
@by_model
@pytest.mark.parametrize("count", [2, 3, 8])
def test_an_item_has_the_same_bits_in_any_batch(
    spec: ConversionSpec, count: int, human_package: Path, photos: list[Pixels]
) -> None:
    """What a picture gives alone, it gives bit by bit among others, wherever it stands."""
    side = SIDES[spec.name]
    model = converted(files_of(human_package, spec), spec)
    images = [stretched(photo, side, side) for photo in photos]
    images = [*images, *pictures(8, side, side)][:count]
    together = model.run({"image": np.stack(images)})
    for place, image in enumerate(images):
        for name, values in model.run({"image": image[np.newaxis]}).items():
            np.testing.assert_array_equal(values[0], together[name][place])


@pytest.mark.models
@pytest.mark.parametrize(("height", "width"), [(128, 128), (160, 160), (192, 128), (256, 256)])
def test_the_detector_takes_every_multiple_of_32(
    height: int, width: int, human_package: Path
) -> None:
    """Anchors are two for each cell of 16 px and six for each of 32, those of 16 px first."""
    model = converted(files_of(human_package, BLAZEFACE), BLAZEFACE)
    found = model.run({"image": pictures(1, height, width)})
    anchors = 2 * (height // 16) * (width // 16) + 6 * (height // 32) * (width // 32)
    assert found["boxes"].shape == (1, anchors, 16)
    assert found["logits"].shape == (1, anchors, 1)


@pytest.mark.models
def test_real_models_know_a_face_when_they_see_one(
    human_package: Path, photos: list[Pixels]
) -> None:
    """Detector and mesh are sure of a face and not of grey; ages are chances that sum to 1."""
    found: dict[str, Any] = {}
    for spec in SPECS:
        side = SIDES[spec.name]
        grey = np.full((side, side, 3), 128, np.uint8)
        images = np.stack([grey, *(stretched(photo, side, side) for photo in photos)])
        found |= converted(files_of(human_package, spec), spec).run({"image": images})
    assert (found["logits"].max(axis=(1, 2)) > 0).tolist() == [False, True, True, True]
    assert (found["presence"][:, 0] > 0.5).tolist() == [False, True, True, True]
    assert found["mesh"].shape == (4, 3 * 468)
    np.testing.assert_allclose(found["age_probabilities"].sum(axis=1), 1, rtol=1e-5)
