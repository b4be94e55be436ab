r"""Reads TensorFlow.js graph models: a topology in JSON and the weights it lists, back to back.

    topology --JSON--> weight manifest, nodes
    weights  --cut by the manifest--> constants  --compared with the nodes--> nodes in order

The JSON is a TensorFlow graph: each node names its operation, the nodes it reads and a few typed
attributes. Weights may be stored narrower than they are used, as float16 or as 8- or 16-bit steps
between two bounds; what comes out is always float32 or int32.

Both files come from strangers: nothing here recurses, every size is compared with a bound before
it is believed, and whatever is wrong ends in a coded error.
"""

import base64
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.convert import untrusted_json as read
from pipeline.models.convert.untrusted_json import check_size, invalid, unsupported

TOPOLOGY_BYTES_MAX = 2 << 20  # the largest of the models we convert has 96 kB
WEIGHTS_BYTES_MAX = 64 << 20  # 7 MB
NODES_MAX = 1024  # 283
INPUTS_MAX = 16  # of one node; 4
ATTRIBUTES_MAX = 32  # of one node; 10
LIST_MAX = 64  # of one attribute; 4
RANK_MAX = 6  # 4
ELEMENTS_MAX = 1 << 24  # of one constant; 1,048,576

Array = NDArray[np.float32] | NDArray[np.int32]
Attribute = bool | int | float | str | tuple[int, ...] | tuple[str, ...]

_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}
_NARROW: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "uint8": np.dtype("<u1"),
    "uint16": np.dtype("<u2"),
}
_TYPE_NAMES = {"float32": "DT_FLOAT", "int32": "DT_INT32"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `inputs` name nodes or constants; the node's own name names its result.

    The accessors raise `format_invalid` for an attribute that is missing or of another type.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(repr=False)

    def text(self, key: str) -> str:
        """A string."""
        value = self.attributes.get(key)
        if not isinstance(value, str):
            raise self._mistyped(key)
        return value

    def flag(self, key: str) -> bool:
        """A truth value, false when absent, as everywhere in TensorFlow."""
        value = self.attributes.get(key, False)
        if not isinstance(value, bool):
            raise self._mistyped(key)
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of integers, or a shape, in which -1 is a size left open."""
        values = self._values(key)
        integers = tuple(value for value in values if isinstance(value, int))
        if len(integers) != len(values):
            raise self._mistyped(key)
        return integers

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._values(key)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise self._mistyped(key)
        return texts

    def _values(self, key: str) -> tuple[int, ...] | tuple[str, ...]:
        value = self.attributes.get(key)
        if not isinstance(value, tuple):
            raise self._mistyped(key)
        return value

    def _mistyped(self, key: str) -> Exception:
        return invalid(f"{self.op} {self.name}: attribute {key!r} is missing or of another type")


@dataclass(frozen=True, slots=True)
class TfjsGraph:
    """A whole model: `nodes` in an order in which each follows what it reads, and `constants`,
    read-only float32 or int32 arrays by name, every value finite.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array] = field(repr=False)


def read_graph(topology: bytes, weights: bytes) -> TfjsGraph:
    """The model in `topology` (JSON) and `weights` (its files, concatenated).

    Raises `format_too_large` beyond a bound, `format_unsupported` for what TensorFlow.js may
    write but this reader does not know, and `format_invalid` for everything else.
    """
    check_size(len(topology), TOPOLOGY_BYTES_MAX, "bytes of topology")
    check_size(len(weights), WEIGHTS_BYTES_MAX, "bytes of weights")
    document = read.fields(read.parse(topology), "the topology")
    if document.get("format") != "graph-model":
        raise unsupported("not a graph model")
    model = read.fields(document.get("modelTopology"), "modelTopology")
    if read.fields(model.get("library", {}), "the library").get("function"):
        raise unsupported("a library of functions")
    constants = dict(_constants(document.get("weightsManifest"), weights))
    nodes = _nodes(model.get("node"), constants)
    return TfjsGraph(_ordered(nodes, constants), MappingProxyType(constants))


# --- Weights ---------------------------------------------------------------------------------


