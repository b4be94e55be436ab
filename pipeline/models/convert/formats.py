"""One converter for each source format: untrusted source bytes in, ONNX bytes out."""

from collections.abc import Callable, Sequence

from pipeline.errors import Code, PipelineError
from pipeline.models.catalog import Format
from pipeline.models.convert.dlib_format import read_resnet
from pipeline.models.convert.dlib_onnx import resnet_to_onnx
from pipeline.models.convert.onnx_graph import with_free_batch
from pipeline.models.convert.tfjs_format import read_graph
from pipeline.models.convert.tfjs_onnx import ConversionSpec, graph_to_onnx
from pipeline.models.convert.tfjs_specs import BLAZEFACE, FACEMESH, FACERES

_TFJS: dict[Format, ConversionSpec] = {
    Format.TFJS_BLAZEFACE: BLAZEFACE,
    Format.TFJS_FACEMESH: FACEMESH,
    Format.TFJS_FACERES: FACERES,
}


def convert(source_format: Format, members: Sequence[bytes]) -> bytes:
    """The ONNX model made from `members`, in the order its recipe lists them.

    Raises `format_invalid`, `format_too_large` or `format_unsupported`.
    """
    if source_format is Format.DLIB_RESNET:
        return _single(members, lambda data: resnet_to_onnx(read_resnet(data)))
    if source_format is Format.ONNX:
        return _single(members, with_free_batch)
    if len(members) != 2:
        raise PipelineError(Code.FORMAT_INVALID, "a TensorFlow.js model is topology and weights")
    return graph_to_onnx(read_graph(members[0], members[1]), _TFJS[source_format])


def _single(members: Sequence[bytes], reader: Callable[[bytes], bytes]) -> bytes:
    if len(members) != 1:
        raise PipelineError(Code.FORMAT_INVALID, f"{len(members)} files where one was expected")
    return reader(members[0])
