"""What the conversion of TensorFlow.js graphs folds, leaves out and refuses."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Code, PipelineError
from pipeline.models.convert.tfjs_format import read_graph
from pipeline.models.convert.tfjs_layers import Clamp, Convolution, Plain
from pipeline.models.convert.tfjs_lower import lower
from pipeline.models.convert.tfjs_onnx import ConversionSpec, Output, graph_to_onnx
from pipeline.models.options import SessionOptions
from pipeline.models.session import OnnxModel
from tests.pipeline.models.tfjs_files import GraphFiles, drawn, pooled, small_graph

ROWS = Output("rows", ("rows",), ("N", "places", 3))
CHANCES = Output("chances", ("chances",), ("N", 5))
SMALL = ConversionSpec("small", (ROWS, CHANCES), scale=1 / 100, offset=-1.0)

Build = Callable[[GraphFiles], str]


def refusal(graph: GraphFiles, spec: ConversionSpec) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        graph_to_onnx(read_graph(*graph.files()), spec)
    return caught.value


def publishing(value: str) -> ConversionSpec:
    """A spec for a graph whose node `value` has four channels and one place."""
    return ConversionSpec("test", (Output("out", (value,), ("N", 4)),), scale=1 / 255)


def test_steps_are_folded() -> None:
    """Convolution, scale, shift and three clamps are one convolution and one clamp."""
    graph = GraphFiles()
    value = graph.convolution("value", "image", drawn(3, 3, 3, 4))
    value = graph.node("Mul", "scaled", value, graph.constant("scale", drawn(4)))
    value = graph.node("Add", "shifted", value, graph.constant("shift", drawn(4)))
    value = graph.node("Relu", "relu", value)
    value = graph.node("Minimum", "low", value, graph.constant("six", np.float32(6)))
    value = graph.node("Maximum", "high", value, graph.constant("zero", np.float32(0)))
    pooled(graph, value)
    lowered = lower(read_graph(*graph.files()), ["out"], input_scale=1, free_sides=False)
    image, convolution, clamp, *rest = (step.layer for step in lowered.steps)
    assert image is Plain.IMAGE
    assert isinstance(convolution, Convolution)
    assert clamp == Clamp(0, 6)
    assert rest == [Plain.MEAN, Plain.FLATTEN]


def test_what_no_output_needs_is_left_out() -> None:
    """An operation Limen does not know is no obstacle where nothing published depends on it."""
    graph = small_graph()
    graph.node("TopKV2", "best", "logits")
    data = graph_to_onnx(read_graph(*graph.files()), replace(SMALL, outputs=(ROWS,)))
    assert len(data) < len(graph_to_onnx(read_graph(*graph.files()), SMALL))
    model = OnnxModel("rows", data, SessionOptions())
    assert [output.name for output in model.outputs] == ["rows"]


def value_of(graph: GraphFiles, **attributes: Any) -> str:
    """A convolution to four channels."""
    return graph.convolution("value", "image", drawn(2, 2, 3, 4), **attributes)


def padded(graph: GraphFiles, *amounts: list[int]) -> str:
    return graph.node("Pad", "pad", value_of(graph), graph.constant("amounts", list(amounts)))


def other_activation(graph: GraphFiles) -> str:
    fused = {"op": "_FusedConv2D", "fused_ops": ["BiasAdd", "Elu"]}
    biases = graph.constant("biases", drawn(4))
    return graph.convolution("value", "image", drawn(1, 1, 3, 4), biases, **fused)


def other_input(graph: GraphFiles, channels: int) -> str:
    sizes = [{"size": str(size)} for size in (1, 8, 8, channels)]
    return graph.node("Placeholder", "other", shape={"dim": sizes})


def two_inputs(graph: GraphFiles) -> str:
    other = graph.convolution("second", other_input(graph, 3), drawn(2, 2, 3, 4))
    return graph.node("Add", "sum", value_of(graph), other)


def broadcast_sum(graph: GraphFiles) -> str:
    value = value_of(graph)
    return graph.node("Add", "sum", value, pooled(graph, value, "mean"))


def product_of_places(graph: GraphFiles) -> str:
    matrix, offsets = graph.constant("matrix", drawn(4, 4)), graph.constant("offsets", drawn(4))
    settings = {"transpose_a": False, "transpose_b": False, "fused_ops": ["BiasAdd"]}
    return graph.node("_FusedMatMul", "product", value_of(graph), matrix, offsets, **settings)


def huge_scale(graph: GraphFiles) -> str:
    value = graph.convolution("value", "image", 1e30 * drawn(1, 1, 3, 4))
    return graph.node("Mul", "huge", value, graph.constant("scale", [1e30]))


UNSUPPORTED: dict[str, Build] = {
    "an operation": lambda graph: graph.node("Tanh", "tanh", value_of(graph)),
    "an activation": other_activation,
    "a pad of places": lambda graph: padded(graph, [0, 0], [1, 1], [0, 0], [0, 0]),
    "a negative pad": lambda graph: padded(graph, [0, 0], [0, 0], [0, 0], [-1, 0]),
    "an input without a convolution": lambda graph: graph.node("Relu", "relu", "image"),
    "two inputs": two_inputs,
    "a grey input": lambda graph: graph.convolution(
        "value", other_input(graph, 1), drawn(1, 1, 1, 4)
    ),
    "a product of values": lambda graph: graph.node("Mul", "square", *[value_of(graph)] * 2),
    "a sum of two shapes": broadcast_sum,
    "a product over places": product_of_places,
    "a dilated window": lambda graph: value_of(graph, dilations=[1, 2, 2, 1]),
    "channels first": lambda graph: value_of(graph, data_format="NCHW"),
    "explicit padding": lambda graph: value_of(graph, padding="EXPLICIT"),
    "a stride over channels": lambda graph: value_of(graph, strides=[1, 1, 1, 2]),
    "gaps between windows": lambda graph: value_of(graph, strides=[1, 3, 3, 1]),
    "computed filters": lambda graph: graph.node("Conv2D", "value", "image", "image"),
}
INVALID: dict[str, Build] = {
    "other channels": lambda graph: graph.convolution("value", "image", drawn(1, 1, 4, 4)),
    "another rank": lambda graph: graph.convolution("value", "image", drawn(3, 4)),
    "integer filters": lambda graph: graph.convolution(
        "value", "image", np.ones((1, 1, 3, 4), np.int64)
    ),
    "a window over the edge": lambda graph: graph.convolution(
        "value", "image", drawn(9, 9, 3, 4), padding="VALID"
    ),
    "scales beyond float32": huge_scale,
}
TOO_LARGE: dict[str, Build] = {
    "channels": lambda graph: padded(graph, [0, 0], [0, 0], [0, 0], [0, 5000]),
    "a window": lambda graph: graph.convolution("value", "image", drawn(17, 1, 3, 4)),
    "a stride": lambda graph: value_of(graph, strides=[1, 99, 99, 1]),
}


@pytest.mark.parametrize(
    ("build", "code"),
    [
        pytest.param(build, code, id=what)
        for code, builds in (
            (Code.FORMAT_UNSUPPORTED, UNSUPPORTED),
            (Code.FORMAT_INVALID, INVALID),
            (Code.FORMAT_TOO_LARGE, TOO_LARGE),
        )
        for what, build in builds.items()
    ],
)
def test_what_cannot_be_converted_is_refused(build: Build, code: Code) -> None:
    """What Limen does not know, what does not fit and what is too large end in their codes."""
    graph = GraphFiles()
    pooled(graph, build(graph))
    assert refusal(graph, publishing("out")).code is code


def test_shared_weights_are_counted_for_each_use() -> None:
    """A small file cannot become a huge model by using one constant many times."""
    graph = GraphFiles()
    filters = graph.constant("filters", np.zeros((1, 1, 3, 4096), np.float32))
    wide = graph.constant("wide", np.zeros((1, 1, 4096, 1000), np.float16), dtype="float16")
    plain: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "VALID"}
    value = graph.node("Conv2D", "first", "image", filters, **plain)
    names = [graph.node("Conv2D", f"use{use}", value, wide, **plain) for use in range(5)]
    outputs = tuple(
        Output(name, (pooled(graph, name, f"{name}/mean"),), ("N", 1000)) for name in names
    )
    assert refusal(graph, ConversionSpec("test", outputs, scale=1)).code is Code.FORMAT_TOO_LARGE


def test_an_unknown_operation_is_named() -> None:
    """The refusal says which operation it is that Limen does not know."""
    graph = GraphFiles()
    graph.node("Tanh", "out", value_of(graph))
    assert "Tanh" in refusal(graph, publishing("out")).detail


@pytest.mark.parametrize(
    "output",
    [
        Output("rows", ("nowhere",), ("N", "places", 3)),
        Output("rows", ("rows",), ("N", "places", 4)),
        Output("rows", ("rows",), ("N", 3)),
        Output("chances", ("chances",), ("N", "places", 5)),
        Output("chances", ("chances", "chances"), ("N", 5)),
    ],
)
def test_an_unexpected_output_is_invalid(output: Output) -> None:
    """A graph without the node to publish, or with one of another shape, is another model."""
    error = refusal(small_graph(), replace(SMALL, outputs=(output,)))
    assert error.code is Code.FORMAT_INVALID


@pytest.mark.parametrize("sizes", [[1, 32, 8], [2, 32, 4], [1, 63, 4], [1, 8, 8, 4], [1, -1]])
def test_a_reshape_that_mixes_items_or_places_is_unsupported(sizes: list[int]) -> None:
    """Rows of two places, two items, or of a length the file leaves open have no one meaning."""
    graph = GraphFiles()
    graph.node("Reshape", "out", value_of(graph), graph.constant("shape", sizes))
    spec = replace(publishing("out"), outputs=(Output("out", ("out",), ("N", "rows", sizes[-1])),))
    assert refusal(graph, spec).code is Code.FORMAT_UNSUPPORTED


def test_features_by_place_are_not_published() -> None:
    """Only rows and pooled features have a shape that does not depend on the layout."""
    graph = GraphFiles()
    assert refusal(graph, publishing(value_of(graph))).code is Code.FORMAT_UNSUPPORTED


def test_a_fixed_row_of_a_free_picture_is_unsupported() -> None:
    """A row as long as the published picture means nothing for a picture of another size."""
    graph = GraphFiles()
    graph.node("Reshape", "out", value_of(graph), graph.constant("shape", [-1, 256]))
    spec = replace(publishing("out"), outputs=(Output("out", ("out",), ("N", 256)),))
    assert graph_to_onnx(read_graph(*graph.files()), spec)
    assert refusal(graph, replace(spec, free_sides=True)).code is Code.FORMAT_UNSUPPORTED


# --- Spoilt graphs ---------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a JSON value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


DOCUMENT = small_graph().document()
PLACES = list(places(DOCUMENT))
NAMES = [node["name"] for node in DOCUMENT["modelTopology"]["node"]]
OPERATIONS = sorted({node["op"] for node in DOCUMENT["modelTopology"]["node"]})
json_values = st.one_of(
    st.sampled_from([None, True, {}, [], "", "0", "-1", "2", "9", 0, -1, 2, 1e300, "DT_INT32"]),
    st.sampled_from(NAMES),
    st.sampled_from(OPERATIONS),
    st.lists(st.sampled_from(NAMES), max_size=4),
    st.lists(st.integers(-1, 9), max_size=4),
    st.sampled_from(PLACES).map(lambda path: at(DOCUMENT, path)),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PLACES), json_values), min_size=1, max_size=3))
def test_a_spoilt_graph_is_refused_or_runs(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever is changed in a topology, the conversion ends in a code or in a model that runs."""
    document = deepcopy(DOCUMENT)
    for (*path, last), value in changes:
        try:
            at(document, tuple(path))[last] = deepcopy(value)
        except (LookupError, TypeError):  # an earlier change removed the place
            continue
    try:
        graph = read_graph(json.dumps(document).encode(), small_graph().data)
        data = graph_to_onnx(graph, SMALL)
    except PipelineError as error:
        if not error.code.startswith("format_"):
            raise
        return
    model = OnnxModel("spoilt", data, SessionOptions())
    _, height, width, channels = model.inputs[0].shape
    images = np.zeros((2, int(height), int(width), int(channels)), np.uint8)
    assert model.run({"image": images})["chances"].shape == (2, 5)
