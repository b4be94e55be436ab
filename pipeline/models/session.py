"""ONNX Runtime, and the only place that imports it: model bytes in, a `Model` out.

On a CPU this is what every test runs. What it does on a GPU was written from the documents of
ONNX Runtime and has never run on a GPU; `tests/gpu` is there to change that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import onnxruntime
except ModuleNotFoundError as missing:  # neither extra was installed
    from pipeline.errors import Code, PipelineError

    raise PipelineError(
        Code.RUNTIME_MISSING, "install limen[default] (CPU) or limen[gpu] (CUDA), one of the two"
    ) from missing

from pipeline.errors import Code, PipelineError
from pipeline.models.manifest import TensorSpec
from pipeline.models.options import Device, Precision, SessionOptions, check_input
from pipeline.ports import Arrays

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
Provider = tuple[str, dict[str, str]]


class OnnxModel:
    """A loaded graph. `run` may be called from several threads at once.

    `session.set_denormal_as_zero` stays off: it would change the arithmetic of the thread that
    opens the session, the caller's, and no weight of the packs is denormal to gain from it.
    """

    def __init__(self, model_id: str, data: bytes, options: SessionOptions) -> None:
        """Raises `format_invalid` if ONNX Runtime refuses the graph, and `device_unavailable`
        if it would run on a CPU what was to run on a GPU.
        """
        self._model_id = model_id
        self._options = options
        self._session = _open(model_id, data, options)
        self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value) for value in self._session.get_outputs())
        self._output_names = [output.name for output in self.outputs]

    @property
    def model_id(self) -> str:
        """The manifest's id."""
        return self._model_id

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `pipeline.ports.Model`."""
        for spec in self.inputs:
            check_input(self._model_id, spec, inputs)
        is_bound = self._options.is_bound or self._options.device is Device.CUDA
        try:
            outputs = self._run_bound(inputs) if is_bound else self._run_plain(inputs)
        except Exception as error:  # onnxruntime raises its own unrelated classes
            raise PipelineError(Code.DEVICE_ERROR, f"{self._model_id}: {error}") from error
        return dict(zip(self._output_names, outputs, strict=True))

    def _run_plain(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        return list(self._session.run(self._output_names, dict(inputs)))

    def _run_bound(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """One copy to the device before the run, one copy of all outputs after it."""
        place = self._options.device.value, self._options.device_id
        binding = self._session.io_binding()  # its own, so that threads do not meet in it
        for spec in self.inputs:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(
                np.ascontiguousarray(inputs[spec.name]), *place
            )
            binding.bind_ortvalue_input(spec.name, value)
        for name in self._output_names:
            binding.bind_output(name, *place)
        self._session.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())


def providers(options: SessionOptions) -> list[Provider]:
    """ONNX Runtime's names for where a session runs, best first, with their settings.

    The search for the fastest convolution is the exhaustive one: it is made once for each shape,
    and the shapes are few and all met while warming up.
    """
    if options.device is Device.CPU:
        return [(_CPU, {})]
    settings = {
        "device_id": str(options.device_id),
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "do_copy_in_default_stream": "1",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if options.memory_bytes_max:
        settings["gpu_mem_limit"] = str(options.memory_bytes_max)
    return [(_CUDA, settings), (_CPU, {})]  # the second for the sums on shapes


def _open(model_id: str, data: bytes, options: SessionOptions) -> Any:  # noqa: ANN401 (untyped)
    if options.device is Device.CUDA:
        if _CUDA not in onnxruntime.get_available_providers():
            raise PipelineError(Code.DEVICE_UNAVAILABLE, "this ONNX Runtime was built without CUDA")
        onnxruntime.preload_dlls()  # CUDA's libraries, from the wheels that torch brings
    if options.precision is Precision.FP16:
        # Not before it is asked for: whoever only runs a pack has no need of `onnx`.
        from pipeline.models.convert.onnx_graph import with_half_floats  # noqa: PLC0415

        data = with_half_floats(data)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.intra_op_threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for axis, size in options.fixed_axes:
        settings.add_free_dimension_override_by_name(axis, size)
    try:
        session = onnxruntime.InferenceSession(data, settings, providers=providers(options))
    except Exception as error:  # onnxruntime raises its own unrelated classes
        is_cuda = (
            options.device is Device.CUDA
        )  # where the graph, verified on a CPU, is not to blame
        code = Code.DEVICE_UNAVAILABLE if is_cuda else Code.FORMAT_INVALID
        raise PipelineError(code, f"{model_id}: {error}") from error
    if options.device is Device.CUDA and _CUDA not in session.get_providers():
        # Without a word ONNX Runtime falls back to the CPU.
        raise PipelineError(Code.DEVICE_UNAVAILABLE, "ONNX Runtime found no usable CUDA device")
    return session


def _spec(value: Any) -> TensorSpec:  # noqa: ANN401 (onnxruntime is untyped)
    shape = tuple(axis if isinstance(axis, int | str) else "?" for axis in value.shape)
    return TensorSpec(name=value.name, dtype=value.type, shape=shape)
