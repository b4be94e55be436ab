"""How a model uses the machine, and the check of what it is fed: alike for every runtime."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.models.manifest import TensorSpec

_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class Runtime(StrEnum):
    """What executes the graphs."""

    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


class Device(StrEnum):
    """Where they are executed."""

    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """The arithmetic of weights and layers; what goes in and comes out stays the same."""

    FP32 = "fp32"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a model uses the machine.

    One intra-op thread per session and as many worker threads as cores beat one wide session:
    the graphs are small, and spinning workers would steal the cores that decode images.

    `is_bound` has ONNX Runtime take its inputs and give its outputs by I/O binding, as it always
    does on a GPU; a CPU gains nothing from it. `memory_bytes_max` is how far the memory pool on
    a GPU may grow, 0 as far as it likes: each session of ONNX Runtime has its own, torch one for
    all models of the process.
    """

    intra_op_threads: int = 1
    fixed_axes: tuple[tuple[str, int], ...] = ()  # symbolic axes this session sees at one size
    runtime: Runtime = Runtime.ONNXRUNTIME
    device: Device = Device.CPU
    device_id: int = 0
    precision: Precision = Precision.FP32
    is_bound: bool = False
    memory_bytes_max: int = 0


def check_input(model_id: str, spec: TensorSpec, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Raises `wrong_shape` unless `inputs` holds what `spec` describes."""
    array = inputs.get(spec.name)
    fits = (
        array is not None
        and array.dtype == _DTYPES.get(spec.dtype)
        and array.ndim == len(spec.shape)
        and all(
            isinstance(wanted, str) or wanted == given
            for wanted, given in zip(spec.shape, array.shape, strict=True)
        )
    )
    if not fits:
        given = None if array is None else (array.dtype, array.shape)
        raise PipelineError(
            Code.WRONG_SHAPE, f"{model_id} wants {spec.name} {spec.dtype}{spec.shape}, not {given}"
        )
