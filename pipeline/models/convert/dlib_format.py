"""Reads `dlib_face_recognition_resnet_model_v1.dat`, the face recognition network of dlib.

dlib writes a network from the outside in: one version number per layer on the way down to the
input, then each layer's settings and weights on the way back up. The way down alone says how
deep the file nests, so a loop reads it and no depth can exhaust the stack.

    loss, 2 2 2 .. 1 .. 3 (versions), input, con, affine, relu, .. fc, each with its weights

The numbers on the way down tell computing layers (2; 3 for the one on the input) from tags and
skips (1), but not which tag a sum refers to: in C++ that is part of the type. `_assembled`
supplies it for the two forms that the published type uses, and `read_resnet` then holds the
whole network against that type.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from pipeline.models.convert.dlib_bytes import Cursor, invalid, too_large, unsupported
from pipeline.models.convert.dlib_net import (
    PUBLISHED,
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
    outline,
)

FILE_BYTES_MAX = 64 << 20  # the published file has 22.5 MB
LAYERS_MAX = 512  # it nests 130; this bounds every loop over them
SIDE_PX_MAX = 1024
WINDOW_MAX = 64  # of kernels, strides and paddings


def read_resnet(data: bytes) -> DlibNet:
    """The network in `data`, which is the published one in all but the values of its weights.

    Raises what `read_network` raises, and `format_unsupported` for any other topology.
    """
    net = read_network(data)
    both = zip_longest(outline(net), PUBLISHED, fillvalue="nothing")
    for place, (found, published) in enumerate(both):
        if found != published:
            raise unsupported(f"layer {place} is {found}, in the published network {published}")
    return net


def read_network(data: bytes) -> DlibNet:
    """Any network in `data` that consists of the layers of `dlib_net`.

    Raises `format_too_large` beyond a bound of this module, `format_unsupported` for layers,
    versions and shapes it does not know, and `format_invalid` for everything else that dlib could
    not have written.
    """
    if len(data) > FILE_BYTES_MAX:
        raise too_large(f"{len(data)} bytes, at most {FILE_BYTES_MAX}")
    cursor = Cursor(data)
    _read_loss(cursor)
    versions = _read_versions(cursor)
    image = _read_input(cursor)
    tokens = [_read_layer(cursor, version) for version in reversed(versions)]
    cursor.finish()
    return DlibNet(image, tuple(_assembled(tokens)))


# --- From tokens to layers -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mark:
    """A tag or a skip; the file does not say which."""


@dataclass(frozen=True, slots=True)
class _AddPrevious:
    """The sum of a residual; the file does not say with what."""


def _assembled(tokens: Iterable[Layer | _Mark | _AddPrevious]) -> Iterator[Layer]:
    """Layers with their residuals put together, in the two forms that the published type uses.

    Mark, body, sum: a tag on x, and the sum refers to it. Mark, body, mark, mark, shortcut, sum:
    a tag on x, a tag on the body's result, a skip back to x, and the sum refers to that result.
    """
    rest = iter(tokens)
    for token in rest:
        if isinstance(token, _AddPrevious):
            raise unsupported("a sum without a tag before it")
        if not isinstance(token, _Mark):
            yield token
            continue
        body, end = _run(rest)
        if isinstance(end, _AddPrevious):
            yield Residual(body, ())
            continue
        between, end = _run(rest)
        if between or not isinstance(end, _Mark):
            raise unsupported("a tag inside a residual without a skip after it")
        shortcut, end = _run(rest)
        if not isinstance(end, _AddPrevious):
            raise unsupported("a skip without a sum after it")
        yield Residual(body, shortcut)


def _run(
    tokens: Iterator[Layer | _Mark | _AddPrevious],
) -> tuple[tuple[Layer, ...], _Mark | _AddPrevious]:
    """The plain layers up to the next mark or sum, and that mark or sum."""
    run: list[Layer] = []
    for token in tokens:
        if isinstance(token, _Mark | _AddPrevious):
            return tuple(run), token
        run.append(token)
    raise unsupported("a residual without an end")


# --- From bytes to tokens --------------------------------------------------------------------


def _read_loss(cursor: Cursor) -> None:
    cursor.expect(1, "version of the loss layer")
    name = cursor.text()
    if name != "loss_metric_2":
        raise unsupported(f"loss {name!r}")
    cursor.number()  # the margin and
    cursor.number()  # the distance threshold of training


def _read_versions(cursor: Cursor) -> list[int]:
    """Versions from the output to the input: 1 for a mark, 2 for a layer, 3 for the first one."""
    versions: list[int] = []
    while len(versions) < LAYERS_MAX:
        version = cursor.integer()
        if version not in {1, 2, 3}:
            raise unsupported(f"layer version {version}")
        versions.append(version)
        if version == 3:
            return versions
    raise too_large(f"more than {LAYERS_MAX} layers")


def _read_input(cursor: Cursor) -> InputImage:
    name = cursor.text()
    if name != "input_rgb_image_sized":
        raise unsupported(f"input {name!r}")
    mean_rgb = (cursor.number(), cursor.number(), cursor.number())
    if not all(0 <= mean <= 255 for mean in mean_rgb):
        raise invalid("a mean colour outside 0 to 255")
    side_px = cursor.square(1, SIDE_PX_MAX)
    return InputImage(side_px, mean_rgb)


def _read_layer(cursor: Cursor, version: int) -> Layer | _Mark | _AddPrevious:
    """One layer on the way up: its own part, then the state every computing layer carries."""
    if version == 1:
        return _Mark()
    name = cursor.text()
    if name not in _LAYERS:
        raise unsupported(f"layer {name!r}")
    layer = _LAYERS[name](cursor)
    for _ in range(3):
        cursor.flag()  # set up; gradient stale; output hidden by a layer working in place
    for _ in range(3):
        cursor.tensor()  # gradient, output and gradient of the parameters; empty once cleaned
    if version == 3:
        cursor.expect(1, "samples per image")
    return layer


def _read_window(cursor: Cursor, side_min: int) -> tuple[int, int, int]:
    """Side, stride and padding of a square window."""
    side = cursor.square(side_min, WINDOW_MAX)
    stride = cursor.square(1, WINDOW_MAX)
    padding = cursor.square(0, max(side - 1, 0))  # dlib requires less than the window
    return side, stride, padding


def _read_convolution(cursor: Cursor) -> Convolution:
    weights = cursor.weights()
    count = cursor.integer()
    side, stride, padding = _read_window(cursor, 1)
    shape = cursor.alias()
    biases_shape = cursor.alias()
    cursor.multipliers()
    if shape[0] != count or shape[2:] != (side, side) or biases_shape != (1, count, 1, 1):
        raise invalid(
            f"{count} filters of side {side}, stored as {shape} with {biases_shape} biases"
        )
    filters, biases = _parted(weights, (shape, (count,)))
    return Convolution(filters, biases, stride, padding)


def _read_affine(cursor: Cursor) -> Affine:
    weights = cursor.weights()
    shape = cursor.alias()
    if cursor.alias() != shape:
        raise invalid("an affine layer whose gamma and beta differ in shape")
    mode = cursor.integer()
    if mode != 0 or shape != (1, shape[1], 1, 1):
        raise unsupported(f"an affine layer of mode {mode} and shape {shape}, not one per channel")
    return Affine(*_parted(weights, ((shape[1],), (shape[1],))))


def _read_dense(cursor: Cursor) -> Dense:
    outputs, inputs = cursor.integer(), cursor.integer()
    weights = cursor.weights()
    shape = cursor.alias()
    biases_shape = cursor.alias()
    has_no_bias = cursor.integer() == 1
    cursor.multipliers()
    if not has_no_bias or biases_shape != (0, 0, 0, 0):
        raise unsupported("a fully connected layer with a bias")
    if shape != (inputs, outputs, 1, 1):
        raise invalid(f"{inputs} inputs and {outputs} outputs, stored as {shape}")
    return Dense(*_parted(weights, ((inputs, outputs),)))


def _parted(weights: Weights, shapes: Sequence[tuple[int, ...]]) -> list[Weights]:
    """`weights` cut into consecutive arrays of `shapes`, which must use it up."""
    sizes = [math.prod(shape) for shape in shapes]
    if min(sizes) == 0 or sum(sizes) != weights.size:
        raise invalid(f"{weights.size} weights for the shapes {shapes}")
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [
        weights[start : start + size].reshape(shape)
        for start, size, shape in zip(starts, sizes, shapes, strict=True)
    ]


_LAYERS: dict[str, Callable[[Cursor], Layer | _AddPrevious]] = {
    "con_4": _read_convolution,
    "affine_": _read_affine,
    "relu_": lambda _: Relu(),
    "max_pool_2": lambda cursor: MaxPool(*_read_window(cursor, 1)),
    "avg_pool_2": lambda cursor: AveragePool(*_read_window(cursor, 0)),
    "add_prev_": lambda _: _AddPrevious(),
    "fc_2": _read_dense,
}
