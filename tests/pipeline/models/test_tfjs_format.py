"""What the reader of TensorFlow.js graph models accepts, and that nothing else gets past it."""

import json
import tracemalloc
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Code, PipelineError
from pipeline.models.convert import tfjs_format, untrusted_json
from pipeline.models.convert.tfjs_format import TfjsGraph, read_graph
from tests.pipeline.models.tfjs_files import GraphFiles, attribute, small_graph

READER_CODES = {Code.FORMAT_INVALID, Code.FORMAT_TOO_LARGE, Code.FORMAT_UNSUPPORTED}
PEAK_BYTES_MAX = 4 << 20  # what reading a few kB may allocate, whatever they claim
DOCUMENT = small_graph().document()
TOPOLOGY, WEIGHTS = small_graph().files()

Change = Callable[[dict[str, Any]], Any]


def refusal(topology: bytes, weights: bytes = WEIGHTS) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read_graph(topology, weights)
    return caught.value


def changed(change: Change) -> bytes:
    """The small graph's topology after `change`."""
    document = deepcopy(DOCUMENT)
    change(document)
    return json.dumps(document).encode()


def node(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        node for node in document["modelTopology"]["node"] if node["name"] == name
    )
    return found


def weight(document: dict[str, Any], name: str) -> dict[str, Any]:
    listed = document["weightsManifest"][0]["weights"]
    found: dict[str, Any] = next(weight for weight in listed if weight["name"] == name)
    return found


def read_or_refused(topology: bytes, weights: bytes) -> TfjsGraph | None:
    """A graph, or None for one of the reader's codes; anything else is raised."""
    try:
        return read_graph(topology, weights)
    except PipelineError as error:
        if error.code not in READER_CODES:
            raise
        return None


def test_nodes_keep_what_the_file_says() -> None:
    """A node comes out with its operation, its inputs and its attributes, each of its type."""
    graph = read_graph(TOPOLOGY, WEIGHTS)
    first = next(node for node in graph.nodes if node.name == "first")
    assert first.op == "_FusedConv2D"
    assert first.inputs == ("image", "first/filters", "first/biases", "first/slopes")
    assert first.integers("strides") == (1, 2, 2, 1)
    assert first.texts("fused_ops") == ("BiasAdd", "Prelu")
    assert first.text("padding") == "SAME"
    assert not first.flag("transpose_a")
    assert graph.nodes[0].integers("shape") == (-1, 8, 8, 3)


@pytest.mark.parametrize("read", ["integers", "texts", "text", "flag"])
def test_an_attribute_of_another_type_is_an_error(read: str) -> None:
    """Asking a node for an attribute as what it is not raises `format_invalid`."""
    graph = read_graph(TOPOLOGY, WEIGHTS)
    first = next(node for node in graph.nodes if node.name == "first")
    key = {"integers": "padding", "texts": "strides", "text": "strides", "flag": "padding"}[read]
    with pytest.raises(PipelineError, match="format_invalid"):
        getattr(first, read)(key)


def test_nodes_follow_what_they_read() -> None:
    """Whatever the order in the file, a node comes after every node it reads."""

    def reverse(document: dict[str, Any]) -> None:
        document["modelTopology"]["node"].reverse()

    graph = read_graph(changed(reverse), WEIGHTS)
    known = set(graph.constants)
    for item in graph.nodes:
        assert known.issuperset(item.inputs)
        known.add(item.name)
    assert len(graph.nodes) == 15


def test_a_reference_may_name_the_first_result() -> None:
    """`name:0` means the same as `name`."""

    def refer(document: dict[str, Any]) -> None:
        node(document, "low")["input"] = ["total:0"]

    graph = read_graph(changed(refer), WEIGHTS)
    assert next(node for node in graph.nodes if node.name == "low").inputs == ("total",)


def test_constants_have_their_values() -> None:
    """A constant is the array that was written, of the same type, and cannot be changed."""
    graph = GraphFiles()
    values = np.random.default_rng(3).normal(size=(2, 3, 4)).astype(np.float32)
    graph.constant("floats", values)
    graph.constant("integers", [[1, -2], [3, 2**31 - 1]])
    graph.constant("scalar", np.float32(6))
    constants = read_graph(*graph.files()).constants
    np.testing.assert_array_equal(constants["floats"], values)
    np.testing.assert_array_equal(constants["integers"], [[1, -2], [3, 2**31 - 1]])
    assert constants["scalar"].shape == ()
    assert [array.dtype for array in constants.values()] == [np.float32, np.int32, np.float32]
    with pytest.raises(ValueError, match="read-only"):
        constants["floats"][0] = 0


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_narrow_weights_are_widened(shape: tuple[int, ...]) -> None:
    """float16 keeps its values; 8 and 16 bits are steps of `scale` above `min`; all float32."""
    graph = GraphFiles()
    rng = np.random.default_rng(4)
    halves = rng.normal(size=shape).astype(np.float16)
    graph.constant("float16", halves, dtype="float16", original_dtype="float32")
    steps = {}
    for dtype in ("uint8", "uint16"):
        steps[dtype] = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        graph.constant(dtype, steps[dtype], dtype=dtype, scale=0.25, min=-7)
    constants = read_graph(*graph.files()).constants
    np.testing.assert_array_equal(constants["float16"], halves.astype(np.float32))
    for dtype, values in steps.items():
        np.testing.assert_array_equal(constants[dtype], values * np.float32(0.25) - 7)
    assert {array.dtype for array in constants.values()} == {np.dtype(np.float32)}


