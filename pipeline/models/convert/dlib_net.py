"""The face recognition network of dlib as values, and the one topology that was published.

`outline` says everything about a network but the values of its weights, so that two networks of
one type have equal outlines; `PUBLISHED` is that of `dlib_face_recognition_resnet_model_v1`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

INPUT_SCALE = 1 / 256  # applied by dlib after subtracting the mean; a constant of its source

Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class InputImage:
    """A square RGB image of `side_px`; dlib subtracts `mean_rgb`, then divides by 256."""

    side_px: int
    mean_rgb: tuple[float, float, float]

    def __str__(self) -> str:
        mean = " ".join(f"{value:.3f}" for value in self.mean_rgb)
        return f"input {self.side_px} mean {mean}"


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """Cross-correlation: `filters` `(out, in, side, side)` and `biases` `(out,)`, float32."""

    filters: Weights = field(repr=False)
    biases: Weights = field(repr=False)
    stride: int
    padding: int  # zeros on each of the four sides

    def __str__(self) -> str:
        shape = "x".join(map(str, self.filters.shape))
        return f"con {shape} stride {self.stride} padding {self.padding}"


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """`gamma * x + beta` per channel, both `(channels,)` float32."""

    gamma: Weights = field(repr=False)
    beta: Weights = field(repr=False)

    def __str__(self) -> str:
        return f"affine {self.gamma.size}"


@dataclass(frozen=True, slots=True)
class Relu:
    """`max(x, 0)`."""

    def __str__(self) -> str:
        return "relu"


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The maximum over square windows; padding never wins."""

    side: int
    stride: int
    padding: int

    def __str__(self) -> str:
        return f"max_pool {self.side} stride {self.stride} padding {self.padding}"


@dataclass(frozen=True, slots=True)
class AveragePool:
    """The mean over square windows without the padding, or over everything where `side` is 0."""

    side: int
    stride: int
    padding: int

    def __str__(self) -> str:
        return f"avg_pool {self.side or 'all'} stride {self.stride} padding {self.padding}"


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """`x @ weights` without a bias, `weights` `(in, out)` float32."""

    weights: Weights = field(repr=False)

    def __str__(self) -> str:
        return f"fc_no_bias {self.weights.shape[0]}x{self.weights.shape[1]}"


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """`body(x) + shortcut(x)`; an empty shortcut is `x` itself.

    Where the two differ in channels, rows or columns, dlib extends each with zeros at the end of
    that axis to the larger size.
    """

    body: tuple["Layer", ...]
    shortcut: tuple["Layer", ...]

    def __str__(self) -> str:
        body, shortcut = (", ".join(map(str, layers)) for layers in (self.body, self.shortcut))
        return f"residual [{body}] + [{shortcut}]"


Layer = Convolution | Affine | Relu | MaxPool | AveragePool | Dense | Residual


@dataclass(frozen=True, slots=True, eq=False)
class DlibNet:
    """A network: its input, then its layers from input to output."""

    image: InputImage
    layers: tuple[Layer, ...]


def outline(net: DlibNet) -> tuple[str, ...]:
    """One line for the input and one per layer: everything but the values of the weights."""
    return str(net.image), *map(str, net.layers)


# --- The published type, `anet_type` of dlib's dnn_face_recognition_ex.cpp -------------------


def _block(inputs: int, width: int, stride: int) -> str:
    first = f"con {width}x{inputs}x3x3 stride {stride} padding {0 if stride > 1 else 1}"
    second = f"con {width}x{width}x3x3 stride 1 padding 1"
    return f"[{first}, affine {width}, relu, {second}, affine {width}]"


def _ares(width: int) -> tuple[str, str]:
    return f"residual {_block(width, width, 1)} + []", "relu"


def _ares_down(inputs: int, width: int) -> tuple[str, str]:
    return f"residual {_block(inputs, width, 2)} + [avg_pool 2 stride 2 padding 0]", "relu"


PUBLISHED = (
    "input 150 mean 122.782 117.001 104.298",
    *("con 32x3x7x7 stride 2 padding 0", "affine 32", "relu", "max_pool 3 stride 2 padding 0"),
    *_ares(32) * 3,
    *(_ares_down(32, 64) + _ares(64) * 3),
    *(_ares_down(64, 128) + _ares(128) * 2),
    *(_ares_down(128, 256) + _ares(256) * 2),
    *_ares_down(256, 256),
    *("avg_pool all stride 1 padding 0", "fc_no_bias 256x128"),
)
