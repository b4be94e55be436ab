"""Networks to read, and a small writer of dlib's format, so that tests need no real weights."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

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
    Weights,
)

RED, GREEN, BLUE = (float(np.float32(mean)) for mean in (122.782, 117.001, 104.298))
IMAGE = InputImage(150, (RED, GREEN, BLUE))

# --- Networks ---------------------------------------------------------------------------------


def drawn(*shape: int) -> Weights:
    """Weights that differ from place to place and from shape to shape."""
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def con(outputs: int, inputs: int, side: int, stride: int) -> Convolution:
    padding = side // 2 if stride == 1 else 0
    return Convolution(drawn(outputs, inputs, side, side), drawn(outputs), stride, padding)


def affine(channels: int) -> Affine:
    return Affine(drawn(channels), drawn(1, channels)[0])


def block(inputs: int, width: int, stride: int) -> tuple[Layer, ...]:
    first, second = con(width, inputs, 3, stride), con(width, width, 3, 1)
    return first, affine(width), Relu(), second, affine(width)


def ares(width: int) -> tuple[Layer, ...]:
    return Residual(block(width, width, 1), ()), Relu()


def ares_down(inputs: int, width: int) -> tuple[Layer, ...]:
    return Residual(block(inputs, width, 2), (AveragePool(2, 2, 0),)), Relu()


def small_net() -> DlibNet:
    """Every kind of layer once or twice, in a few kB."""
    stem = (con(2, 3, 3, 2), affine(2), Relu(), MaxPool(3, 2, 0))
    top = (AveragePool(0, 1, 0), Dense(drawn(3, 4)))
    return DlibNet(IMAGE, (*stem, *ares(2), *ares_down(2, 3), *top))


def published_net() -> DlibNet:
    """The published type, written like dlib's C++, with weights drawn at random."""
    level4, level3 = ares(32) * 3, ares_down(32, 64) + ares(64) * 3
    level2, level1 = ares_down(64, 128) + ares(128) * 2, ares_down(128, 256) + ares(256) * 2
    stem = (con(32, 3, 7, 2), affine(32), Relu(), MaxPool(3, 2, 0))
    top = (*ares_down(256, 256), AveragePool(0, 1, 0), Dense(drawn(256, 128)))
    return DlibNet(IMAGE, (*stem, *level4, *level3, *level2, *level1, *top))


# --- A writer: one piece per primitive --------------------------------------------------------


def integer(value: int) -> bytes:
    size_bytes = max(1, (abs(value).bit_length() + 7) // 8)
    control = size_bytes | (0x80 if value < 0 else 0)
    return bytes([control]) + abs(value).to_bytes(size_bytes, "little")


def integers(*values: int) -> list[bytes]:
    return [integer(value) for value in values]


def number(value: float, digits: int) -> list[bytes]:
    """A number of `digits` binary digits, 24 or 53; low bytes of zero move to the exponent."""
    fraction, exponent = math.frexp(value)
    mantissa, exponent = round(fraction * 2**digits), exponent - digits
    for _ in range(8):
        if mantissa % 256 == 0:
            mantissa, exponent = mantissa // 256, exponent + 8
    return integers(mantissa, exponent)


def text(value: str) -> list[bytes]:
    return [integer(len(value)), value.encode()]


def tensor(values: Weights, shape: tuple[int, ...]) -> list[bytes]:
    return [*integers(2, *shape), values.astype("<f4").tobytes()]


def alias(*shape: int) -> list[bytes]:
    return integers(1, *shape)


def column(*parts: Weights) -> list[bytes]:
    values = np.concatenate([part.ravel() for part in parts])
    return tensor(values, (values.size, 1, 1, 1))


def window(layer: MaxPool | AveragePool) -> list[bytes]:
    return integers(*(value for value in (layer.side, layer.stride, layer.padding) for _ in "yx"))


MULTIPLIERS = [piece for value in (1, 1, 1, 0) for piece in number(value, 53)]
EMPTY = tensor(np.empty(0, np.float32), (0, 0, 0, 0))


def details(layer: Layer) -> list[bytes]:
    """What dlib calls the details of a layer: its name, settings and weights."""
    match layer:
        case Convolution(filters, biases, stride, padding):
            count, _, side, _ = filters.shape
            settings_ = integers(count, side, side, stride, stride, padding, padding)
            aliases = [*alias(*filters.shape), *alias(1, count, 1, 1)]
            return [*text("con_4"), *column(filters, biases), *settings_, *aliases, *MULTIPLIERS]
        case Affine(gamma, beta):
            aliases = alias(1, gamma.size, 1, 1) * 2
            return [*text("affine_"), *column(gamma, beta), *aliases, integer(0)]
        case Dense(matrix):
            inputs, outputs = matrix.shape
            own = [*integers(outputs, inputs), *tensor(matrix, (inputs, outputs, 1, 1))]
            aliases = [*alias(inputs, outputs, 1, 1), *alias(0, 0, 0, 0)]
            return [*text("fc_2"), *own, *aliases, integer(1), *MULTIPLIERS]
        case MaxPool():
            return [*text("max_pool_2"), *window(layer)]
        case AveragePool():
            return [*text("avg_pool_2"), *window(layer)]
        case _:
            return text("relu_")


MARK, ADD = "mark", "add"


def tokens(layers: Iterable[Layer]) -> Iterator[Layer | str]:
    for layer in layers:
        if isinstance(layer, Residual):
            shortcut = (MARK, MARK, *layer.shortcut) if layer.shortcut else ()
            yield from (MARK, *layer.body, *shortcut, ADD)
        else:
            yield layer


def token_pieces(token: Layer | str, above: Layer | str | None) -> list[bytes]:
    if token == MARK:
        return []
    own = text("add_prev_") if isinstance(token, str) else details(token)
    # A relu works in place on a layer that does not need its own output to learn.
    overwritten = (token == ADD or isinstance(token, Affine)) and isinstance(above, Relu)
    flags = [b"1", b"1", b"1" if overwritten else b"0"]
    return [*own, *flags, *EMPTY, *EMPTY, *EMPTY]


def pieces(image: InputImage, flat: Iterable[Layer | str]) -> list[bytes]:
    """A file as its primitives; joined, they are what dlib would have written."""
    flat = list(flat)
    loss = [integer(1), *text("loss_metric_2"), *number(0.04, 24), *number(0.6, 24)]
    versions = [*integers(*(1 if token == MARK else 2 for token in reversed(flat[1:]))), integer(3)]
    mean = [piece for value in image.mean_rgb for piece in number(value, 24)]
    input_ = [*text("input_rgb_image_sized"), *mean, *integers(image.side_px, image.side_px)]
    result = [*loss, *versions, *input_]
    for place, (token, above) in enumerate(zip(flat, [*flat[1:], None], strict=True)):
        result += token_pieces(token, above)
        result += [integer(1)] if place == 0 else []
    return result


def written(net: DlibNet) -> bytes:
    return b"".join(pieces(net.image, tokens(net.layers)))