def _constants(manifest: object, weights: bytes) -> Iterator[tuple[str, Array]]:
    """Every weight by name. The manifest gives no offsets: weights follow each other without
    gaps, and use up the file.
    """
    start = 0
    names: set[str] = set()
    for item in _listed_weights(manifest):
        name = read.name(item.get("name"), "a weight's name")
        if name in names:
            raise invalid(f"two weights are called {name!r}")
        names.add(name)
        shape = _weight_shape(item.get("shape"), name)
        quantization = item.get("quantization")
        stored = _stored_dtype(item.get("dtype"), quantization, name)
        end = start + math.prod(shape) * stored.itemsize
        if end > len(weights):
            raise invalid(f"the weights end {end - len(weights)} bytes before {name!r} does")
        values = np.frombuffer(weights[start:end], stored).reshape(shape)
        yield name, _widened(values, quantization, name)
        start = end
    if start != len(weights):
        raise invalid(f"{len(weights) - start} bytes after the last weight")


def _listed_weights(manifest: object) -> Iterator[dict[str, Any]]:
    count = 0
    for group in read.items(manifest, "weight groups", NODES_MAX):
        listed = read.fields(group, "a weight group").get("weights")
        for item in read.items(listed, "weights", NODES_MAX):
            count += 1
            check_size(count, NODES_MAX, "weights")
            yield read.fields(item, "a weight")


def _weight_shape(value: object, name: str) -> tuple[int, ...]:
    axes = read.items(value, f"axes of {name}", RANK_MAX)
    shape = tuple(read.integer(size, f"an axis of {name}") for size in axes)
    if any(size < 1 for size in shape):
        raise invalid(f"the weight {name!r} has shape {shape}")
    check_size(math.prod(shape), ELEMENTS_MAX, f"elements of {name}")
    return shape


def _stored_dtype(used: object, quantization: object, name: str) -> np.dtype[Any]:
    dtype = _DTYPES.get(read.name(used, f"the dtype of {name}"))
    if dtype is None:
        raise unsupported(f"the weight {name!r} of dtype {used!r}")
    if quantization is None:
        return dtype
    narrow = read.fields(quantization, f"the quantization of {name}").get("dtype")
    stored = _NARROW.get(read.name(narrow, f"the stored dtype of {name}"))
    if stored is None or dtype.kind != "f":
        raise unsupported(f"the weight {name!r} of dtype {used!r} stored as {narrow!r}")
    return stored


def _widened(stored: NDArray[Any], quantization: object, name: str) -> Array:
    """`stored` as float32 or int32, read-only; 8 and 16 bits are `step * scale + min`."""
    with np.errstate(over="ignore"):  # an overflow is found below
        if stored.dtype.kind == "u":
            steps = read.fields(quantization, f"the quantization of {name}")
            scale = read.number(steps.get("scale"), f"the scale of {name}")
            least = read.number(steps.get("min"), f"the minimum of {name}")
            stored = np.asarray(stored * np.float64(scale) + np.float64(least))
        values: Array
        values = stored.astype(np.int32) if stored.dtype.kind == "i" else stored.astype(np.float32)
    if not np.isfinite(values).all():
        raise invalid(f"the weight {name!r} holds a value that is not finite")
    values.flags.writeable = False
    return values


# --- Nodes -----------------------------------------------------------------------------------


def _nodes(listed: object, constants: Mapping[str, Array]) -> dict[str, Node]:
    """The computing nodes by name; `Const` nodes are only compared with `constants`."""
    nodes: dict[str, Node] = {}
    names: set[str] = set()
    for item in read.items(listed, "nodes", NODES_MAX):
        node = read.fields(item, "a node")
        name = read.name(node.get("name"), "a node's name")
        if name in names:
            raise invalid(f"two nodes are called {name!r}")
        names.add(name)
        op = read.name(node.get("op"), f"the operation of {name}")
        attributes = read.fields(node.get("attr", {}), f"the attributes of {name}")
        check_size(len(attributes), ATTRIBUTES_MAX, f"attributes of {name}")
        if op == "Const":
            _check_constant(name, attributes, constants)
            continue
        inputs = read.items(node.get("input", []), f"inputs of {name}", INPUTS_MAX)
        nodes[name] = Node(
            name,
            op,
            tuple(_source(reference, name) for reference in inputs),
            MappingProxyType({key: _attribute(value, name) for key, value in attributes.items()}),
        )
    if constants.keys() - names or constants.keys() & nodes.keys():
        raise invalid("a weight that belongs to no constant")
    return nodes