INVALID: dict[str, Change] = {
    "no nodes": lambda d: d["modelTopology"].pop("node"),
    "no manifest": lambda d: d.pop("weightsManifest"),
    "nodes that are no list": lambda d: d["modelTopology"].update(node={}),
    "a node that is no object": lambda d: d["modelTopology"]["node"].append(7),
    "two nodes of one name": lambda d: d["modelTopology"]["node"].append(node(d, "low")),
    "a name with a space": lambda d: node(d, "low").update(name="lo w"),
    "a name that is no text": lambda d: node(d, "low").update(name=7),
    "an empty name": lambda d: node(d, "low").update(name=""),
    "an input that does not exist": lambda d: node(d, "low").update(input=["elsewhere"]),
    "a node that reads itself": lambda d: node(d, "low").update(input=["low"]),
    "a circle": lambda d: node(d, "deep").update(input=["rows"]),
    "an attribute of two types": lambda d: node(d, "low")["attr"].update(T={"b": True, "i": "1"}),
    "an attribute of no type": lambda d: node(d, "low")["attr"].update(T={}),
    "a text not in base64": lambda d: node(d, "deep")["attr"].update(padding={"s": "SAME!"}),
    "a text not in ASCII": lambda d: node(d, "deep")["attr"].update(padding={"s": "gA=="}),
    "an integer that is none": lambda d: node(d, "deep")["attr"].update(k={"i": "1.5"}),
    "a truth value that is none": lambda d: node(d, "deep")["attr"].update(k={"b": "true"}),
    "a shape below -1": lambda d: node(d, "deep")["attr"].update(
        k={"shape": {"dim": [{"size": "-2"}]}}
    ),
    "two weights of one name": lambda d: weight(d, "six").update(name="scale"),
    "a weight without a node": lambda d: d["modelTopology"]["node"].remove(node(d, "six")),
    "a weight of a computing node": lambda d: node(d, "six").update(op="Identity", attr={}),
    "a constant without a weight": lambda d: node(d, "low").update(op="Const"),
    "a constant of another type": lambda d: node(d, "six")["attr"]["value"]["tensor"].update(
        dtype="DT_INT32"
    ),
    "a constant of another shape": lambda d: weight(d, "scale").update(shape=[2, 3]),
    "weights that are too long": lambda d: weight(d, "scale").update(shape=[7]),
    "weights that are too short": lambda d: weight(d, "scale").update(shape=[5]),
    "an axis of 0": lambda d: weight(d, "scale").update(shape=[0]),
    "an axis that is no number": lambda d: weight(d, "scale").update(shape=[[6]]),
    "a dtype that is no text": lambda d: weight(d, "scale").update(dtype={}),
    "steps without a scale": lambda d: weight(d, "scale").update(quantization={"dtype": "uint16"}),
}
UNSUPPORTED: dict[str, Change] = {
    "another format": lambda d: d.update(format="layers-model"),
    "functions": lambda d: d["modelTopology"]["library"].update(function=[{}]),
    "a second result": lambda d: node(d, "low").update(input=["total:1"]),
    "a control edge": lambda d: node(d, "low").update(input=["total", "^image"]),
    "an attribute of another kind": lambda d: node(d, "low")["attr"].update(f={"func": {}}),
    "a list of another kind": lambda d: node(d, "low")["attr"].update(f={"list": {"b": [True]}}),
    "an unknown rank": lambda d: node(d, "image")["attr"].update(
        shape={"shape": {"unknownRank": True}}
    ),
    "complex weights": lambda d: weight(d, "scale").update(dtype="complex64"),
    "weights of 4 bits": lambda d: weight(d, "scale").update(quantization={"dtype": "int4"}),
    "narrow integers": lambda d: weight(d, "mean/axes").update(
        quantization={"dtype": "uint8", "scale": 1, "min": 0}
    ),
}
TOO_LARGE: dict[str, Change] = {
    "nodes": lambda d: d["modelTopology"]["node"].extend([{}] * tfjs_format.NODES_MAX),
    "weights": lambda d: d["weightsManifest"][0]["weights"].extend([{}] * tfjs_format.NODES_MAX),
    "groups": lambda d: d["weightsManifest"].extend([{}] * tfjs_format.NODES_MAX),
    "a name": lambda d: node(d, "low").update(name="n" * 257),
    "inputs": lambda d: node(d, "low").update(input=["total"] * (tfjs_format.INPUTS_MAX + 1)),
    "attributes": lambda d: node(d, "low").update(
        attr={f"k{index}": {"b": True} for index in range(tfjs_format.ATTRIBUTES_MAX + 1)}
    ),
    "a list": lambda d: node(d, "deep")["attr"].update(
        strides=attribute([1] * (tfjs_format.LIST_MAX + 1))
    ),
    "a rank": lambda d: weight(d, "scale").update(shape=[1] * tfjs_format.RANK_MAX + [6]),
    "an axis": lambda d: weight(d, "scale").update(shape=[2**40]),
    "elements": lambda d: weight(d, "scale").update(shape=[2**13, 2**13]),
    "depth": lambda d: d.update(extra=json.loads("[" * 24 + "]" * 24)),
}


