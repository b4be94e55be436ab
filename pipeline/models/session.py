"""ONNX Runtime, and the only place that imports it: model bytes in, a `Model` out."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from pipeline.ports import Arrays

_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session uses the machine.

    `session.set_denormal_as_zero` stays off: it would change the arithmetic of the thread that
    opens the session, the caller's, and no weight of the packs is denormal to gain from it.

    One intra-op thread per session and as many worker threads as cores beat one wide session:
    the graphs are small, and spinning workers would steal the cores that decode images.
    """

    intra_op_threads: int = 1
    fixed_axes: tuple[tuple[str, int], ...] = ()  # symbolic axes this session sees at one size
    providers: tuple[str, ...] = ("CPUExecutionProvider",)


class OnnxModel:
    """A loaded graph. `run` may be called from several threads at once."""

    def __init__(self, model_id: str, data: bytes, options: SessionOptions) -> None:
        """Raises `format_invalid` if ONNX Runtime refuses the graph."""
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.intra_op_threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for axis, size in options.fixed_axes:
            settings.add_free_dimension_override_by_name(axis, size)
        try:
            self._session = onnxruntime.InferenceSession(
                data, settings, providers=list(options.providers)
            )
        except Exception as error:  # onnxruntime raises its own unrelated classes
            raise PipelineError(Code.FORMAT_INVALID, f"{model_id}: {error}") from error
        self._model_id = model_id
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
            _check(self._model_id, spec, inputs)
        try:
            outputs = self._session.run(self._output_names, dict(inputs))
        except Exception as error:  # as above
            raise PipelineError(Code.DEVICE_ERROR, f"{self._model_id}: {error}") from error
        return dict(zip(self._output_names, outputs, strict=True))


def _spec(value: Any) -> TensorSpec:  # noqa: ANN401 (onnxruntime is untyped)
    shape = tuple(axis if isinstance(axis, int | str) else "?" for axis in value.shape)
    return TensorSpec(name=value.name, dtype=value.type, shape=shape)


def _check(model_id: str, spec: TensorSpec, inputs: Mapping[str, NDArray[Any]]) -> None:
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