def _source(value: object, name: str) -> str:
    """The node a reference means: `a` and `a:0` are the first result of `a`."""
    source = read.name(value, f"an input of {name}").removesuffix(":0")
    if source.startswith("^") or ":" in source:
        raise unsupported(f"{name} reads {source!r}: only first results, no control edges")
    return source


def _check_constant(name: str, attributes: dict[str, Any], constants: Mapping[str, Array]) -> None:
    array = constants.get(name)
    if array is None:
        raise invalid(f"the constant {name!r} has no weight")
    value = read.fields(attributes.get("value"), f"the value of {name}")
    tensor = read.fields(value.get("tensor"), f"the value of {name}")
    declared = (tensor.get("dtype"), _shape(tensor.get("tensorShape"), f"the shape of {name}"))
    if declared != (_TYPE_NAMES[array.dtype.name], array.shape):
        raise invalid(f"the constant {name!r} is not declared as its weight is listed")


def _attribute(value: object, name: str) -> Attribute:
    """The value of a protocol buffer `AttrValue`: an object whose one key tells the type."""
    what = f"an attribute of {name}"
    content = read.fields(value, what)
    if len(content) != 1:
        raise invalid(f"{what} has {len(content)} values")
    ((kind, only),) = content.items()
    if kind not in _READERS:
        raise unsupported(f"{what} is neither of {', '.join(_READERS)}")
    return _READERS[kind](only, what)


def _text(value: object, what: str) -> str:
    """A byte string, which protocol buffers write in base64."""
    try:
        decoded = base64.b64decode(read.name(value, what), validate=True).decode("ascii")
    except ValueError as error:
        raise invalid(f"{what} is not ASCII in base64") from error
    return read.name(decoded, what)


def _shape(value: object, what: str) -> tuple[int, ...]:
    """Sizes by axis; -1 is a size left open."""
    shape = read.fields(value, what)
    if shape.keys() - {"dim"}:
        raise unsupported(f"{what}: a shape of unknown rank")
    axes = read.items(shape.get("dim", []), what, RANK_MAX)
    sizes = tuple(read.integer(read.fields(axis, what).get("size"), what) for axis in axes)
    if any(size < -1 for size in sizes):
        raise invalid(f"{what}: a shape of {sizes}")
    return sizes


def _list(value: object, what: str) -> tuple[int, ...] | tuple[str, ...]:
    """A list of integers or of strings; an empty one does not tell of what."""
    content = read.fields(value, what)
    if not content:
        return ()
    if content.keys() == {"i"}:
        return tuple(read.integer(item, what) for item in read.items(content["i"], what, LIST_MAX))
    if content.keys() == {"s"}:
        return tuple(_text(item, what) for item in read.items(content["s"], what, LIST_MAX))
    raise unsupported(f"{what}: a list of neither integers nor strings")


_READERS: dict[str, Callable[[object, str], Attribute]] = {
    "b": read.flag,
    "f": read.number,
    "i": read.integer,
    "list": _list,
    "s": _text,
    "shape": _shape,
    "type": read.name,
}


def _ordered(nodes: Mapping[str, Node], constants: Mapping[str, Array]) -> tuple[Node, ...]:
    """`nodes`, each behind all it reads, otherwise as the file has them (Kahn's algorithm)."""
    waiting: dict[str, int] = {}
    readers: dict[str, list[str]] = {name: [] for name in nodes}
    for node in nodes.values():
        sources = [source for source in node.inputs if source not in constants]
        for source in sources:
            if source not in nodes:
                raise invalid(f"{node.name} reads {source!r}, which does not exist")
            readers[source].append(node.name)
        waiting[node.name] = len(sources)
    ready = deque(name for name, count in waiting.items() if count == 0)
    ordered: list[Node] = []
    while ready:
        node = nodes[ready.popleft()]
        ordered.append(node)
        for reader in readers[node.name]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    if len(ordered) != len(nodes):
        raise invalid(f"{len(nodes) - len(ordered)} nodes read each other in a circle")
    return tuple(ordered)