@pytest.mark.parametrize("what", INVALID)
def test_what_nobody_writes_is_invalid(what: str) -> None:
    """A file that contradicts itself or breaks the format is refused as `format_invalid`."""
    assert refusal(changed(INVALID[what])).code is Code.FORMAT_INVALID


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_what_the_reader_does_not_know_is_unsupported(what: str) -> None:
    """What TensorFlow.js may write but Limen does not read is `format_unsupported`."""
    assert refusal(changed(UNSUPPORTED[what])).code is Code.FORMAT_UNSUPPORTED


@pytest.mark.parametrize("what", TOO_LARGE)
def test_every_size_is_bounded(what: str) -> None:
    """One more than a bound allows is `format_too_large`."""
    assert refusal(changed(TOO_LARGE[what])).code is Code.FORMAT_TOO_LARGE


def test_both_files_are_bounded() -> None:
    """Files beyond their bound are refused before anything in them is looked at."""
    topology = bytes(tfjs_format.TOPOLOGY_BYTES_MAX + 1)
    assert refusal(topology).code is Code.FORMAT_TOO_LARGE
    weights = bytes(tfjs_format.WEIGHTS_BYTES_MAX + 1)
    assert refusal(TOPOLOGY, weights).code is Code.FORMAT_TOO_LARGE


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 1}', b"1" * 5000, b'"\\u']
)
def test_what_is_not_a_json_object_is_invalid(text: bytes) -> None:
    """Broken JSON, keys named twice, NaN and values that are no object are refused alike."""
    assert refusal(text).code in {Code.FORMAT_INVALID, Code.FORMAT_TOO_LARGE}


def test_brackets_in_text_are_not_depth() -> None:
    """Only brackets outside of strings nest."""
    name = '[{"\\' * 20

    def rename(document: dict[str, Any]) -> None:
        node(document, "rows")["name"] = name

    assert name in {item.name for item in read_graph(changed(rename), WEIGHTS).nodes}
    with pytest.raises(PipelineError, match="format_too_large"):
        untrusted_json.parse(b'["]",' * 25)


def test_weights_use_up_their_file() -> None:
    """One byte more or less than the manifest lists is a mistake somewhere."""
    assert refusal(TOPOLOGY, WEIGHTS + b"\0").code is Code.FORMAT_INVALID
    assert refusal(TOPOLOGY, WEIGHTS[:-1]).code is Code.FORMAT_INVALID


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_are_finite(value: float) -> None:
    """A single weight that is no number would make every answer one; it is refused."""
    graph = GraphFiles()
    graph.constant("values", np.array([1, value, 2], np.float32))
    assert refusal(*graph.files()).code is Code.FORMAT_INVALID


def test_a_forged_size_allocates_nothing() -> None:
    """A few kB that claim many MB are refused without allocating them."""
    forged = changed(lambda d: weight(d, "scale").update(shape=[2**12, 2**12]))
    tracemalloc.start()
    try:
        refusal(forged)
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES_MAX
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_spoilt_bytes_end_in_a_code(data: st.DataObject) -> None:
    """Bytes changed, lost or inserted anywhere end in a graph or in one of the reader's codes."""
    spoilt = bytearray(TOPOLOGY)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(spoilt)))
        end = data.draw(st.integers(start, min(start + 8, len(spoilt))))
        spoilt[start:end] = data.draw(st.binary(max_size=8))
    weights = data.draw(st.binary(max_size=64)) + WEIGHTS[data.draw(st.integers(0, 64)) :]
    read_or_refused(bytes(spoilt), WEIGHTS)
    read_or_refused(TOPOLOGY, weights)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_code(data: bytes) -> None:
    """Bytes that never were a model are refused with one of the reader's codes."""
    assert read_or_refused(data, b"") is None
