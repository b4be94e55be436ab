"""What the service itself can refuse, and one sentence for every code of every package.

The sentence is what a person reads: on the command line, in the README, later in an HTTP
problem document. The `detail` beside it says which file, setting or value.
"""

from collections.abc import Mapping
from enum import StrEnum

from pipeline.errors import Code as PipelineCode
from pipeline.errors import CodedError


class Code(StrEnum):
    """Stable codes of the service's own refusals."""

    CONFIG_UNREADABLE = "config_unreadable"
    SETTING_UNKNOWN = "setting_unknown"
    SETTING_INVALID = "setting_invalid"
    NO_FACE = "no_face"
    PAIRS_INVALID = "pairs_invalid"
    FILE_UNREADABLE = "file_unreadable"
    FILE_UNWRITABLE = "file_unwritable"


class ServeError(CodedError):
    """What the service itself refuses."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code


SENTENCES: Mapping[PipelineCode | Code, str] = {
    PipelineCode.NOT_AN_IMAGE: "The bytes are not an image.",
    PipelineCode.IMAGE_UNSUPPORTED: "The image is in a format or variant that is not accepted.",
    PipelineCode.IMAGE_ANIMATED: "The image has several frames; send a still.",
    PipelineCode.IMAGE_TOO_LARGE: "The image exceeds the limit on bytes or pixels.",
    PipelineCode.IMAGE_TOO_SMALL: "The image has too few pixels to hold a usable face.",
    PipelineCode.IMAGE_CORRUPT: "The image is damaged or ends early.",
    PipelineCode.WRONG_SHAPE: "An array does not have the shape or type that its reader takes.",
    PipelineCode.MODEL_MISMATCH: "Templates of different models cannot be compared.",
    PipelineCode.DEVICE_ERROR: "The processor that runs the models failed.",
    PipelineCode.FORMAT_INVALID: "The model file breaks the rules of its format.",
    PipelineCode.FORMAT_TOO_LARGE: "The model file exceeds a limit of its reader.",
    PipelineCode.FORMAT_UNSUPPORTED: "The model file uses a feature that its reader does not know.",
    PipelineCode.SOURCE_UNAVAILABLE: "A source of model weights cannot be reached.",
    PipelineCode.SOURCE_HASH_MISMATCH: "A source of model weights is not the pinned file.",
    PipelineCode.PACK_UNKNOWN: "No model pack has this name.",
    PipelineCode.PACK_MISSING: "The model pack is not built; run `limen models build`.",
    PipelineCode.PACK_CORRUPT: "A file of the model pack differs from its manifest.",
    PipelineCode.RUNTIME_MISSING: "No ONNX Runtime is installed.",
    Code.CONFIG_UNREADABLE: "The settings file cannot be read as TOML.",
    Code.SETTING_UNKNOWN: "No setting has this name.",
    Code.SETTING_INVALID: "A setting has a value that it does not take.",
    Code.PAIRS_INVALID: "The file of labelled pairs breaks the rules of its columns.",
    Code.NO_FACE: "The photo for a benchmark holds no face.",
    Code.FILE_UNREADABLE: "A file named on the command line cannot be read.",
    Code.FILE_UNWRITABLE: "A file named on the command line cannot be written.",
}
