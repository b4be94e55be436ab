"""torch in the place of ONNX Runtime: the same model bytes in, a `Model` out.

For GPUs whose driver or CUDA suits the one wheel and not the other. Tested on a CPU, where it
agrees with ONNX Runtime; what it does with `Device.CUDA` has never run on a GPU.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as missing:
    from pipeline.errors import Code, PipelineError

    raise PipelineError(
        Code.RUNTIME_MISSING, "install limen[gpu], or torch beside limen[default]"
    ) from missing

from pipeline.errors import Code, PipelineError
from pipeline.models.convert.onnx_graph import Graph, read_graph
from pipeline.models.manifest import TensorSpec
from pipeline.models.options import Device, Precision, SessionOptions, check_input
from pipeline.models.torch_ops import Step, plan_steps
from pipeline.ports import Arrays


class TorchModel:
    """A loaded graph. `run` may be called from several threads at once."""

    def __init__(self, model_id: str, data: bytes, options: SessionOptions) -> None:
        """Raises `format_invalid` or `format_unsupported` for a graph that it cannot execute,
        and `device_unavailable` if the GPU that was asked for is not there.
        """
        self._device = _open_device(options)
        self._dtype = torch.float16 if options.precision is Precision.FP16 else torch.float32
        graph = read_graph(data)
        self._model_id = model_id
        self._steps = plan_steps(graph, self._dtype)
        self._used_up = _last_uses(self._steps, graph)
        self._constants = self._place_constants(graph)
        self.inputs = tuple(_fixed(spec, options) for spec in graph.inputs)
        self.outputs = graph.outputs

    @property
    def model_id(self) -> str:
        """The manifest's id."""
        return self._model_id

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `pipeline.ports.Model`."""
        for spec in self.inputs:
            check_input(self._model_id, spec, inputs)
        try:
            with torch.inference_mode():
                values = {spec.name: self._to_device(inputs[spec.name]) for spec in self.inputs}
                self._execute(values)
                return {
                    spec.name: values[spec.name].float().contiguous().cpu().numpy()
                    for spec in self.outputs
                }
        except (RuntimeError, ValueError, IndexError) as error:  # CUDA's are RuntimeErrors
            raise PipelineError(Code.DEVICE_ERROR, f"{self._model_id}: {error}") from error

    def _execute(self, values: dict[str, Tensor]) -> None:
        """Make every value of the graph, and let go of each after its last use."""
        for step, used_up in zip(self._steps, self._used_up, strict=True):
            arguments = [
                values[name] if name in values else self._constants[name] for name in step.inputs
            ]
            values[step.output] = step.run(*arguments)
            for name in used_up:
                del values[name]

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        """One copy from pinned memory, which the device fetches without the processor's help."""
        owned = np.require(array, requirements=["C", "W"])  # torch takes no read-only arrays
        tensor = torch.from_numpy(owned)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def _place_constants(self, graph: Graph) -> dict[str, Tensor]:
        """The weights on the device; whole numbers are shapes and stay with the processor."""
        wanted = {name for step in self._steps for name in step.inputs}
        placed = {}
        for name in wanted & graph.constants.keys():
            tensor = torch.from_numpy(graph.constants[name].copy())
            if tensor.is_floating_point():
                tensor = tensor.to(self._device, self._dtype)
            if tensor.ndim == 4 and self._device.type == "cuda":
                # Pictures come in with their channels last, as tensor cores like them.
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            placed[name] = tensor
        return placed


def _open_device(options: SessionOptions) -> torch.device:
    if options.device is Device.CPU:
        torch.set_num_threads(options.intra_op_threads)  # of the whole process
        return torch.device("cpu")
    if not torch.cuda.is_available() or options.device_id >= torch.cuda.device_count():
        raise PipelineError(
            Code.DEVICE_UNAVAILABLE, f"torch finds no CUDA device {options.device_id}"
        )
    device = torch.device("cuda", options.device_id)
    torch.backends.cudnn.benchmark = True  # shapes are few, and all met while warming up
    if options.memory_bytes_max:
        there = torch.cuda.get_device_properties(device).total_memory
        share = min(1.0, options.memory_bytes_max / there)
        torch.cuda.set_per_process_memory_fraction(share, device)
    return device


def _last_uses(steps: list[Step], graph: Graph) -> list[tuple[str, ...]]:
    """For each step, the values that no later one takes."""
    kept = {spec.name for spec in graph.outputs} | set(graph.constants)
    found: list[tuple[str, ...]] = []
    for step in reversed(steps):
        found.append(tuple({*step.inputs, step.output} - kept))
        kept |= {*step.inputs, step.output}
    return found[::-1]


def _fixed(spec: TensorSpec, options: SessionOptions) -> TensorSpec:
    """`spec` with the axes that this session sees at one size."""
    sizes: dict[int | str, int | str] = dict(options.fixed_axes)
    return spec.model_copy(update={"shape": tuple(sizes.get(axis, axis) for axis in spec.shape)})
